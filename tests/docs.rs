//! Tests of the documentation: every link has a target, and the programs of the guide are compiled.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_link_has_a_target() {
    let documents = documents();
    assert!(documents.len() >= 8, "{documents:?}");
    let broken: Vec<String> = documents
        .iter()
        .flat_map(|document| broken_links(document))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let listed: Vec<PathBuf> = links(&summary).iter().map(|link| docs.join(link)).collect();
    for page in pages(&docs)
        .into_iter()
        .filter(|page| !page.ends_with("SUMMARY.md"))
    {
        assert!(
            listed.contains(&page),
            "{} is not in the summary",
            page.display()
        );
    }
}

/// `runtime/src/lib.rs` includes the pages that contain programs, so the documentation tests
/// compile the programs.
#[test]
fn every_program_of_the_guide_is_compiled() {
    let root = root();
    let runtime = read(&root.join("runtime/src/lib.rs"));
    for page in pages(&root.join("docs"))
        .into_iter()
        .filter(|page| read(page).contains("```rust"))
    {
        let page = page
            .strip_prefix(&root)
            .expect("a page of the repository")
            .display();
        assert!(
            runtime.contains(&format!("include_str!(\"../../{page}\")")),
            "no test compiles {page}: include it in runtime/src/lib.rs"
        );
    }
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are a folder of the repository")
        .to_owned()
}

fn documents() -> Vec<PathBuf> {
    let root = root();
    let named = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/hello/README.md",
        "examples/existing_axum/README.md",
        "examples/orders/README.md",
        "examples/payments/README.md",
        "examples/rate_limits/README.md",
        "tests/fixtures/README.md",
    ];
    let mut documents: Vec<PathBuf> = named.iter().map(|name| root.join(name)).collect();
    documents.extend(pages(&root.join("docs")));
    documents
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder of pages")
        .flatten()
        .map(|entry| entry.path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files
        .into_iter()
        .chain(folders.iter().flat_map(|folder| pages(folder)))
        .collect()
}

fn broken_links(document: &Path) -> Vec<String> {
    let text = read(document);
    let broken = links(&text)
        .into_iter()
        .filter(|link| !target_exists(document, &text, link));
    broken
        .map(|link| format!("{}: {link}", document.display()))
        .collect()
}

fn target_exists(document: &Path, text: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = document.with_file_name(file);
    match (file.is_empty(), heading.is_empty()) {
        (true, _) => has_heading(text, heading),
        (false, true) => target.exists(),
        (false, false) => target.exists() && has_heading(&read(&target), heading),
    }
}

fn has_heading(text: &str, wanted: &str) -> bool {
    without_code(text)
        .filter_map(|line| line.strip_prefix('#'))
        .any(|heading| anchor(heading) == wanted)
}

/// Returns the anchor of a heading, as GitHub and mdBook generate it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// Returns the targets of the links of a page, without links to other sites.
fn links(text: &str) -> Vec<&str> {
    let in_line = |line| {
        str::split(line, "](")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0))
    };
    without_code(text)
        .flat_map(in_line)
        .filter(|link| !link.contains(':'))
        .collect()
}

fn without_code(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
