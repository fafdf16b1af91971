//! A parser of the imports in the source files of a crate.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path in a source file that names an item of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// The path of the importing module, such as `["policies", "timeout", "stage"]`. It begins at
    /// the crate's root.
    pub(crate) from: Vec<String>,
    /// The path of the imported item from the crate's root. A name that the root re-exports is
    /// replaced by its original path.
    pub(crate) to: Vec<String>,
    /// The path of the file from the root of the repository, and the number of the line.
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

/// Returns all imports in the files of a crate, except the imports of its root and of tests.
pub(crate) fn imports(repository: &Path, source: &str) -> Vec<Import> {
    let root = repository.join(source);
    let files = files(&root);
    let relative = |file: &PathBuf| module(file.strip_prefix(&root).expect("a file of the crate"));
    let modules: HashSet<String> = files
        .iter()
        .filter_map(|file| relative(file).into_iter().next())
        .collect();
    let mut exports = exports(&read(&root.join("lib.rs")));
    // A name such as `serve` can be both a module and a re-exported function. A path that continues
    // after this name means the module.
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

/// Returns the module of a file, such as `a::b` for `a/b.rs` and `a/b/mod.rs`. The result for the
/// crate's root is empty.
fn module(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let mut names: Vec<String> = names
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.pop_if(|name| name == "mod" || name == "lib");
    names
}

/// Returns the names that the crate's root re-exports, with their original paths.
fn exports(root: &TokenStream) -> HashMap<String, Vec<String>> {
    let mut exports = HashMap::new();
    scan(root, &[], &mut |from, to, _| {
        if let (true, [.., name]) = (from.is_empty(), to) {
            exports.insert(name.clone(), to.to_vec());
        }
    });
    exports
}

/// Calls `found` for each path that begins with `crate`, `self` or `super`. The arguments are the
/// module that contains the path, the names of the path from the crate's root, and its line.
fn scan(
    tokens: &TokenStream,
    module: &[String],
    found: &mut impl FnMut(&[String], &[String], usize),
) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut index = 0;
    while index < trees.len() {
        if let Some(after) = test_item(&trees[index..]) {
            index += after;
        } else if let Some((name, body)) = inline_module(&trees[index..]) {
            let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
            scan(&body, &inner, found);
            index += 3;
        } else if matches!(&trees[index], TokenTree::Punct(punct) if punct.as_char() == '$') {
            // A path that begins with `$crate` in a macro belongs to the module that calls the
            // macro.
            index += 2;
        } else if let Some((base, after)) = base_of(&trees[index..], module) {
            index += after;
            index += path(&trees[index..], &base, &mut |to, line| {
                found(module, to, line);
            });
        } else {
            // Attributes are skipped, because they contain only documentation and names of macros.
            if let TokenTree::Group(group) = &trees[index]
                && !is_attribute(&trees[..index], group)
            {
                scan(&group.stream(), module, found);
            }
            index += 1;
        }
    }
}

fn is_attribute(before: &[TokenTree], group: &proc_macro2::Group) -> bool {
    let is = |tree: Option<&TokenTree>, sign| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    let last = before.last();
    group.delimiter() == Delimiter::Bracket
        && (is(last, '#') || is(last, '!') && is(before.iter().rev().nth(1), '#'))
}

/// Returns the number of token trees of an item that is compiled only in tests, or `None` for
/// another item.
fn test_item(trees: &[TokenTree]) -> Option<usize> {
    let [TokenTree::Punct(punct), TokenTree::Group(attribute), ..] = trees else {
        return None;
    };
    if punct.as_char() != '#'
        || !matches!(
            attribute.to_string().replace(' ', "").as_str(),
            "[cfg(test)]" | "[cfg(any(test,fuzzing))]"
        )
    {
        return None;
    }
    // An item ends with a semicolon or with braces. A field, a variant or an arm ends with a comma,
    // or at the end of the surrounding tokens.
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

/// Returns the module that `crate::`, `self::` or `super::` names, and the number of token trees of
/// this prefix.
fn base_of(trees: &[TokenTree], module: &[String]) -> Option<(Vec<String>, usize)> {
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

/// Reads the names after `crate::`, and a list in braces if there is one. Returns the number of
/// token trees that were read.
fn path(trees: &[TokenTree], base: &[String], found: &mut impl FnMut(&[String], usize)) -> usize {
    let mut to = base.to_vec();
    let mut index = 0;
    let mut line = 0;
    loop {
        match trees.get(index) {
            Some(TokenTree::Ident(name)) => {
                line = name.span().start().line;
                // `use a::{self}` names `a`.
                to.extend(Some(name.to_string()).filter(|name| name != "self"));
                index += 1;
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
                return index + 1;
            }
            // This is `use a::*`, or generic arguments, which `scan` reads separately.
            Some(tree) => {
                line = tree.span().start().line;
                break;
            }
            None => break,
        }
        if !colons(&trees[index..]) {
            break;
        }
        index += 2;
    }
    if line > 0 {
        found(&to, line);
    }
    index
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

    /// Returns the imports in a text of the module `a::b`, with their lines.
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
    fn other_paths_and_tests_are_ignored() {
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
