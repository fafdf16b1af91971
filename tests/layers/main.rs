//! Which modules of the runtime import which: from the top to the ground, and no policy another.

mod imports;

use std::collections::BTreeSet;
use std::path::Path;

use imports::{Import, imports};

/// The modules below `runtime/src`, from the ground. A module imports those of the layers below its own, so that no
/// circle can close; those of one layer do not know each other.
const LAYERS: &[&[&str]] = &[
    &[
        "clock",
        "describe",
        "id",
        "maybe_ready",
        "sharded",
        "start",
        "uniform_map",
    ],
    &["facet", "secret", "settings", "log_throttle"],
    &["client", "problem"],
    &["request"],
    &["extract"],
    &["respond"],
    &["policies"],
    &["auth", "store"],
    &["jobs"],
    &["transaction"],
    &["endpoint"],
    &["pipeline", "openapi", "metrics"],
    &["api"],
    &["serve"],
    &["cli"],
    // What users import, and what tests are made of.
    &["prelude", "testing"],
];

/// Modules of the tests, which import whatever they test.
const TESTS: &[&str] = &["__fuzz", "agreement"];

fn all() -> Vec<Import> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the folder of the tests stands in another");
    let all = imports(repository, "runtime/src");
    assert!(
        all.len() > 500,
        "{} imports are less than there are",
        all.len()
    );
    all
}

/// The module of a path. The specification of an endpoint has a field of each policy, so it counts as theirs.
fn module(path: &[String]) -> &str {
    match path.first().map(String::as_str) {
        Some("spec") => "policies",
        Some(first) => first,
        None => "",
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// A name that the root itself declares, such as `crate::Result`, is no module's.
fn is_modules(import: &Import) -> bool {
    import.to.first().is_some_and(|first| {
        first.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
    }) && !(import.to.len() == 1 && layer(module(&import.to)).is_none())
}

/// The shortest way from a module to another over imports.
fn way(from: &str, to: &str, edges: &BTreeSet<(&str, &str)>) -> Option<Vec<String>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        if let Some(way) = ways.iter().find(|way| way.last() == Some(&to)) {
            return Some(way.iter().map(ToString::to_string).collect());
        }
        let mut longer = Vec::new();
        for way in &ways {
            for (_, next) in edges.iter().filter(|(from, _)| way.last() == Some(from)) {
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([*next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

#[test]
fn imports_lead_to_layers_below_and_close_no_circle() {
    let all = all();
    let modules = all
        .iter()
        .filter(|import| !TESTS.contains(&module(&import.from)) && is_modules(import));
    let across: Vec<&Import> = modules
        .filter(|import| module(&import.from) != module(&import.to))
        .collect();
    let edges: BTreeSet<(&str, &str)> = across
        .iter()
        .map(|import| (module(&import.from), module(&import.to)))
        .collect();
    let mut wrong = Vec::new();
    for import in across {
        let (from, to) = (module(&import.from), module(&import.to));
        match (layer(from), layer(to)) {
            (Some(above), Some(below)) if above > below => {}
            (Some(_), Some(_)) => {
                let circle = way(to, from, &edges);
                let circle = circle.map_or_else(String::new, |way| {
                    format!("; closes the circle {}", way.join(" → "))
                });
                wrong.push(format!("{import}, which stands no lower{circle}"));
            }
            _ => wrong.push(format!(
                "{import}, and `LAYERS` in tests/layers/main.rs has not both"
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} imports lead up:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_policy_imports_another() {
    let policy = |path: &[String]| match path {
        [policies, policy, ..] if policies == "policies" => Some(policy.clone()),
        _ => None,
    };
    let all = all();
    let wrong: Vec<String> = all
        .iter()
        .filter(|import| {
            let (from, to) = (policy(&import.from), policy(&import.to));
            from.is_some() && to.is_some() && from != to
        })
        .map(ToString::to_string)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} imports join policies:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
