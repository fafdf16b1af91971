//! The command line of a service. Each command has a file with its name, its arguments and its
//! function, in this order.

mod check;
mod log;
mod migrate;
mod records;
mod routes;
mod serve;

use core::future::Future;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::api::Api;
use crate::serve::print_line;

/// Runs a service with its command line: serves the API, or runs a command for operators.
///
/// `make_api` makes the API, and `connect` makes its state, as for [`serve`](crate::serve). Each
/// command calls only the functions that it needs. The calls run inside a multi-threaded tokio
/// runtime, which this function starts.
///
/// | command | | calls `connect` |
/// |---|---|---|
/// | `serve`, or no command | serves the API; see [`serve`](crate::serve) | yes |
/// | `routes [--json]` | lists the endpoints: method, path, versions, policies and source line | no |
/// | `check` | checks that the service would start, without opening a port: endpoints, settings, store and state | yes |
/// | `migrate [--print]` | applies the missing migrations of the store, or prints their SQL | no |
/// | `records show <record>` | shows the record of an idempotency key, by the name that is in the log | no |
/// | `records resolve <record> absent`, `… done <status> [json]` | frees a record with an unknown outcome, or marks it as done | no |
/// | `--version` | prints the API's name and the version of Aplomb | no |
///
/// `--help` after a command explains it; `serve --help` lists all settings.
///
/// | exit code | |
/// |---|---|
/// | 0 | success, also for help |
/// | 1 | `serve`: a request was cut off. `check`: the service would not start, for example because of an invalid setting. `records`: the record does not exist, or its outcome is not unknown |
/// | 2 | the arguments are invalid. `serve`: the service did not start. `migrate`, `records`: a setting is invalid, or the store cannot be used |
///
/// Results are written to the standard output, and errors and warnings to the standard error. A
/// closed output, such as a pipe, is not an error.
///
/// Call [`serve`](crate::serve) instead in a program with an async `main`.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use aplomb::prelude::*;
///
/// /// Responds while the service runs.
/// #[endpoint(get = "/health", public)]
/// async fn health() {}
///
/// fn main() -> ExitCode {
///     let make_api = || {
///         Api::new("orders", routes![health]).store(Store::from_env()).auth(ApiKeys::from_env())
///     };
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
            return exit_invalid(format_args!("cannot start the tokio runtime: {error}"));
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
    if arguments.get_flag(VERSION) {
        return exit_success(&version(make_api().name()));
    }
    match arguments.subcommand() {
        None | Some((serve::NAME, _)) => serve::run(make_api(), connect).await,
        Some((routes::NAME, arguments)) => routes::run(&make_api(), arguments),
        Some((check::NAME, _)) => check::run(make_api(), connect).await,
        Some((migrate::NAME, arguments)) => migrate::run(&make_api(), arguments).await,
        Some((records::NAME, arguments)) => records::run(&make_api(), arguments).await,
        Some((other, _)) => unreachable!("the command `{other}` is declared and not dispatched"),
    }
}

/// Parses the arguments. If there is help or an error to print, prints it and returns the exit
/// code.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, ExitCode> {
    try_parse(arguments).map_err(|error| {
        // A closed output does not change the exit code.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() {
            SETTINGS_INVALID
        } else {
            0
        })
    })
}

fn try_parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<ArgMatches, clap::Error> {
    command()
        .try_get_matches_from(arguments)
        .map_err(explain_address)
}

/// Explains an unknown option that is meant to set the address. There is no such option, because a
/// setting with two sources would need a rule of precedence.
fn explain_address(mut error: clap::Error) -> clap::Error {
    let sets_address = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => ADDRESS_OPTIONS.contains(&option.as_str()),
        _ => false,
    };
    if error.kind() == ErrorKind::UnknownArgument && sets_address {
        let tip = "the environment variable APLOMB_ADDR sets the address and the port: \
                   APLOMB_ADDR=127.0.0.1:8080";
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// The option names by which other programs take their address.
const ADDRESS_OPTIONS: [&str; 7] = [
    "--port",
    "--addr",
    "--address",
    "--bind",
    "--host",
    "--listen",
    "-p",
];

/// Returns all commands. Messages have the name of the program's file instead of `service`.
fn command() -> Command {
    Command::new("service")
        .about("Serves the API, or runs a command for operators")
        .arg(
            Arg::new(VERSION)
                .short('V')
                .long(VERSION)
                .action(ArgAction::SetTrue)
                .help("Prints the API's name and the version of Aplomb"),
        )
        .after_help(EXIT_CODES)
        .subcommands([
            serve::command(),
            routes::command(),
            check::command(),
            migrate::command(),
            records::command(),
        ])
}

const VERSION: &str = "version";

/// Returns the API's name and the version of the framework. The framework does not know the version
/// of the program.
fn version(name: &str) -> String {
    format!("{name} (aplomb {})", env!("CARGO_PKG_VERSION"))
}

const EXIT_CODES: &str = "\
Without a command the service serves the API. `serve --help` lists the settings.

Exit codes: 0 success, 1 failure (see the `--help` of each command), 2 invalid arguments; for
`serve`, `migrate` and `records` also an invalid setting, or a store that cannot be used.";

/// The exit code of a command that failed.
const FAILED: u8 = 1;

/// The exit code of invalid arguments or settings, and of a store that cannot be used.
const SETTINGS_INVALID: u8 = 2;

/// Prints a result.
fn exit_success(text: &str) -> ExitCode {
    print_line(io::stdout(), text);
    ExitCode::SUCCESS
}

/// Prints errors or warnings, one on each line.
fn print_each(kind: &str, messages: impl IntoIterator<Item: core::fmt::Display>) {
    for message in messages {
        print_line(io::stderr(), &format!("{kind}: {message}"));
    }
}

/// Prints an error of the arguments, the settings or the store.
fn exit_invalid(error: impl core::fmt::Display) -> ExitCode {
    print_each("error", [error]);
    ExitCode::from(SETTINGS_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the message for these arguments, and whether it is an error.
    fn message(arguments: &[&str]) -> (String, bool) {
        let arguments = ["/usr/bin/payments"].iter().chain(arguments);
        let error = try_parse(arguments).expect_err("a message");
        (error.to_string(), error.use_stderr())
    }

    fn accepted(arguments: &[&str]) -> ArgMatches {
        try_parse(["payments"].iter().chain(arguments)).expect("accepted")
    }

    #[test]
    fn the_commands_are_declared_without_contradictions() {
        command().debug_assert();
    }

    #[test]
    fn arguments_without_a_command_have_no_subcommand() {
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
            &["migrate", "--help"],
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
    fn unknown_arguments_are_refused_with_a_suggestion() {
        for (arguments, suggestion) in [
            (&["route"][..], "'routes'"),
            (&["chekc"], "'check'"),
            (&["routes", "--jsno"], "'--json'"),
            (&["migrate", "--prnt"], "'--print'"),
            (&["records", "shwo"], "'show'"),
        ] {
            let (text, is_error) = message(arguments);
            assert!(
                is_error && text.starts_with("error: ") && text.contains(suggestion),
                "{text}"
            );
        }
    }

    #[test]
    fn an_option_for_the_address_is_refused_and_the_error_names_the_variable() {
        for arguments in [
            &["serve", "--port", "8080"][..],
            &["serve", "--port=8080"],
            &["--port", "8080"],
            &["serve", "-p", "8080"],
            &["serve", "--addr", "[::]:80"],
        ] {
            let (text, is_error) = message(arguments);
            assert!(is_error && text.contains("APLOMB_ADDR sets"), "{text}");
        }
        let (text, _) = message(&["serve", "--colour"]);
        assert!(!text.contains("APLOMB_ADDR"), "{text}");
    }

    #[test]
    fn the_version_is_the_version_of_the_framework() {
        assert!(accepted(&["--version"]).get_flag(VERSION));
        assert!(accepted(&["-V"]).get_flag(VERSION));
        assert!(!accepted(&["serve"]).get_flag(VERSION));
        let text = version("payments");
        assert!(
            text.starts_with("payments (aplomb ") && text.ends_with(')'),
            "{text}"
        );
    }
}
