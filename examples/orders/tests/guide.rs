//! Tests the guide's page "Start a service". Every block of Rust on the page is in a file of this
//! service, and every file is on the page.

use std::fs;
use std::path::Path;

const FILES: [&str; 4] = [
    "src/lib.rs",
    "src/main.rs",
    "src/bin/with_cors.rs",
    "tests/orders.rs",
];

#[test]
fn the_page_shows_the_files_of_this_service() {
    let page = read("../../docs/guide/start.md");
    let blocks = blocks(&page, "rust,ignore");
    let mut shown = 0;
    for file in FILES {
        let mut missing = read(file);
        for block in &blocks {
            if missing.contains(block) {
                missing = missing.replacen(block, "", 1);
                shown += 1;
            }
        }
        assert_eq!(
            missing.trim(),
            "",
            "{file} has lines that the page leaves out"
        );
    }
    assert_eq!(
        shown,
        blocks.len(),
        "the page has a block that is in no file"
    );
}

/// The test skips the dependency on Aplomb, because its path differs between the page and the
/// manifest. The project on the page is beside the repository, and this example is inside it.
#[test]
fn the_page_names_the_dependencies_of_this_service() {
    let (page, manifest) = (read("../../docs/guide/start.md"), read("Cargo.toml"));
    let ours = dependencies(&manifest);
    let shown: Vec<_> = blocks(&page, "toml")
        .into_iter()
        .flat_map(dependencies)
        .collect();
    assert!(shown.len() >= 6, "{shown:?}");
    for dependency in shown {
        assert!(
            ours.contains(&dependency),
            "{dependency:?} is not in {ours:?}"
        );
    }
}

/// Returns the names and versions of the dependencies, without Aplomb.
fn dependencies(manifest: &str) -> Vec<(&str, &str)> {
    let (_, dependencies) = manifest
        .split_once("[dependencies]")
        .expect("a list of dependencies");
    dependencies
        .lines()
        .filter_map(|line| Some((line.split_once(" = ")?.0, line.split('"').nth(1)?)))
        .filter(|(name, _)| *name != "aplomb")
        .collect()
}

fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str())
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0))
        .collect()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
