//! The prose of a file: paragraphs of Markdown, comments, and messages in string literals.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file and its prose.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) passages: Vec<Passage>,
}

/// A paragraph, a cell of a table, or a message.
#[derive(Debug)]
pub(crate) struct Passage {
    /// The number of the first line of the passage.
    pub(crate) line: usize,
    /// `true` if the passage is the first paragraph of the documentation of a Rust item.
    pub(crate) is_doc: bool,
    pub(crate) text: String,
}

impl Passage {
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        words(&self.text)
    }

    /// Returns the sentences. A period inside a word, as in `v1.2`, or after an abbreviation does
    /// not end a sentence.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut all = vec![String::new()];
        for word in self.text.split_whitespace() {
            let last = all.last_mut().expect("never empty");
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
            let bare = word.trim_end_matches(['"', '`', ')', '*', '_']);
            let ends = bare.ends_with(['.', '!', '?', ':', ';']);
            if ends && !["e.g.", "i.e.", "etc.", "cf."].contains(&bare) {
                all.push(String::new());
            }
        }
        all.retain(|sentence| !sentence.is_empty());
        all
    }
}

/// Returns the words in lower case. Code in backticks counts as one word. A link counts by its
/// text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut plain = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 0 {
            plain.push_str(part);
        } else {
            plain.push_str("code");
        }
    }
    let plain = without_targets(&plain);
    let all: Vec<String> = plain
        .split_whitespace()
        .map(|word| {
            word.trim_matches(|c: char| !c.is_alphanumeric())
                .to_lowercase()
        })
        .filter(|word| !word.is_empty())
        .collect();
    all.into_iter()
}

/// Returns the text without the targets of its links, `](target)`.
fn without_targets(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    plain
}

impl Source {
    pub(crate) fn new(name: String, content: &str) -> Self {
        let passages = if name.split('.').next_back() == Some("md") {
            let lines = (1..).zip(content.lines());
            paragraphs(lines, false)
        } else {
            rust(content)
        };
        Self {
            name,
            content: content.to_owned(),
            passages,
        }
    }
}

/// The kind of a comment. Neighbouring lines of the same kind belong together.
#[derive(PartialEq, Clone, Copy)]
enum Comment {
    Outer,
    Inner,
    Plain,
}

fn comment(line: &str) -> Option<(Comment, &str)> {
    let line = line.trim_start();
    let (kind, text) = if let Some(text) = line.strip_prefix("///") {
        (Comment::Outer, text)
    } else if let Some(text) = line.strip_prefix("//!") {
        (Comment::Inner, text)
    } else {
        (Comment::Plain, line.strip_prefix("//")?)
    };
    Some((kind, text.strip_prefix(' ').unwrap_or(text)))
}

fn rust(content: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut lines = (1..).zip(content.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        let Some((kind, text)) = comment(line) else {
            continue;
        };
        let mut block = vec![(number, text)];
        while let Some((number, text)) = lines.peek().and_then(|(number, line)| {
            comment(line)
                .filter(|(other, _)| *other == kind)
                .map(|(_, text)| (*number, text))
        }) {
            block.push((number, text));
            lines.next();
        }
        passages.extend(paragraphs(block.into_iter(), kind != Comment::Plain));
    }
    let tokens = TokenStream::from_str(content).expect("Rust that compiles");
    messages(tokens, &mut passages);
    passages
}

/// Collects the string literals that contain a space. Skips documentation: it is an attribute in
/// the tokens, and was read before. Skips statements of SQL as well.
fn messages(tokens: TokenStream, passages: &mut Vec<Passage>) {
    let mut is_attribute = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                if !(is_attribute && group.delimiter() == Delimiter::Bracket) {
                    messages(group.stream(), passages);
                }
                is_attribute = false;
            }
            TokenTree::Punct(punct) => {
                is_attribute = punct.as_char() == '#' || punct.as_char() == '!' && is_attribute;
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.starts_with('"') && text.contains(' ') && !is_statement(&text) {
                    passages.push(Passage {
                        line: literal.span().start().line,
                        is_doc: false,
                        text: text
                            .trim_matches('"')
                            .replace("\\\"", "\"")
                            .replace("\\n", " ")
                            .replace("\\\n", " "),
                    });
                }
                is_attribute = false;
            }
            TokenTree::Ident(_) => is_attribute = false,
        }
    }
}

/// Returns `true` for a literal with a statement of SQL.
fn is_statement(literal: &str) -> bool {
    let text = literal.trim_start_matches(['"', '\\', '\n', ' ']);
    STATEMENTS.contains(&text.split(' ').next().unwrap_or_default())
}

const STATEMENTS: [&str; 9] = [
    "ALTER", "BEGIN", "CREATE", "DELETE", "GRANT", "INSERT", "SELECT", "UPDATE", "WITH",
];

/// Splits lines of Markdown into paragraphs, list items and table cells. Leaves out code and
/// headings.
fn paragraphs<'a>(lines: impl Iterator<Item = (usize, &'a str)>, is_doc: bool) -> Vec<Passage> {
    let (mut all, mut open, mut is_code): (Vec<Passage>, Option<Passage>, bool) =
        (Vec::new(), None, false);
    for (line, text) in lines {
        let text = text.trim();
        if text.starts_with("```") {
            is_code = !is_code;
            all.extend(open.take());
            continue;
        }
        if is_code || text.is_empty() || text.starts_with('#') || text.starts_with("<!--") {
            all.extend(open.take());
            continue;
        }
        if text.starts_with('|') {
            all.extend(open.take());
            let cells = text.split(" | ").filter(|cell| cell.contains(' '));
            all.extend(cells.map(|cell| Passage {
                line,
                is_doc: false,
                text: cell.trim_matches(['|', ' ']).to_owned(),
            }));
            continue;
        }
        let item = text.strip_prefix("- ").or_else(|| text.strip_prefix("* "));
        if item.is_some() {
            all.extend(open.take());
        }
        let text = item.unwrap_or(text);
        match &mut open {
            Some(open) => {
                open.text.push(' ');
                open.text.push_str(text);
            }
            None => {
                open = Some(Passage {
                    line,
                    is_doc: is_doc && all.is_empty(),
                    text: text.to_owned(),
                });
            }
        }
    }
    all.extend(open);
    all
}
