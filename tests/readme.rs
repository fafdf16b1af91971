//! Tests that the code and the errors in the README equal those of the fixtures.

use std::fs;
use std::path::Path;

#[test]
fn the_code_equals_a_fixture_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("../README.md")).expect("the README");
    let shown = readme
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split_once("```"))
        .expect("a block of code")
        .0;
    let fixture = fs::read_to_string(root.join("fixtures/pass/readme.rs")).expect("a fixture");
    assert!(
        fixture.contains(shown),
        "the code of the README differs from fixtures/pass/readme.rs"
    );
}

#[test]
fn the_errors_equal_those_of_the_compiler() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("../README.md")).expect("the README");
    let shown = readme
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split_once("\n```"))
        .expect("a block of errors")
        .0;
    let errors: Vec<&str> = shown.split("\n\n").collect();
    assert_eq!(errors.len(), 3);
    for (error, fixture) in errors.iter().zip([
        "grammar/readme_typo",
        "idempotent/readme_undeclared_post",
        "paginate/readme_undeclared_list",
    ]) {
        let output = root
            .join("fixtures/fail")
            .join(fixture)
            .with_extension("stderr");
        let output = fs::read_to_string(output).expect("a fixture");
        let (message, code) = (
            error.lines().next().expect("a message"),
            error.lines().skip(2),
        );
        assert!(output.contains(message), "{message}\nis not in\n{output}");
        for line in code.filter(|line| !line.trim().is_empty()) {
            assert!(
                output.lines().any(|other| other == line),
                "{line}\nis not in\n{output}"
            );
        }
    }
}
