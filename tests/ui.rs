//! What the macros refuse, message by message, on the toolchain that `rust-toolchain.toml` pins.
//! After a change: `TRYBUILD=overwrite cargo test -p aplomb-tests --test ui`, then read every line.
//!
//! Trybuild runs one folder at a time, as the folders share its lock and its target directory, and compiles the
//! fixtures of a folder side by side. A folder costs a quarter of a second more than in one test of all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A test of each folder: its fixtures fail to compile, with these messages.
macro_rules! folders {
    ($($folder:ident)*) => {
        const FOLDERS: &[&str] = &[$(stringify!($folder)),*];

        mod refused {$(
            #[test]
            fn $folder() {
                let fixtures = concat!("fixtures/fail/", stringify!($folder), "/*.rs");
                trybuild::TestCases::new().compile_fail(fixtures);
            }
        )*}
    };
}

folders! {
    api_error body_limit cursor_key deprecation features function grammar idempotent paginate prelude
    rate_limit resource route routes timeout types valid version
}

#[test]
fn every_folder_is_tested() {
    let entries = fs::read_dir(root().join("fail"))
        .expect("the folder of fixtures")
        .flatten();
    let mut folders: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    folders.sort();
    assert_eq!(
        folders, FOLDERS,
        "name every folder in `folders!`, in order"
    );
}

/// Each fixture says in its first line how many errors it gives: one, but for those that show that
/// several mistakes are reported together.
#[test]
fn one_mistake_is_one_error() {
    let fixtures = fixtures(&root().join("fail"));
    assert!(fixtures.len() >= 250, "{} fixtures", fixtures.len());
    let wrong: Vec<String> = fixtures
        .iter()
        .filter_map(|fixture| miscounted(fixture))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The list of all fixtures with their messages, written from them. After a change:
/// `UPDATE_FIXTURES=1 cargo test -p aplomb-tests --test ui readme`.
#[test]
fn the_readme_lists_every_fixture() {
    let path = root().join("README.md");
    let current = readme(&root());
    if env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&path, &current).expect("the list is written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "fixtures/README.md is not what the fixtures are: set UPDATE_FIXTURES=1"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

const HEAD: &str = "# Fixtures

`pass/` is what the macros take; `tests/pass.rs` compiles it. `fail/` is what they refuse, a folder a kind and a file a
mistake, each with the whole of what a user sees beside it. Below is the first line of each error. Written from the
fixtures: `UPDATE_FIXTURES=1 cargo test -p aplomb-tests --test ui readme`.
";

fn readme(root: &Path) -> String {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut all = fixtures(&root.join("fail"));
    all.sort();
    for fixture in &all {
        let kind = fixture
            .parent()
            .and_then(Path::file_name)
            .expect("a folder")
            .to_string_lossy()
            .into_owned();
        kinds.entry(kind).or_default().extend(rows(fixture));
    }
    let tables = kinds.iter().map(|(kind, rows)| {
        format!(
            "\n## {kind}\n\n| mistake | what is said |\n|---|---|\n{}",
            rows.concat()
        )
    });
    format!(
        "{HEAD}\n{} mistakes.\n{}",
        all.len(),
        tables.collect::<String>()
    )
}

/// A line for each error of the fixture.
fn rows(fixture: &Path) -> Vec<String> {
    let name = fixture
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let output = fs::read_to_string(fixture.with_extension("stderr")).expect("what it gives");
    let errors = output.lines().filter(|line| line.starts_with("error"));
    let row = |(index, error): (usize, &str)| {
        let name = if index == 0 {
            format!("`{name}`")
        } else {
            String::new()
        };
        format!("| {name} | {} |\n", markdown(message(error)))
    };
    errors.enumerate().map(row).collect()
}

/// What is said, without what rustc puts in front.
fn message(error: &str) -> &str {
    let message = error.split_once(": ").map_or(error, |(_, message)| message);
    message
        .strip_prefix("evaluation panicked: ")
        .unwrap_or(message)
}

/// As text, but for what stands in backticks.
fn markdown(message: &str) -> String {
    let parts = message.split('`').enumerate();
    let escaped = parts.map(|(index, part)| {
        if index % 2 == 0 {
            part.replace('<', "\\<").replace('*', "\\*")
        } else {
            part.to_owned()
        }
    });
    escaped.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("the folder of fixtures")
        .flatten()
    {
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
    let declared = source
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! errors: "));
    let output = fs::read_to_string(fixture.with_extension("stderr")).unwrap_or_default();
    let given = output
        .lines()
        .filter(|line| line.starts_with("error"))
        .count();
    let agrees = declared.is_some_and(|declared| declared.parse() == Ok(given));
    let name = fixture.display();
    (!agrees).then(|| format!("{name}: declares {declared:?} errors, gives {given}"))
}
