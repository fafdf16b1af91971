#!/usr/bin/env python3
"""Prints the instructions of a request, and their ratio to hand-written axum.

It also prints the instructions that a rate limit adds, compared with tower_governor, the instructions of
a check without an endpoint, and the bytes of an address; and for `idempotent` the instructions and
allocations of each stage, and the bytes of a record.

Needs valgrind. Each scenario runs twice under callgrind, with a few requests and with more. The
difference of the instructions is divided by the difference of the requests. The instructions of the
harness, which builds a request, gets an immediate response and reads its body, are subtracted. dhat
counts allocations in the same way.
"""

import collections
import json
import re
import subprocess
import sys
import tempfile

FEW, MORE = 100, 600
RECORDS = 200_000
# The start of governor calibrates a clock with a variable amount of work. Many requests make its share negligible.
MANY = 40_000
ADDED = [
    ("tower_governor by address, 2 fields", "hand-get", "governor-get"),
    ("`rate_limit` by address, 5 fields", "bare-get", "limited-get"),
    ("authentication", "bare-get", "authenticated-get"),
    ("`rate_limit` by caller, 5 fields, after authentication", "authenticated-get", "authenticated-limited-get"),
]
CHECKS, ADDRESSES = 1_000_000, 1_000
MILLION = 1_000_000
ROWS = [
    ("GET with a path parameter, small JSON", "harness-get", "hand-get", [
        ("endpoint without policy", "bare-get"),
        ("version, authentication, rate limit, deadline", "full-get"),
    ]),
    ("GET of a page of 50 small structs", "harness-page", "hand-page", [
        ("endpoint without policy", "bare-page"),
        ("paginated by cursor", "cursor-page"),
    ]),
    ("POST JSON, 201 with JSON", "harness-post", "hand-post", [
        ("endpoint without policy", "bare-post"),
        ("version, authentication, rate limit", "limited-post"),
        ("the same, idempotent, deadline, body limit: new key", "full-post"),
        ("the same: replay", "replay-post"),
    ]),
]

# A stage is the cost of its functions, including the functions that they call.
STAGES = [
    ("key: the field read", ["idempotency::stage::KeyStage as aplomb::request::stage::Stage>::enter"]),
    ("name of the record", ["identity::RecordNames::record"]),
    ("fingerprint", ["identity::FingerprintKey::fingerprint"]),
    ("begin", ["MemoryRecords as aplomb::policies::idempotency::store::IdempotencyStore>::begin"]),
    ("complete", ["idempotency::stored_response::StoredResponse::new", "idempotency::run::RunContext::settle_once"]),
    ("replay", ["idempotency::replay::response_from_record"]),
]


def build():
    command = ["cargo", "build", "--quiet", "--release", "-p", "aplomb-benches", "--features", "governor"]
    subprocess.run(command, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                              check=True, capture_output=True, text=True).stdout
    return re.search(r'"target_directory":"([^"]+)"', metadata).group(1) + "/release/requests"


def run(tool, out, program, *arguments):
    command = ["valgrind", f"--tool={tool}", f"--{tool}-out-file={out}"]
    command += ["--num-callers=100"] if tool == "dhat" else []
    done = subprocess.run([*command, program, *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stderr


def total(program, *arguments):
    return int(re.search(r"Collected : (\d+)", run("callgrind", "/dev/null", program, *arguments)).group(1))


def cost(program, scenario, more=MORE):
    return (total(program, scenario, more) - total(program, scenario, FEW)) / (more - FEW)


def check(program, limiter):
    few = total(program, "check", limiter, ADDRESSES, ADDRESSES)
    return (total(program, "check", limiter, CHECKS, ADDRESSES) - few) / (CHECKS - ADDRESSES)


def instructions(path):
    """The inclusive instructions of each function, and the total."""
    names, inclusive, everything = {}, collections.Counter(), 0
    function, called = None, None
    for line in open(path, encoding="utf-8"):
        if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            name = names.setdefault(match[1], match[2])
            if line[0] == "c":
                called = name
            else:
                function = name
        elif re.match(r"[+*\d-]", line):
            count = int(line.split()[1])
            # The line of a call has the inclusive count of the callee. Recursive calls are skipped, since they
            # would count twice.
            if called is None:
                everything += count
            if called is None or not called.startswith(f"{function}'"):
                inclusive[function] += count
            called = None
    return inclusive, everything


def allocations(path):
    """The inclusive allocations of each function, and the total."""
    profile = json.load(open(path, encoding="utf-8"))
    inclusive, everything = collections.Counter(), 0
    for point in profile["pps"]:
        frames = {profile["ftbl"][index] for index in point["fs"]}
        everything += point["tbk"]
        for frame in frames:
            inclusive[frame] += point["tbk"]
    return inclusive, everything


def stage_of(inclusive, names):
    whole = re.compile("|".join(re.escape(name) + r"(::\{\{closure\}\})?(?:$| \()" for name in names))
    return sum(count for function, count in inclusive.items()
               if function and "drop_in_place" not in function and whole.search(function))


def stages(program, scenario, length):
    """The instructions and the allocations of a request: for each stage, and in total."""
    per_request = []
    for tool, read in [("callgrind", instructions), ("dhat", allocations)]:
        counted = []
        for requests in (FEW, MORE):
            with tempfile.NamedTemporaryFile() as out:
                run(tool, out.name, program, scenario, requests, length)
                inclusive, everything = read(out.name)
                counted.append([stage_of(inclusive, names) for _, names in STAGES] + [everything])
        per_request.append([(more - few) / (MORE - FEW) for few, more in zip(*counted)])
    return per_request


def print_ratios(program):
    print("| | instructions net | ratio |\n|---|---|---|")
    for title, harness, hand, others in ROWS:
        floor = cost(program, harness)
        base = cost(program, hand) - floor
        print(f"| {title}: hand-written axum | {base / 1000:.1f} k | 1.00 |")
        for name, scenario in others:
            net = cost(program, scenario) - floor
            print(f"| {name} | {net / 1000:.1f} k | {net / base:.2f} |", flush=True)


def print_limits(program):
    print("\n| added to a GET | instructions |\n|---|---|")
    for name, without, scenario in ADDED:
        more = MANY if scenario == "governor-get" else MORE
        print(f"| {name} | {(cost(program, scenario, more) - cost(program, without)) / 1000:.1f} k |", flush=True)
    print("\n| a limiter alone | instructions a check | addresses known of a million | bytes for each of them |")
    print("|---|---|---|---|")
    for name, limiter in [("governor, keyed, in a `DashMap`", "governor"), ("`MemoryLimits`", "memory")]:
        done = subprocess.run([program, "check", limiter, str(MILLION), str(MILLION)],
                              check=True, capture_output=True, text=True)
        grown, known = map(int, done.stdout.split())
        print(f"| {name} | {check(program, limiter):.0f} | {known:,} | {grown / known:.1f} |", flush=True)


def print_stages(program):
    lengths = [0, 1024]
    columns = []
    for length in lengths:
        (limited, limited_allocations) = stages(program, "limited-post", length)
        for scenario in ("full-post", "replay-post"):
            (counts, allocated) = stages(program, scenario, length)
            added = (counts[-1] - limited[-1], allocated[-1] - limited_allocations[-1])
            if scenario == "full-post" and not all(counts[:5]):
                sys.exit("STAGES names a function that does not exist or is inlined: correct it")
            columns.append(list(zip(counts[:-1], allocated[:-1])) + [added])
    print("\n| instructions, allocations | new key, 109 B | replay, 109 B | new key, 1 KiB | replay, 1 KiB |")
    print("|---|---|---|---|---|")
    names = [name for name, _ in STAGES] + ["added in all"]
    for index, name in enumerate(names):
        cells = [f"{count / 1000:.1f} k, {round(allocated)}" if count else "" for count, allocated in
                 (column[index] for column in columns)]
        print(f"| {name} | {' | '.join(cells)} |")


def print_memory(program):
    grown = {}
    for scenario in ("limited-post", "full-post"):
        done = subprocess.run([program, scenario, str(RECORDS)], check=True, capture_output=True, text=True)
        grown[scenario] = int(done.stdout)
    record = (grown["full-post"] - grown["limited-post"]) / RECORDS
    print(f"\nA record in memory takes {record:.0f} bytes, including the response body of 125 bytes.")


def main():
    program = build()
    print_ratios(program)
    print_limits(program)
    print_stages(program)
    print_memory(program)


if __name__ == "__main__":
    sys.exit(main())
