//! Compares the public API of `aplomb` with its listing in the repository.
//!
//! A commit that changes the API must change the listing too. A public item therefore cannot
//! appear, change or disappear by accident.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

const USAGE: &str = "\
usage: cargo run -p aplomb-public-api [-- --update]

Compares the public API of aplomb, with all features, with runtime/public-api.txt.

  --update  writes the listing";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => compare(),
        ["--update"] => update(),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

fn compare() -> Result<ExitCode, Box<dyn Error>> {
    let path = listing_path();
    let listed = fs::read_to_string(&path)?;
    let current = listing()?;
    let changes = changes(&listed, &current);
    if changes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprint!("{changes}");
    eprintln!(
        "error: the public API differs from {}; if the change is wanted, write the listing with \
         `cargo run -p aplomb-public-api -- --update`",
        path.display()
    );
    Ok(ExitCode::FAILURE)
}

fn update() -> Result<ExitCode, Box<dyn Error>> {
    fs::write(listing_path(), listing()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the lines that only one of the two listings has.
fn changes(listed: &str, current: &str) -> String {
    let mut changes = String::new();
    let mut note = |mark: char, lines: &str, others: &str| {
        let others: std::collections::HashSet<&str> = others.lines().collect();
        for line in lines.lines().filter(|line| !others.contains(line)) {
            let _ = writeln!(changes, "{mark} {line}");
        }
    };
    note('-', listed, current);
    note('+', current, listed);
    changes
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn listing_path() -> PathBuf {
    root().join("runtime/public-api.txt")
}

/// Lists the public items, one on each line. Leaves out derived and automatic implementations.
fn listing() -> Result<String, Box<dyn Error>> {
    let target = root().join("target");
    // The JSON output of rustdoc is unstable. The wrapper script allows unstable options only for
    // rustdoc. If an environment variable allowed them for all of cargo, cargo would compile every
    // dependency again.
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root())
        .args([
            "rustdoc",
            "--quiet",
            "-p",
            "aplomb",
            "--lib",
            "--all-features",
        ])
        .arg("--target-dir")
        .arg(&target)
        .args([
            "--",
            "-Zunstable-options",
            "--output-format=json",
            "--cap-lints=allow",
        ])
        .env(
            "RUSTDOC",
            root().join("tests/public_api/rustdoc.sh").canonicalize()?,
        )
        .status()?;
    if !built.success() {
        return Err("cargo rustdoc failed".into());
    }
    let api = public_api::Builder::from_rustdoc_json(target.join("doc/aplomb.json"))
        .omit_auto_derived_impls(true)
        .omit_auto_trait_impls(true)
        .omit_blanket_impls(true)
        .build()?;
    Ok(api.to_string())
}

#[cfg(test)]
mod tests {
    use super::changes;

    #[test]
    fn lines_that_only_one_listing_has_are_changes() {
        assert_eq!(changes("a\nb\n", "a\nb\n"), "");
        assert_eq!(changes("a\nb\n", "a\nc\n"), "- b\n+ c\n");
    }
}
