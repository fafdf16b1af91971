#!/usr/bin/env python3
"""Prints the compile time of an endpoint, and its ratio to axum and to utoipa-axum.

It also prints the compile time of 1,000 routes in one `routes!`, compared with the same endpoints
without its checks.

The script writes crates with the same handlers (a GET with a path parameter, a POST of JSON, a list)
as a workspace in the target directory. After their dependencies are compiled, it touches and checks
each crate in turn, in several rounds. It measures the processor time (user and system, of cargo and
rustc, without incremental compilation), subtracts that of the same crate without endpoints, and prints
the median of the rounds. Arguments: numbers of endpoints, `routes`, or no argument for everything.
"""

import os
import pathlib
import resource
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "compile-time"
COUNTS = [100, 400]
ROUTES = 1_000
ROUNDS = 5

MANIFEST = """[package]
name = "{name}"
version = "0.0.0"
edition = "2024"

[dependencies]
{dependencies}
serde = {{ version = "1", features = ["derive"] }}
"""
AXUM = 'axum = "0.8"'
APLOMB = AXUM + f'\naplomb = {{ path = "{ROOT}/runtime" }}'
UTOIPA = AXUM + '\nutoipa = "6"\nutoipa-axum = "0.3"'

TYPES = """#[derive(Serialize, Deserialize{schema})]
pub struct Item {{
    name: String,
    amount: u64,
}}
"""

GET = "async fn get{n}(Path(id): Path<u64>) -> Json<Item> {{\n    Json(Item {{ name: String::new(), amount: id }})\n}}\n"
POST = "async fn post{n}(Json(item): Json<Item>) -> (StatusCode, Json<Item>) {{\n    (StatusCode::CREATED, Json(item))\n}}\n"
LIST = "async fn list{n}() -> Json<Vec<Item>> {{\n    Json(vec![Item {{ name: String::new(), amount: {n} }}])\n}}\n"
HANDLERS = [("get", "/items{n}/{{id}}", GET), ("post", "/items{n}", POST), ("get", "/lists{n}", LIST)]
NAMES = ["get", "post", "list"]


def handlers(count, attribute):
    """The handlers, each with the attribute that `attribute` returns for it."""
    text = []
    for n in range(count):
        method, path, body = HANDLERS[n % 3]
        text.append(attribute(n % 3, method, path.format(n=n)) + body.format(n=n))
    return "\n".join(text)


def names(count):
    return [f"{NAMES[n % 3]}{n}" for n in range(count)]


# One statement per route: a chain of hundreds of calls compiles slowly, and is not realistic.
def axum(count):
    routes = "".join(f'    router = router.route("{HANDLERS[n % 3][1].format(n=n)}", {HANDLERS[n % 3][0]}({name}));\n'
                     for n, name in enumerate(names(count)))
    uses = "use axum::extract::Path;\nuse axum::http::StatusCode;\nuse axum::routing::{get, post};\nuse axum::{Json, Router};\n"
    return (uses + "use serde::{Deserialize, Serialize};\n\n" + TYPES.format(schema="")
            + handlers(count, lambda *_: "")
            + f"\npub fn router() -> Router {{\n    let mut router = Router::new();\n{routes}    router\n}}\n")


def utoipa(count):
    def attribute(kind, method, path):
        return "#[utoipa::path(" + [
            f'{method}, path = "{path}", params(("id" = u64, Path)), responses((status = 200, body = Item))',
            f'{method}, path = "{path}", request_body = Item, responses((status = 201, body = Item))',
            f'{method}, path = "{path}", responses((status = 200, body = Vec<Item>))',
        ][kind] + ")]\n"

    routes = "".join(f"    router = router.routes(routes!({name}));\n" for name in names(count))
    uses = "use axum::Json;\nuse axum::extract::Path;\nuse axum::http::StatusCode;\nuse utoipa_axum::router::OpenApiRouter;\nuse utoipa_axum::routes;\n"
    return (uses + "use serde::{Deserialize, Serialize};\n\n" + TYPES.format(schema=", utoipa::ToSchema")
            + handlers(count, attribute)
            + f"\npub fn router() -> OpenApiRouter {{\n    let mut router = OpenApiRouter::new();\n{routes}    router\n}}\n")


APLOMB_USES = "use aplomb::prelude::*;\nuse axum::http::StatusCode;\nuse serde::{Deserialize, Serialize};\n\n"


def plain(kind, method, path):
    policies = ["", ', not_idempotent = "the handler stores nothing"', ', unpaginated = "few"'][kind]
    return f'#[endpoint({method} = "{path}"{policies})]\n'


def listed(count, macro):
    return f"\npub fn routes() -> Routes<()> {{\n    {macro}[{', '.join(names(count))}]\n}}\n"


def aplomb(count):
    return APLOMB_USES + TYPES.format(schema="") + handlers(count, plain) + listed(count, "routes!")


def policies(count):
    def attribute(kind, method, path):
        last = ["public", "idempotent", 'unpaginated = "few"'][kind]
        return (f'#[endpoint({method} = "{path}", version = 1, rate_limit("100/min", by = ip), timeout = "5s", '
                f'body_limit = "64KB", {last})]\n')

    return (APLOMB_USES + TYPES.format(schema="") + handlers(count, attribute)
            + listed(count, "routes!"))


def unlisted(count):
    return "#![allow(dead_code)]\n" + APLOMB_USES + TYPES.format(schema="") + handlers(count, plain) + listed(0, "routes!")


def unchecked(count):
    entries = ", ".join(f"entry::<_, _, {name}>()" for name in names(count))
    return (APLOMB_USES + "use aplomb::__private::entry;\n\n" + TYPES.format(schema="") + handlers(count, plain)
            + f"\npub fn routes() -> Routes<()> {{\n    Routes::from_entries(&[{entries}])\n}}\n")


COMPARED = [("axum", "axum"), ("utoipa", "utoipa-axum"), ("aplomb", "Aplomb, no policy"),
            ("policies", "Aplomb, five policies")]
LISTED = [("unlisted", "the endpoints alone"), ("unchecked", "listed without checks"), ("aplomb", "in one `routes!`")]
KINDS = {"axum": (AXUM, axum), "utoipa": (UTOIPA, utoipa), "aplomb": (APLOMB, aplomb), "policies": (APLOMB, policies),
         "unlisted": (APLOMB, unlisted), "unchecked": (APLOMB, unchecked)}


def write(kind, count):
    """Writes a crate of this kind; returns its name."""
    dependencies, source = KINDS[kind]
    name = f"{kind}-{count}"
    folder = PLACE / name
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(MANIFEST.format(name=name, dependencies=dependencies))
    (folder / "src" / "lib.rs").write_text("#![allow(unused_imports, unused_mut)]\n" + source(count))
    return name


def write_all(wanted):
    """Writes the crates of these kinds and counts, and a crate without endpoints of each kind."""
    crates = [write(kind, count) for kind, counts in wanted.items() for count in [0, *counts]]
    members = ", ".join(f'"{name}"' for name in crates)
    (PLACE / "Cargo.toml").write_text(f'[workspace]\nresolver = "3"\nmembers = [{members}]\n\n'
                                      "[profile.dev]\nincremental = false\n")


def cargo(*arguments):
    subprocess.run(["cargo", *arguments], cwd=PLACE, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "CARGO_TARGET_DIR": str(PLACE / "target")})


def seconds(crate):
    """The processor time of one check in seconds."""
    (PLACE / crate / "src" / "lib.rs").touch()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cargo("check", "--quiet", "--offline", "-p", crate)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(kinds, count):
    """The milliseconds per endpoint, for each kind and round."""
    rounds = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            net = seconds(f"{kind}-{count}") - seconds(f"{kind}-0")
            rounds[kind].append(1000 * net / count)
    return rounds


def ratio(rounds, kind, base):
    return statistics.median(one / other for one, other in zip(rounds[kind], rounds[base]))


def print_kinds(counts):
    print("| `cargo check`, for one endpoint | ms | to axum | to utoipa-axum |\n|---|---|---|---|")
    for count in counts:
        rounds = measure([kind for kind, _ in COMPARED], count)
        for kind, name in COMPARED:
            print(f"| {count} endpoints: {name} | {statistics.median(rounds[kind]):.2f} "
                  f"| {ratio(rounds, kind, 'axum'):.2f} | {ratio(rounds, kind, 'utoipa'):.2f} |", flush=True)


def print_routes():
    rounds = measure([kind for kind, _ in LISTED], ROUTES)
    print(f"\n| {ROUTES:,} endpoints, for one | ms | ratio to those without checks |\n|---|---|---|")
    for kind, name in LISTED:
        print(f"| {name} | {statistics.median(rounds[kind]):.2f} | {ratio(rounds, kind, 'unchecked'):.2f} |", flush=True)


def main():
    wanted = sys.argv[1:] or [*COUNTS, "routes"]
    counts = [int(count) for count in wanted if count != "routes"]
    crates = {kind: [*counts] for kind, _ in COMPARED if counts}
    if "routes" in wanted:
        for kind, _ in LISTED:
            crates.setdefault(kind, []).append(ROUTES)
    write_all(crates)
    cargo("check")
    if counts:
        print_kinds(counts)
    if "routes" in wanted:
        print_routes()


if __name__ == "__main__":
    sys.exit(main())
