//! Tests the error messages of the macros, with the toolchain that `rust-toolchain.toml` pins.
//!
//! After a change, run `TRYBUILD=overwrite cargo test -p aplomb-tests --test ui`, and read every
//! changed message as a user would.
//!
//! The folders share the lock and the target directory of trybuild, so they run one after another.
//! The fixtures of a folder are compiled in parallel. There is one test for each folder, so that a
//! filter can run one folder. This costs a quarter of a second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Declares a test for each folder. The test passes if each fixture fails to compile with the
/// stored messages.
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
    api_error body_limit cursor_key deprecation function grammar idempotent paginate
    rate_limit resource route routes timeout transaction types valid version
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

#[test]
fn t11_two_transactions_and_a_stream_are_compile_errors() {
    for (fixture, error) in [
        (
            "two",
            "`place_order` takes two `Tx`, but a request has one transaction",
        ),
        (
            "two_aliases",
            "`place_order` takes two `Tx`, but a request has one transaction",
        ),
        (
            "stream",
            "`export_orders` takes a `Tx` but returns a stream",
        ),
    ] {
        // The test `refused::transaction` compares this text with the errors of the compiler.
        let stored = root().join(format!("fail/transaction/{fixture}.stderr"));
        let stored = fs::read_to_string(stored).expect("the errors of a fixture");
        assert!(stored.contains(error), "{fixture}: {stored}");
    }
}

/// The first line of a fixture declares its number of errors. The number is 1, except in fixtures
/// that show several errors reported together.
#[test]
fn each_fixture_has_the_declared_number_of_errors() {
    let fixtures = fixtures(&root().join("fail"));
    assert!(fixtures.len() >= 250, "{} fixtures", fixtures.len());
    let wrong: Vec<String> = fixtures
        .iter()
        .filter_map(|fixture| wrong_count(fixture))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `fixtures/README.md` lists all fixtures with their messages. After a change, run
/// `UPDATE_FIXTURES=1 cargo test -p aplomb-tests --test ui readme`.
#[test]
fn the_readme_lists_every_fixture() {
    let path = root().join("README.md");
    let current = readme(&root());
    if env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&path, &current).expect("the list can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "fixtures/README.md differs from the fixtures: set UPDATE_FIXTURES=1"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

const HEAD: &str = "# Fixtures

`pass/` has code that the macros accept; `tests/pass.rs` compiles it. `fail/` has code that they reject: a folder for each
policy or macro, and a file for each mistake, with the complete output of the compiler beside it. The tables below list
the first line of each error. They are written from the fixtures by
`UPDATE_FIXTURES=1 cargo test -p aplomb-tests --test ui readme`.
";

/// Returns the text of `fixtures/README.md`.
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
            "\n## {kind}\n\n| mistake | error |\n|---|---|\n{}",
            rows.concat()
        )
    });
    format!(
        "{HEAD}\n{} mistakes.\n{}",
        all.len(),
        tables.collect::<String>()
    )
}

/// Returns a row for each error of the fixture.
fn rows(fixture: &Path) -> Vec<String> {
    let name = fixture
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let output = fs::read_to_string(fixture.with_extension("stderr")).expect("the stored output");
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

/// Returns the message without the prefixes of rustc.
fn message(error: &str) -> &str {
    let message = error.split_once(": ").map_or(error, |(_, message)| message);
    message
        .strip_prefix("evaluation panicked: ")
        .unwrap_or(message)
}

/// Escapes a message for a table in Markdown: `<` and `*` outside backticks, and pipes everywhere.
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

/// Returns a description of the fixture if it declares a wrong number of errors.
fn wrong_count(fixture: &Path) -> Option<String> {
    let source = fs::read_to_string(fixture).expect("a fixture");
    let declared = source
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! errors: "));
    let output = fs::read_to_string(fixture.with_extension("stderr")).unwrap_or_default();
    let found = output
        .lines()
        .filter(|line| line.starts_with("error"))
        .count();
    let agrees = declared.is_some_and(|declared| declared.parse() == Ok(found));
    let name = fixture.display();
    (!agrees).then(|| format!("{name}: declares {declared:?} errors, has {found}"))
}
