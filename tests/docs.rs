//! The papers hold together: what they link to exists, and the guide's programs are compiled.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn links_lead_somewhere() {
    let papers = papers();
    assert!(papers.len() >= 8, "{papers:?}");
    let broken: Vec<String> = papers
        .iter()
        .flat_map(|paper| broken_links(paper))
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

/// The crate takes in the pages whose programs its documentation tests compile.
#[test]
fn programs_of_the_guide_are_compiled() {
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
            "{page} is compiled by no test"
        );
    }
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests stand in the repository").to_owned()
}

fn papers() -> Vec<PathBuf> {
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
    let mut papers: Vec<PathBuf> = named.iter().map(|name| root.join(name)).collect();
    papers.extend(pages(&root.join("docs")));
    papers
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

fn broken_links(paper: &Path) -> Vec<String> {
    let text = read(paper);
    let broken = links(&text)
        .into_iter()
        .filter(|link| !leads_somewhere(paper, &text, link));
    broken
        .map(|link| format!("{}: {link}", paper.display()))
        .collect()
}

fn leads_somewhere(paper: &Path, text: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = paper.with_file_name(file);
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

/// A heading's anchor, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The targets of a page's links, without those to other sites.
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
