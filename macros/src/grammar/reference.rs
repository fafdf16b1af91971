//! The tables of `runtime/src/reference/endpoint.md`, each between two comments that name it.
//!
//! After a change of the grammar, run `UPDATE_REFERENCE=1 cargo test -p aplomb-macros reference`.

use std::path::Path;
use std::{env, fs};

use super::{KEYS, Key};

#[test]
fn the_reference_shows_the_tables_of_the_grammar() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/reference/endpoint.md");
    let written = fs::read_to_string(&path).expect("the reference");
    let tables = KEYS
        .iter()
        .filter(|key| !key.options.is_empty())
        .map(|key| (key.name, options(key)));
    let current = tables.fold(replace(&written, "keys", &keys()), |text, (name, table)| {
        replace(&text, &format!("options of {name}"), &table)
    });
    if current != written && env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &current).expect("the reference is written");
        return;
    }
    assert!(
        current == written,
        "the tables of endpoint.md differ from the grammar: set UPDATE_REFERENCE=1\n{current}"
    );
}

fn keys() -> String {
    let rows = KEYS.iter().map(|key| {
        let forms: Vec<String> = key.forms.iter().map(|form| format!("`{form}`")).collect();
        format!(
            "| `{}` | {} | {} | {} |\n",
            key.name,
            forms.join(", "),
            key.help,
            key.default_help
        )
    });
    let head = "| key | syntax | effect | default |\n|---|---|---|---|\n";
    head.to_owned() + &rows.collect::<String>()
}

fn options(key: &Key) -> String {
    let rows = key.options.iter().map(|option| {
        format!(
            "| `{}` | {} | {} |\n",
            option.example, option.help, option.default_help
        )
    });
    format!(
        "| option of `{}` | effect | default |\n|---|---|---|\n",
        key.name
    ) + &rows.collect::<String>()
}

/// Replaces the table between the comments of this name.
fn replace(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no comment {begin}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("no comment {end}"));
    // Markdown needs a blank line between a comment and a table.
    format!("{before}{begin}\n{table}\n{end}{after}")
}
