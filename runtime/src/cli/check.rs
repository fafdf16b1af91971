use core::future::Future;
use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::Command;

use super::log::{self, Warnings};
use super::serve::SETTINGS;
use super::{FAILED, done, print_each};
use crate::api::Api;
use crate::serve::{check_settings, print_line};
use crate::start::StartErrors;

pub(super) const NAME: &str = "check";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Judges all that a start would, and opens no port")
        .long_about(LONG_ABOUT)
        .after_help(
            "Settings are those of `serve`.\n\n\
             Exit codes: 0 the service would start, whatever the warnings, 1 it would not.",
        )
}

const LONG_ABOUT: &str = "\
Judges all that a start would, and opens no port: the endpoints, all settings, whether the
store can be reached and keeps its promises, and whether the service can make its state.

It goes as far as a start: what that makes or changes in the store and the state, such as
tables of a database, this does, too. Prints every error, and warns of what works and is
probably not meant.";

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
    let logged = Warnings::default();
    let (mut warnings, judged) = log::collect(&logged, async {
        let judged = check_settings(api, connect).await;
        let warnings = judged.prepared.warnings();
        (warnings, judged.into_router().map(drop))
    })
    .await;
    warnings.splice(0..0, logged.take());
    warnings.extend(unknown_settings(
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
    ));
    print_each("warning", &warnings);
    match judged {
        Ok(()) => done(&report(&name, endpoints, &store, warnings.len())),
        Err(errors) => report_errors(&errors, warnings.len()),
    }
}

/// Variables that look like settings of the framework, and are none.
fn unknown_settings(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| SETTINGS.split_whitespace().any(|word| word == name);
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with("APLOMB_") && !known(name))
        .collect();
    unknown.sort();
    unknown
        .iter()
        .map(|name| {
            format!("{name} is set, and no setting has this name; `serve --help` lists them")
        })
        .collect()
}

/// The line of a service that would start.
fn report(name: &str, endpoints: usize, store: &str, warnings: usize) -> String {
    let endpoints = plural(endpoints, "endpoint");
    format!(
        "ok: {name} would start: {endpoints}, settings, store ({store}) and state; {}",
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

fn plural(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_one_line() {
        assert_eq!(
            report("payments", 11, "redis://localhost", 1),
            "ok: payments would start: 11 endpoints, settings, store (redis://localhost) and state; 1 warning"
        );
        assert!(
            report("a", 1, "memory", 0)
                .ends_with("1 endpoint, settings, store (memory) and state; no warnings")
        );
    }
}
