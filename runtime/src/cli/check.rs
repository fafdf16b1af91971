//! The command `check`.

use core::future::Future;
use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::Command;

use super::log::{self, LogCollector};
use super::serve::SETTINGS;
use super::{FAILED, exit_success, print_each};
use crate::api::Api;
use crate::serve::{check_settings, print_line};
use crate::start::StartErrors;

pub(super) const NAME: &str = "check";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Checks that the service would start; opens no port")
        .long_about(LONG_ABOUT)
        .after_help(
            "The command reads the same settings as `serve`.\n\n\
             Exit codes: 0 the service would start, even with warnings, 1 it would not start.",
        )
}

const LONG_ABOUT: &str = "\
Checks that the service would start: its endpoints, all settings, the connection to the store
and the guarantees of that store, and the state that the service makes. Opens no port.

`check` does everything that the service does at start. So it also creates what the service
creates in the store and the state, such as the tables of a database. It prints every error. It
also prints warnings about declarations and settings that work but are probably a mistake.";

pub(super) async fn run<S, C, F, E>(api: Api<S>, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (name, endpoints, store) = (
        api.name().to_owned(),
        api.endpoints().count(),
        api.store_name(),
    );
    let logged = LogCollector::default();
    let (mut warnings, result) = log::collect(&logged, async {
        let checked = check_settings(api, connect).await;
        let warnings = checked.prepared.warnings();
        (warnings, checked.into_router().map(drop))
    })
    .await;
    warnings.splice(0..0, logged.take());
    warnings.extend(unknown_settings(
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
    ));
    print_each("warning", &warnings);
    match result {
        Ok(()) => exit_success(&report(&name, endpoints, &store, warnings.len())),
        Err(errors) => report_errors(&errors, warnings.len()),
    }
}

/// Returns a warning for each variable that has the framework's prefix but is not a setting, such
/// as a misspelled variable.
fn unknown_settings(names: impl Iterator<Item = String>) -> Vec<String> {
    let is_known = |name: &str| SETTINGS.split_whitespace().any(|word| word == name);
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with("APLOMB_") && !is_known(name))
        .collect();
    unknown.sort();
    unknown
        .iter()
        .map(|name| {
            format!(
                "{name} is set, but no setting has this name: `serve --help` lists the settings"
            )
        })
        .collect()
}

/// Returns the result line for a service that would start.
fn report(name: &str, endpoints: usize, store: &str, warnings: usize) -> String {
    let endpoints = plural(endpoints, "endpoint");
    format!(
        "ok: {name} would start: {endpoints}, settings, store ({store}) and state are valid; {}",
        plural(warnings, "warning")
    )
}

fn report_errors(errors: &StartErrors, warnings: usize) -> ExitCode {
    print_each("error", errors.iter());
    let (errors, warnings) = (
        plural(errors.iter().count(), "error"),
        plural(warnings, "warning"),
    );
    print_line(
        io::stderr(),
        &format!("the service would not start: {errors}, {warnings}"),
    );
    ExitCode::from(FAILED)
}

fn plural(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_valid_service_is_one_line() {
        assert_eq!(
            report("payments", 11, "redis://localhost", 1),
            "ok: payments would start: 11 endpoints, settings, store (redis://localhost) and state are valid; 1 warning"
        );
        assert!(
            report("a", 1, "memory", 0)
                .ends_with("1 endpoint, settings, store (memory) and state are valid; no warnings")
        );
    }
}
