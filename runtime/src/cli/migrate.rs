//! The command `migrate`.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{SETTINGS_INVALID, exit_success, print_each};
use crate::api::Api;
use crate::start::StartErrors;

pub(super) const NAME: &str = "migrate";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Creates or updates the tables of the store")
        .long_about(LONG_ABOUT)
        .arg(Arg::new(PRINT).long(PRINT).action(ArgAction::SetTrue).help(
            "Prints the SQL of the missing migrations, and changes nothing",
        ))
        .after_help(
            "The command reads APLOMB_STORE, and no other setting of `serve`.\n\n\
             Exit codes: 0 no migration is missing any more, or the SQL is printed, 2 a setting is\n\
             invalid or the store cannot be migrated.",
        )
}

const LONG_ABOUT: &str = "\
Applies the missing migrations of the store, and prints a line for each. The tables are then those
that this program needs. The other tables of the database are not changed.

`serve` also applies missing migrations, unless APLOMB_MIGRATE=off. Only a store in a SQL database
has migrations.";

const PRINT: &str = "print";

pub(super) async fn run<S: Clone + Send + Sync + 'static>(
    api: &Api<S>,
    arguments: &ArgMatches,
) -> ExitCode {
    let output = if arguments.get_flag(PRINT) {
        api.migration_script().await
    } else {
        let names = api.migrate_store().await;
        names.map(|names| names.as_deref().map(report))
    };
    match output {
        Ok(Some(text)) => exit_success(text.trim_end()),
        Ok(None) => exit_success(&not_needed(&api.store_name(), arguments.get_flag(PRINT))),
        Err(errors) => exit_errors(&errors),
    }
}

/// Returns a line for each applied migration.
fn report(names: &[String]) -> String {
    if names.is_empty() {
        return String::from("nothing to do");
    }
    let lines: Vec<_> = names.iter().map(|name| format!("applied {name}")).collect();
    lines.join("\n")
}

/// Returns the line for a store that needs no migrations; a comment if the output is read as SQL.
fn not_needed(store: &str, is_sql: bool) -> String {
    let comment = if is_sql { "-- " } else { "" };
    format!("{comment}nothing to do: the store ({store}) needs no migrations")
}

fn exit_errors(errors: &StartErrors) -> ExitCode {
    print_each("error", errors.iter());
    ExitCode::from(SETTINGS_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_applied_migration_is_a_line() {
        assert_eq!(report(&[]), "nothing to do");
        let names = ["0001_records", "0002_limits"].map(String::from);
        assert_eq!(report(&names), "applied 0001_records\napplied 0002_limits");
    }

    #[test]
    fn a_store_in_memory_has_nothing_to_do() {
        let line = "nothing to do: the store (memory) needs no migrations";
        assert_eq!(not_needed("memory", false), line);
        assert_eq!(not_needed("memory", true), format!("-- {line}"));
    }
}
