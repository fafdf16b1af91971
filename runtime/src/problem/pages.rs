//! Compares the registry with the pages of the problems and with their table of contents.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::document::{Problem, ProblemContext, Retry, TYPE_BASE, rendered};
use super::{Category, FieldError, Location, registry};

const CATEGORIES: [Category; 8] = [
    Category::Validation,
    Category::Auth,
    Category::NotFound,
    Category::Gone,
    Category::Conflict,
    Category::RateLimited,
    Category::Dependency,
    Category::Internal,
];

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn page(path: &str) -> String {
    fs::read_to_string(docs().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the names of the pages in a folder, without the index.
fn pages(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(docs().join(folder))
        .expect("a folder of pages")
        .flatten();
    let names = files.filter_map(|file| {
        file.file_name()
            .to_str()?
            .strip_suffix(".md")
            .map(str::to_owned)
    });
    names.filter(|name| name != "README").collect()
}

#[test]
fn f03_each_code_has_a_page_and_each_page_has_a_code() {
    let codes: BTreeSet<String> = registry::ALL
        .iter()
        .map(|spec| spec.code.to_owned())
        .collect();
    assert_eq!(codes.len(), registry::ALL.len(), "two kinds share a code");
    assert_eq!(pages("problems"), codes);
    let (summary, index) = (page("SUMMARY.md"), page("problems/README.md"));
    for spec in registry::ALL {
        let (code, status, category) = (spec.code, spec.status, spec.category);
        let begins = format!("# {code}\n\n{status}, [{category}](categories/{category}.md). ");
        assert!(
            page(&format!("problems/{code}.md")).starts_with(&begins),
            "{code}"
        );
        assert!(
            summary.contains(&format!("  - [{code}](problems/{code}.md)\n")),
            "{code}"
        );
        let row = format!(
            "| [{code}]({code}.md) | {status} | [{category}](categories/{category}.md) |\n"
        );
        assert!(index.contains(&row), "{code}");
    }
    assert_eq!(
        summary.matches("](problems/").count(),
        1 + CATEGORIES.len() + codes.len()
    );
}

#[test]
fn f03_every_category_has_a_page_that_lists_its_codes() {
    let named: BTreeSet<String> = CATEGORIES.iter().map(ToString::to_string).collect();
    assert_eq!(pages("problems/categories"), named);
    for category in CATEGORIES {
        let page = page(&format!("problems/categories/{category}.md"));
        let specs = registry::ALL
            .iter()
            .filter(|spec| spec.category == category);
        let listed: Vec<String> = specs
            .clone()
            .map(|spec| format!("- [{0}](../{0}.md) ({1})", spec.code, spec.status))
            .collect();
        let list = page.split_once("## Codes\n\n").expect("a list of codes").1;
        assert_eq!(list.lines().collect::<Vec<_>>(), listed, "{category}");
        let statuses = page.split_once("|---|---|---|\n| ").expect("a table").1;
        let statuses = statuses.split_once(" |").expect("a row").0;
        assert!(
            specs
                .clone()
                .all(|spec| statuses.contains(&spec.status.to_string())),
            "{category}: {statuses}"
        );
    }
}

/// The constant members of an example must have the values that the runtime writes. The variable
/// members must have a form that the runtime writes.
#[test]
fn f03_the_examples_of_the_pages_are_documents_that_the_runtime_writes() {
    for spec in registry::ALL {
        let page = page(&format!("problems/{}.md", spec.code));
        let text = page
            .split_once("```json\n")
            .and_then(|(_, rest)| rest.split_once("```"));
        let example: Value = serde_json::from_str(text.expect("an example").0).expect("JSON");
        let retry = if example["retryable"] == true {
            Retry::Safe
        } else {
            Retry::Unsafe
        };
        let request_id = example["request_id"].as_str().expect("an id");
        let mut problem = Problem::new(spec);
        if let Some(detail) = example["detail"].as_str() {
            problem = problem.with_detail(detail.to_owned());
        }
        if let Some(violated) = example.get("violated-policies") {
            problem = problem.with_extension("violated-policies", violated);
        }
        let errors = example["errors"].as_array().cloned().unwrap_or_default();
        problem = errors
            .iter()
            .map(field_error)
            .fold(problem, Problem::with_error);
        let context = ProblemContext {
            request_id,
            retry,
            type_base: TYPE_BASE,
        };
        assert_eq!(rendered(&problem, context), example, "{}", spec.code);
    }
}

fn field_error(example: &Value) -> FieldError {
    let text = |member: &str| example[member].as_str().map(str::to_owned);
    let location = text("pointer").map(|text| Location::Pointer(text.into()));
    let location =
        location.or_else(|| text("parameter").map(|text| Location::Parameter(text.into())));
    let location = location.or_else(|| text("header").map(|text| Location::Header(text.into())));
    FieldError::new(
        location.expect("a location"),
        text("code").expect("a code"),
        text("detail").expect("a detail"),
    )
}
