//! A command line for the whole service: one file a command, each with its name, its arguments and what it
//! does, in this order.

mod check;
mod log;
mod records;
mod routes;
mod serve;

use core::future::Future;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::api::Api;
use crate::serve::print_line;

/// Owns the process of a service: reads its arguments, and serves the API or does what else they ask.
///
/// `make_api` makes the API and `connect` its state, as for [`serve`](crate::serve); both are called inside a
/// multi-threaded tokio runtime, and only by the commands that need them.
///
/// | command | | calls `connect` |
/// |---|---|---|
/// | `serve`, or none | serves the API; see [`serve`](crate::serve) | yes |
/// | `routes [--json]` | lists the endpoints: method, path, versions, policies and source line | no |
/// | `check` | judges all that a start would, without opening a port: endpoints, settings, the store, the state | yes |
/// | `records show <record>` | shows the record of an idempotency key, by the name that the log has | no |
/// | `records resolve <record> absent`, `done <status> [json]` | frees a record whose outcome nobody knows, or sets it to DONE | no |
///
/// `--help` explains each, the one of `serve` all settings.
///
/// | exit code | |
/// |---|---|
/// | 0 | it went well; also help |
/// | 1 | `serve`: a request was cut off. `check`: something would keep the service from starting, such as wrong settings. `records`: there is no such record, or it was not UNKNOWN |
/// | 2 | the arguments are wrong. `serve`: it did not start. `records`: the settings are wrong, or the store cannot be used |
///
/// Results go to the standard output, errors and warnings to the standard error. An output that nobody reads,
/// such as a closed pipe, is no error.
///
/// Use [`serve`](crate::serve) in a program that has an async `main` of its own.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use aplomb::prelude::*;
///
/// /// Says that the service is there.
/// #[endpoint(get = "/health", public)]
/// async fn health() {}
///
/// fn main() -> ExitCode {
///     let make_api = || Api::new("orders", routes![health]).store(Store::from_env()).auth(ApiKeys::from_env());
///     aplomb::run(make_api, async || Ok::<_, aplomb::StartErrors>(()))
/// }
/// ```
pub fn run<S, A, C, F, E>(make_api: A, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    A: FnOnce() -> Api<S>,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let arguments = match parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(format_args!(
                "the threads of the runtime cannot be started: {error}"
            ));
        }
    };
    runtime.block_on(dispatch(&arguments, make_api, connect))
}

async fn dispatch<S, A, C, F, E>(arguments: &ArgMatches, make_api: A, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    A: FnOnce() -> Api<S>,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    match arguments.subcommand() {
        None | Some((serve::NAME, _)) => serve::run(make_api(), connect).await,
        Some((routes::NAME, arguments)) => routes::run(&make_api(), arguments),
        Some((check::NAME, _)) => check::run(make_api(), connect).await,
        Some((records::NAME, arguments)) => records::run(&make_api(), arguments).await,
        Some((other, _)) => unreachable!("the command `{other}` is declared and not dispatched"),
    }
}

/// Reads the arguments. The exit code of help, or of a mistake, once that is printed.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, ExitCode> {
    command().try_get_matches_from(arguments).map_err(|error| {
        // Nobody listening is no reason to fail otherwise.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() {
            SETTINGS_INVALID
        } else {
            0
        })
    })
}

/// Every command. Its name in messages is that of the program's file.
fn command() -> Command {
    Command::new("service")
        .about("Serves the API, or does what an operator needs beside it")
        .after_help(EXIT_CODES)
        .subcommands([
            serve::command(),
            routes::command(),
            check::command(),
            records::command(),
        ])
}

const EXIT_CODES: &str = "\
Without a command it serves. `serve --help` lists the settings.

Exit codes: 0 it went well, 1 it failed (`--help` of a command says when), 2 the arguments are
wrong; for `serve` and `records` also the settings or the store.";

/// The exit code of what failed.
const FAILED: u8 = 1;

/// The exit code of wrong arguments or settings.
const SETTINGS_INVALID: u8 = 2;

/// Prints a result.
fn done(text: &str) -> ExitCode {
    print_line(io::stdout(), text);
    ExitCode::SUCCESS
}

/// Prints errors or warnings, one a line.
fn print_each(kind: &str, messages: impl IntoIterator<Item: core::fmt::Display>) {
    for message in messages {
        print_line(io::stderr(), &format!("{kind}: {message}"));
    }
}

/// Prints why arguments or settings cannot be used.
fn fail(why: impl core::fmt::Display) -> ExitCode {
    print_each("error", [why]);
    ExitCode::from(SETTINGS_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message for these arguments, and whether it is an error.
    fn message(arguments: &[&str]) -> (String, bool) {
        let arguments = ["/usr/bin/payments"].iter().chain(arguments);
        let error = command()
            .try_get_matches_from(arguments)
            .expect_err("a message");
        (error.to_string(), error.use_stderr())
    }

    fn accepted(arguments: &[&str]) -> ArgMatches {
        command()
            .try_get_matches_from(["payments"].iter().chain(arguments))
            .expect("accepted")
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        assert_eq!(accepted(&[]).subcommand_name(), None);
        assert_eq!(accepted(&["serve"]).subcommand_name(), Some("serve"));
    }

    #[test]
    fn every_command_has_a_help_with_a_line_for_each_argument() {
        fn undescribed(command: &Command) -> Vec<String> {
            let arguments = command
                .get_arguments()
                .filter(|argument| argument.get_help().is_none());
            let mut names: Vec<_> = arguments
                .map(|argument| argument.get_id().to_string())
                .collect();
            names.extend(
                command
                    .get_about()
                    .is_none()
                    .then(|| command.get_name().to_owned()),
            );
            names.extend(command.get_subcommands().flat_map(undescribed));
            names
        }
        assert_eq!(undescribed(&command()), [""; 0]);
        for arguments in [
            &["--help"][..],
            &["help"],
            &["serve", "--help"],
            &["help", "routes"],
            &["check", "--help"],
            &["records", "--help"],
            &["records", "show", "--help"],
            &["records", "resolve", "--help"],
            &["records", "resolve", "x", "done", "--help"],
        ] {
            let (text, is_error) = message(arguments);
            assert!(
                !is_error && text.contains("Usage: payments"),
                "{arguments:?}: {text}"
            );
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "too wide for a terminal: {text}"
            );
        }
    }

    #[test]
    fn what_is_unknown_is_refused_with_a_suggestion() {
        for (arguments, suggestion) in [
            (&["route"][..], "'routes'"),
            (&["chekc"], "'check'"),
            (&["routes", "--jsno"], "'--json'"),
            (&["records", "shwo"], "'show'"),
        ] {
            let (text, is_error) = message(arguments);
            assert!(
                is_error && text.starts_with("error: ") && text.contains(suggestion),
                "{text}"
            );
        }
    }
}
