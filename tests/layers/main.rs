//! Tests of the imports between the modules of the runtime: each module imports only lower layers,
//! and policies do not import one another.

mod imports;

use std::collections::BTreeSet;
use std::path::Path;

use imports::{Import, imports};

/// The layers of the modules in `runtime/src`, the lowest first. A module imports only modules of
/// lower layers, so there are no cycles, and modules of one layer do not import each other.
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
    // The imports for users, and the test kit.
    &["prelude", "testing"],
];

/// Modules that exist only in tests. They can import every module.
const TEST_MODULES: &[&str] = &["__fuzz", "agreement"];

fn runtime_imports() -> Vec<Import> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository");
    let imports = imports(repository, "runtime/src");
    // The runtime has more than 500 imports. If fewer are found, the parser misses some, and the
    // tests below prove nothing.
    assert!(imports.len() > 500, "found only {} imports", imports.len());
    imports
}

/// Returns the module of a path. The module `spec`, which has a field for each policy, counts as
/// `policies`.
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

/// Returns whether an import names a module, and not an item of the root such as `crate::Result`.
fn names_a_module(import: &Import) -> bool {
    import.to.first().is_some_and(|first| {
        first.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
    }) && !(import.to.len() == 1 && layer(module(&import.to)).is_none())
}

/// Returns the shortest path of imports from one module to another.
fn shortest_path(from: &str, to: &str, edges: &BTreeSet<(&str, &str)>) -> Option<Vec<String>> {
    let mut paths = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !paths.is_empty() {
        if let Some(path) = paths.iter().find(|path| path.last() == Some(&to)) {
            return Some(path.iter().map(ToString::to_string).collect());
        }
        let mut longer = Vec::new();
        for path in &paths {
            for (_, next) in edges.iter().filter(|(from, _)| path.last() == Some(from)) {
                if seen.insert(next) {
                    longer.push(path.iter().copied().chain([*next]).collect());
                }
            }
        }
        paths = longer;
    }
    None
}

#[test]
fn modules_import_only_lower_layers() {
    let imports = runtime_imports();
    let modules = imports
        .iter()
        .filter(|import| !TEST_MODULES.contains(&module(&import.from)) && names_a_module(import));
    let between_modules: Vec<&Import> = modules
        .filter(|import| module(&import.from) != module(&import.to))
        .collect();
    let edges: BTreeSet<(&str, &str)> = between_modules
        .iter()
        .map(|import| (module(&import.from), module(&import.to)))
        .collect();
    let mut violations = Vec::new();
    for import in between_modules {
        let (from, to) = (module(&import.from), module(&import.to));
        match (layer(from), layer(to)) {
            (Some(above), Some(below)) if above > below => {}
            (Some(_), Some(_)) => {
                let cycle = shortest_path(to, from, &edges);
                let cycle = cycle.map_or_else(String::new, |path| {
                    format!("; closes the cycle {}", path.join(" → "))
                });
                violations.push(format!("{import}, which is not in a lower layer{cycle}"));
            }
            _ => violations.push(format!(
                "{import}: add both modules to `LAYERS` in tests/layers/main.rs"
            )),
        }
    }
    assert!(
        violations.is_empty(),
        "{} imports of a module that is not in a lower layer:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn policies_do_not_import_one_another() {
    let policy = |path: &[String]| match path {
        [policies, policy, ..] if policies == "policies" => Some(policy.clone()),
        _ => None,
    };
    let imports = runtime_imports();
    let violations: Vec<String> = imports
        .iter()
        .filter(|import| {
            let (from, to) = (policy(&import.from), policy(&import.to));
            from.is_some() && to.is_some() && from != to
        })
        .map(ToString::to_string)
        .collect();
    assert!(
        violations.is_empty(),
        "{} imports between policies:\n{}",
        violations.len(),
        violations.join("\n")
    );
}
