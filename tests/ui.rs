//! What the macros refuse, message by message, on the toolchain that `rust-toolchain.toml` pins.
//! After a change: `TRYBUILD=overwrite cargo test -p aplomb-tests --test ui`, then read every line.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn refusals() {
    trybuild::TestCases::new().compile_fail("fixtures/fail/*/*.rs");
}

/// Each fixture says in its first line how many errors it gives: one, but for those that show that
/// several mistakes are reported together.
#[test]
fn one_mistake_is_one_error() {
    let fixtures = fixtures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fail"));
    assert!(fixtures.len() >= 45, "{} fixtures", fixtures.len());
    let wrong: Vec<String> = fixtures.iter().filter_map(|fixture| miscounted(fixture)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of fixtures").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(fixtures(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn miscounted(fixture: &Path) -> Option<String> {
    let source = fs::read_to_string(fixture).expect("a fixture");
    let declared = source.lines().next().and_then(|line| line.strip_prefix("//! errors: "));
    let output = fs::read_to_string(fixture.with_extension("stderr")).unwrap_or_default();
    let given = output.lines().filter(|line| line.starts_with("error")).count();
    let agrees = declared.is_some_and(|declared| declared.parse() == Ok(given));
    let name = fixture.display();
    (!agrees).then(|| format!("{name}: declares {declared:?} errors, gives {given}"))
}
