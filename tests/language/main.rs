//! Checks the language of the repository: documentation, comments, messages.
//!
//! - `///` and `//!` begin with a noun or a verb, not with a bare clause ("What…", "Whether…").
//! - Names that were replaced do not come back.
//! - Sentences over 35 words, and phrases that readers stumble over, are counted per file.
//!   `counts.txt` contains the counts, which must never rise. After an improvement, run the tests
//!   with `UPDATE_LANGUAGE=1` to write the lower counts.

mod text;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use text::{Passage, Source};

/// Words that begin a clause. Documentation that begins with one of these words is hard to read.
const CLAUSE_WORDS: &[&str] = &[
    "because", "how", "if", "of", "so", "that", "there", "those", "what", "when", "where",
    "whether", "which", "who", "whoever", "whom", "whose", "why",
];

/// The maximum share of documented items whose documentation begins with a clause, in percent.
const MAX_CLAUSES: usize = 5;

/// The maximum number of words in a sentence. Longer sentences are counted.
const MAX_WORDS: usize = 35;

/// Phrases that are counted, in lower case. `~as` matches any word except `as`. `such ~as`
/// therefore matches "such a page", but not "such as".
const PHRASES: &[&str] = &[
    "are no",
    "asks",
    "for good",
    "is no",
    "is to be",
    "nobody",
    "of which",
    "of whom",
    "says",
    "so few",
    "so many",
    "stand",
    "stands",
    "such ~as",
    "tells",
    "there where",
    "told",
    "whatever",
    "whoever",
];

/// Names that were replaced. Only whole words match. See the unreleased section of `CHANGELOG.md`.
const OLD_NAMES: &[&str] = &[
    "Begun",
    "BothWays",
    "CALM",
    "Claimant",
    "Dearest",
    "Denials",
    "ELSEWHERE",
    "Errand",
    "Flights",
    "Heart",
    "Kept",
    "KnownRefusalsStage",
    "Looked",
    "Mistakes",
    "Occasion",
    "Patience",
    "RULE_BROKEN",
    "RetirementSpec",
    "SealKeys",
    "SecondEffect",
    "Settler",
    "Sight",
    "Tally",
    "Uncancelled",
    "affordable",
    "are_none",
    "both_ways",
    "deniable",
    "full_in",
    "furthest",
    "give_notice",
    "lessened",
    "max_run",
    "other_secret",
    "seal_keys",
    "write_off",
];

/// Files that are not checked: this file and the changelog, which contain the old names, and a
/// generated file.
const EXCLUDED: &[&str] = &[
    "CHANGELOG.md",
    "tests/language/main.rs",
    "tests/fixtures/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the repository")
}

/// Finds the `.rs` and `.md` files of the repository. Fixtures are skipped, because they contain
/// users' code.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_skipped = name.starts_with('.')
            || ["target", "fail", "pass", "corpus"].contains(&&*name)
            || fs::exists(path.join("CACHEDIR.TAG")).unwrap_or(false);
        if path.is_dir() && !is_skipped {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "md")
        {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    files(root(), &mut found);
    found.sort();
    let sources: Vec<_> = found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("a file of the repository");
            let name = name.to_string_lossy().replace('\\', "/");
            Source::new(name, &fs::read_to_string(path).expect("text in UTF-8"))
        })
        .filter(|source| !EXCLUDED.contains(&&*source.name))
        .collect();
    assert!(sources.len() > 300, "{} files were found", sources.len());
    sources
}

#[test]
fn documentation_begins_with_a_noun_or_a_verb() {
    let sources = sources();
    let documented = sources.iter().flat_map(|source| {
        let first = source.passages.iter().filter(|passage| passage.is_doc);
        first.map(|passage| (&source.name, passage))
    });
    let (mut all, mut clauses) = (0, Vec::new());
    for (name, passage) in documented {
        all += 1;
        let first = passage.words().next().unwrap_or_default();
        if CLAUSE_WORDS.contains(&&*first) {
            clauses.push(format!("{name}:{}: {}", passage.line, passage.text));
        }
    }
    assert!(all > 2_000, "{all} items are documented");
    assert!(
        clauses.len() * 100 < all * MAX_CLAUSES,
        "{} of {all} items are documented by a clause; begin with a noun or a verb:\n{}",
        clauses.len(),
        clauses.join("\n")
    );
}

#[test]
fn replaced_names_do_not_come_back() {
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.content.lines()) {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for word in words.filter(|word| OLD_NAMES.contains(word)) {
                found.push(format!("{}:{number}: {word}", source.name));
            }
        }
    }
    assert!(
        found.is_empty(),
        "these names were replaced:\n{}",
        found.join("\n")
    );
}

/// The numbers of long sentences and of phrases to avoid in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    long_sentences: usize,
    phrases: usize,
}

#[test]
fn the_counts_of_long_sentences_and_phrases_to_avoid_never_rise() {
    let path = root().join("tests/language/counts.txt");
    let (mut now, mut places) = (BTreeMap::new(), BTreeMap::new());
    for source in sources() {
        let found: Vec<_> = source.passages.iter().flat_map(found).collect();
        let counts = Counts {
            long_sentences: found.iter().filter(|found| found.is_long).count(),
            phrases: found.iter().filter(|found| !found.is_long).count(),
        };
        if counts != Counts::default() {
            now.insert(source.name.clone(), counts);
        }
        places.insert(source.name, found);
    }
    if env::var_os("UPDATE_LANGUAGE").is_some() {
        fs::write(&path, written(&now)).expect("a writable file");
        return;
    }
    let allowed = read(&fs::read_to_string(&path).expect("the counts"));
    let mut risen = String::new();
    for (name, counts) in &now {
        let allowed = allowed.get(name).copied().unwrap_or_default();
        if counts.long_sentences > allowed.long_sentences || counts.phrases > allowed.phrases {
            writeln!(risen, "{name}: {counts:?}, allowed {allowed:?}")
                .expect("a string takes text");
            for found in &places[name] {
                writeln!(risen, "  line {}: {}", found.line, found.reason)
                    .expect("a string takes text");
            }
        }
    }
    assert!(
        risen.is_empty(),
        "use plainer words or shorter sentences:\n{risen}"
    );
    assert_eq!(
        now,
        allowed,
        "the counts are lower than in {}: set UPDATE_LANGUAGE=1",
        path.display()
    );
}

struct Found {
    line: usize,
    is_long: bool,
    reason: String,
}

fn found(passage: &Passage) -> Vec<Found> {
    let mut all = Vec::new();
    for sentence in passage.sentences() {
        let words: Vec<String> = text::words(&sentence).collect();
        if words.len() > MAX_WORDS {
            all.push(Found {
                line: passage.line,
                is_long: true,
                reason: format!("{} words: {sentence}", words.len()),
            });
        }
        for phrase in PHRASES {
            let parts: Vec<_> = phrase.split(' ').collect();
            let hits = (0..words.len()).filter(|start| occurs(&parts, &words[*start..]));
            all.extend(hits.map(|_| Found {
                line: passage.line,
                is_long: false,
                reason: format!("\"{phrase}\": {sentence}"),
            }));
        }
    }
    all
}

fn occurs(phrase: &[&str], words: &[String]) -> bool {
    phrase.iter().enumerate().all(|(index, part)| {
        let word = words.get(index).map(String::as_str);
        match part.strip_prefix('~') {
            Some(excluded) => word != Some(excluded),
            None => word == Some(part),
        }
    })
}

fn written(counts: &BTreeMap<String, Counts>) -> String {
    let head = "# file, sentences over 35 words, phrases to avoid\n";
    let lines = counts
        .iter()
        .map(|(name, counts)| format!("{name} {} {}\n", counts.long_sentences, counts.phrases));
    core::iter::once(String::from(head)).chain(lines).collect()
}

fn read(text: &str) -> BTreeMap<String, Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split(' ');
            let name = parts.next().expect("a name").to_owned();
            let mut number = || parts.next().and_then(|part| part.parse().ok());
            let counts = Counts {
                long_sentences: number().expect("a count of sentences"),
                phrases: number().expect("a count of phrases"),
            };
            (name, counts)
        })
        .collect()
}

#[test]
fn a_phrase_is_found_by_its_words() {
    let of = |text: &str| -> Vec<bool> {
        let source = Source::new("a.md".into(), text);
        let all = source.passages.iter().flat_map(found);
        all.map(|found| found.is_long).collect()
    };
    assert_eq!(of("Pages such as this one.\n"), [false; 0]);
    assert_eq!(of("There is no such page.\n"), [false, false]);
    assert_eq!(of(&format!("{}.\n", ["word"; 36].join(" "))), [true]);
    assert_eq!(of(&format!("{}.\n", ["word"; 35].join(" "))), [false; 0]);
}
