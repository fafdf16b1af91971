//! The imports of a crate's source files, module by module.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One path of a file that names something of another module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// The module that names it, from the crate's root, such as `["policies", "timeout", "stage"]`.
    pub(crate) from: Vec<String>,
    /// What is named, from the crate's root. A name that the root exports again is where it comes from.
    pub(crate) to: Vec<String>,
    /// The file, from the root of the repository, and the line.
    pub(crate) place: (String, usize),
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = &self.place;
        write!(
            f,
            "{file}:{line}: `{}` imports `{}`",
            self.from.join("::"),
            self.to.join("::")
        )
    }
}

/// All imports in the files of a crate but its root, without those of tests.
pub(crate) fn imports(repository: &Path, source: &str) -> Vec<Import> {
    let root = repository.join(source);
    let files = files(&root);
    let relative = |file: &PathBuf| module(file.strip_prefix(&root).expect("a file of the crate"));
    let modules: HashSet<String> = files
        .iter()
        .filter_map(|file| relative(file).into_iter().next())
        .collect();
    let mut exports = exports(&read(&root.join("lib.rs")));
    // A module of the name comes first, such as `serve`, of which the function is exported.
    exports.retain(|name, _| !modules.contains(name));
    let mut found = Vec::new();
    for file in files {
        let module = relative(&file);
        let name = file
            .strip_prefix(repository)
            .expect("a file of the repository")
            .display()
            .to_string();
        if module.is_empty() || module.iter().any(|name| name == "tests") {
            continue;
        }
        scan(&read(&file), &module, &mut |from, to, line| {
            let mut to = to.to_vec();
            if let Some(original) = to.first().and_then(|first| exports.get(first)) {
                to.splice(..1, original.iter().cloned());
            }
            found.push(Import {
                from: from.to_vec(),
                to,
                place: (name.clone(), line),
            });
        });
    }
    found.sort();
    found.dedup();
    found
}

fn read(file: &Path) -> TokenStream {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path());
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            files.extend(self::files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files.sort();
    files
}

/// The module of a file, such as `a::b` of `a/b.rs` and of `a/b/mod.rs`; nothing of the crate's root.
fn module(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let mut names: Vec<String> = names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.pop_if(|name| name == "mod" || name == "lib");
    names
}

/// The names that the crate's root exports of its own modules, with what they are there.
fn exports(root: &TokenStream) -> HashMap<String, Vec<String>> {
    let mut exports = HashMap::new();
    scan(root, &[], &mut |from, to, _| {
        if let (true, [.., name]) = (from.is_empty(), to) {
            exports.insert(name.clone(), to.to_vec());
        }
    });
    exports
}

/// Calls `found` with each path that begins with `crate`, `self` or `super`: the module that it stands in, its names
/// from the crate's root, and its line.
fn scan(
    tokens: &TokenStream,
    module: &[String],
    found: &mut impl FnMut(&[String], &[String], usize),
) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        if let Some(after) = test_item(&trees[at..]) {
            at += after;
        } else if let Some((name, body)) = inline_module(&trees[at..]) {
            let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
            scan(&body, &inner, found);
            at += 3;
        } else if matches!(&trees[at], TokenTree::Punct(sign) if sign.as_char() == '$') {
            // A path of a macro is one of the place where it is used.
            at += 2;
        } else if let Some((base, after)) = base(&trees[at..], module) {
            at += after;
            at += path(&trees[at..], &base, &mut |to, line| found(module, to, line));
        } else {
            // An attribute has only the text of documentation and names of macros.
            if let TokenTree::Group(group) = &trees[at]
                && !is_attribute(&trees[..at], group)
            {
                scan(&group.stream(), module, found);
            }
            at += 1;
        }
    }
}

fn is_attribute(before: &[TokenTree], group: &proc_macro2::Group) -> bool {
    let is = |tree: Option<&TokenTree>, sign| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    let last = before.last();
    group.delimiter() == Delimiter::Bracket
        && (is(last, '#') || is(last, '!') && is(before.iter().rev().nth(1), '#'))
}

/// How many trees an item takes that is compiled in tests only.
fn test_item(trees: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(sign), TokenTree::Group(attribute), ..] = trees else {
        return None;
    };
    if sign.as_char() != '#'
        || !matches!(
            attribute.to_string().replace(' ', "").as_str(),
            "[cfg(test)]" | "[cfg(any(test,fuzzing))]"
        )
    {
        return None;
    }
    // An item ends with a semicolon or its braces; a field, a variant or an arm with a comma, or with those around it.
    let ends = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | ','),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    Some(
        trees
            .iter()
            .position(ends)
            .map_or(trees.len(), |end| end + 1),
    )
}

fn inline_module(trees: &[TokenTree]) -> Option<(String, TokenStream)> {
    match trees {
        [
            TokenTree::Ident(keyword),
            TokenTree::Ident(name),
            TokenTree::Group(body),
            ..,
        ] if keyword == "mod" && body.delimiter() == Delimiter::Brace => {
            Some((name.to_string(), body.stream()))
        }
        _ => None,
    }
}

/// The module that a path begins in, and how many trees say so.
fn base(trees: &[TokenTree], module: &[String]) -> Option<(Vec<String>, usize)> {
    let mut base = match trees {
        [_, rest @ ..] if !colons(rest) => return None,
        [TokenTree::Ident(first), ..] if first == "crate" => Vec::new(),
        [TokenTree::Ident(first), ..] if first == "self" => module.to_vec(),
        [TokenTree::Ident(first), ..] if first == "super" => {
            module[..module.len().checked_sub(1)?].to_vec()
        }
        _ => return None,
    };
    let mut after = 3;
    while matches!(trees.get(after), Some(TokenTree::Ident(next)) if next == "super")
        && colons(&trees[after + 1..])
    {
        base.pop();
        after += 3;
    }
    Some((base, after))
}

/// Reads what follows `crate::`: names, and a list in braces where there is one.
fn path(trees: &[TokenTree], base: &[String], found: &mut impl FnMut(&[String], usize)) -> usize {
    let mut to = base.to_vec();
    let mut at = 0;
    let mut line = 0;
    loop {
        match trees.get(at) {
            Some(TokenTree::Ident(name)) => {
                line = name.span().start().line;
                // `use a::{self}` names `a`.
                to.extend(Some(name.to_string()).filter(|name| name != "self"));
                at += 1;
            }
            Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Brace => {
                for part in list
                    .stream()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .split(is_comma)
                {
                    path(part, &to, found);
                }
                return at + 1;
            }
            // `use a::*`, or generic arguments, which are scanned by themselves.
            Some(tree) => {
                line = tree.span().start().line;
                break;
            }
            None => break,
        }
        if !colons(&trees[at..]) {
            break;
        }
        at += 2;
    }
    if line > 0 {
        found(&to, line);
    }
    at
}

fn is_comma(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ',')
}

fn colons(trees: &[TokenTree]) -> bool {
    let colon = |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(trees.first()) && colon(trees.get(1))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    /// What a text names, as the module `a::b`, with the lines.
    fn found(text: &str) -> Vec<String> {
        let module = ["a", "b"].map(str::to_owned);
        let mut found = Vec::new();
        scan(
            &TokenStream::from_str(text).expect("tokens"),
            &module,
            &mut |from, to, line| {
                found.push(format!("{} {} {line}", from.join("::"), to.join("::")));
            },
        );
        found
    }

    #[test]
    fn every_path_to_another_module_is_found() {
        for (text, expected) in [
            ("use crate::c::D;", &["a::b c::D 1"][..]),
            (
                "\npub(crate) use crate::c::{D, e::{F, self}};",
                &["a::b c::D 2", "a::b c::e::F 2", "a::b c::e 2"],
            ),
            ("use crate::{c::D,\n e as f};", &["a::b c::D 1", "a::b e 2"]),
            ("use crate::c::*;", &["a::b c 1"]),
            ("use super::c;", &["a::b a::c 1"]),
            ("use super::super::c::D;", &["a::b c::D 1"]),
            ("use self::c::D;", &["a::b a::b::c::D 1"]),
            (
                "mod inner { use super::super::c; }",
                &["a::b::inner a::c 1"],
            ),
            (
                "fn f() -> crate::c::D<crate::e::F> { crate::g::h() }",
                &["a::b c::D 1", "a::b e::F 1", "a::b g::h 1"],
            ),
            ("m! { crate::c::D }", &["a::b c::D 1"]),
            ("impl T for crate::c::D {}", &["a::b c::D 1"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_found() {
        for text in [
            "use core::fmt; use http::Method;",
            "// crate::c::D\n/* crate::c::D */",
            "/// [`crate::c::D`]\nfn f() {}",
            "//! [`D`](crate::c::D)\n",
            "const TEXT: &str = \"crate::c::D\";",
            "#[cfg(test)] use crate::c::D;",
            "#[cfg(test)] mod tests { use crate::c::D; }",
            "#[cfg(test)] #[path = \"x.rs\"] mod tests { use crate::c::D; }",
            "struct S { #[cfg(test)] field: crate::c::D, other: u8 }",
            "pub(crate) fn f(self) {} pub(super) fn g() {}",
            "#[serde(with = \"crate::c\")] struct S;",
            "macro_rules! m { () => { $crate::c::D } }",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
