//! The command `records`, with `show` and `resolve`.

use core::fmt::Write as _;
use core::str::FromStr;
use core::time::Duration;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Arg, ArgMatches, Command};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::{FAILED, SETTINGS_INVALID, exit_invalid, exit_success, print_each};
use crate::api::Api;
use crate::policies::idempotency::{IdempotencyStore, RecordKey, RecordState, StoredResponse};
use crate::serve::print_line;

pub(super) const NAME: &str = "records";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Shows the records of idempotency keys, and resolves those with an unknown outcome")
        .after_help(
            "The name of a record is in the log of the service, at each response with the code\n\
             IDEMPOTENCY_OUTCOME_UNKNOWN. The command reads the same settings as `serve`. The\n\
             records must be in SQLite, PostgreSQL or Redis (APLOMB_STORE).",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([show_command(), resolve_command()])
}

fn show_command() -> Command {
    Command::new("show")
        .about("Shows the state of a record, and its stored response")
        .arg(record_argument())
        .after_help(
            "Exit codes: 0 the record is shown, 1 the record is absent, 2 a setting is invalid or the\n\
             store cannot be used.",
        )
}

fn resolve_command() -> Command {
    let done = Command::new("done")
        .about("The request took effect: retries get this response")
        .arg(
            Arg::new(STATUS)
                .required(true)
                .value_name("STATUS")
                .value_parser(parse_status)
                .help("The status of the response: 2xx, 3xx or 4xx"),
        )
        .arg(
            Arg::new(JSON)
                .value_name("JSON")
                .allow_hyphen_values(true)
                .value_parser(parse_json)
                .help("The body of the response; an empty body if it is left out"),
        );
    Command::new("resolve")
        .about("Frees a record with an unknown outcome, or sets it to DONE; check your own data first")
        .arg(record_argument())
        .subcommand_required(true)
        .subcommands([
            Command::new("absent").about("The request took no effect: the next retry runs the handler"),
            done,
        ])
        .after_help(
            "The response is stored for 24 hours. Only a record that is UNKNOWN is changed.\n\n\
             Exit codes: 0 the record is freed or set to DONE, 1 it was not UNKNOWN, 2 a setting is\n\
             invalid or the store cannot be used.",
        )
}

fn record_argument() -> Arg {
    Arg::new(RECORD)
        .required(true)
        .value_name("RECORD")
        // Record names are base64 and may begin with a hyphen.
        .allow_hyphen_values(true)
        .value_parser(RecordKey::from_str)
        .help("The name of the record, from the log")
}

const RECORD: &str = "record";
const STATUS: &str = "status";
const JSON: &str = "json";

/// The time for which a resolved response is stored. It is the default `ttl` of endpoints. The
/// `ttl` of the record's own endpoint is unknown here, because the name of a record does not
/// contain the endpoint.
const TTL: Duration = Duration::from_hours(24);

pub(super) async fn run<S: Clone + Send + Sync + 'static>(
    api: &Api<S>,
    arguments: &ArgMatches,
) -> ExitCode {
    if api.keeps_records_in_memory() {
        return exit_invalid(
            "records in memory exist only inside the process of the service: set APLOMB_STORE to the \
             store of the service",
        );
    }
    if let Some(file) = api.missing_file() {
        return exit_invalid(format!(
            "the SQLite file {file} does not exist: set APLOMB_STORE to the file of the service"
        ));
    }
    let records = match api.records().await {
        Ok(records) => records,
        Err(errors) => {
            print_each("error", errors.iter());
            return ExitCode::from(SETTINGS_INVALID);
        }
    };
    match arguments.subcommand() {
        Some(("show", arguments)) => run_show(&records, record_key(arguments)).await,
        Some(("resolve", arguments)) => match resolution(arguments) {
            Ok(response) => run_resolve(&records, record_key(arguments), response).await,
            Err(error) => exit_invalid(error),
        },
        _ => unreachable!("clap accepts the declared commands only, and requires one"),
    }
}

async fn run_show(records: &Arc<dyn IdempotencyStore>, record: RecordKey) -> ExitCode {
    match records.find(record).await {
        Ok(Some(state)) => exit_success(&describe_record(record, &state)),
        Ok(None) => exit_failed(&format!(
            "{record} is absent: no request has used its key, or the record has expired"
        )),
        Err(error) => exit_invalid(error),
    }
}

async fn run_resolve(
    records: &Arc<dyn IdempotencyStore>,
    record: RecordKey,
    response: Option<StoredResponse>,
) -> ExitCode {
    let outcome = if response.is_some() {
        "set to DONE"
    } else {
        "freed"
    };
    match records.resolve(record, response, TTL).await {
        Ok(true) => exit_success(&format!("{record} is {outcome}")),
        Ok(false) => exit_failed(&format!(
            "{record} is absent, RUNNING or DONE: nothing was changed"
        )),
        Err(error) => exit_invalid(error),
    }
}

/// Prints why a record was not shown or changed.
fn exit_failed(reason: &str) -> ExitCode {
    print_line(io::stderr(), reason);
    ExitCode::from(FAILED)
}

fn record_key(arguments: &ArgMatches) -> RecordKey {
    *arguments.get_one(RECORD).expect("clap requires the record")
}

/// Returns the response that the arguments of `done` describe; `None` for `absent`.
fn resolution(arguments: &ArgMatches) -> Result<Option<StoredResponse>, String> {
    let Some(("done", arguments)) = arguments.subcommand() else {
        return Ok(None);
    };
    let status: StatusCode = *arguments.get_one(STATUS).expect("clap requires the status");
    let mut response = http::Response::builder().status(status);
    let json: Option<&String> = arguments.get_one(JSON);
    // Responses with these statuses have no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    if json.is_some() && matches!(status.as_u16(), 204 | 205 | 304) {
        return Err(format!(
            "a response with the status {} has no body: leave out the JSON",
            status.as_u16()
        ));
    }
    if json.is_some() {
        response = response.header(CONTENT_TYPE, "application/json");
    }
    let (head, ()) = response
        .body(())
        .expect("a status and a field make a response")
        .into_parts();
    Ok(Some(StoredResponse::new(
        &head,
        Some(Bytes::from(json.cloned().unwrap_or_default())),
    )))
}

fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text
        .parse::<StatusCode>()
        .ok()
        .filter(|status| (200..500).contains(&status.as_u16()));
    status.ok_or("expected a status that is stored: 2xx, 3xx or 4xx")
}

fn parse_json(text: &str) -> Result<String, String> {
    let parsed = serde_json::from_str::<serde::de::IgnoredAny>(text);
    parsed
        .map(|_| text.to_owned())
        .map_err(|error| format!("the body is not JSON: {error}"))
}

/// Returns a text with the record, its state, and its response in the format of `curl -i`.
fn describe_record(record: RecordKey, state: &RecordState) -> String {
    let (name, meaning) = match state {
        RecordState::Running => ("RUNNING", "the first request still runs; retries get 409"),
        RecordState::Lapsed => (
            "RUNNING",
            "the process of its run has crashed or hangs; the next retry runs the handler again",
        ),
        RecordState::Done(_) => ("DONE", "the stored response follows"),
        RecordState::Unknown => (
            "UNKNOWN",
            "the request may or may not have taken effect; find out, then use `records resolve`",
        ),
    };
    let mut text = format!("{record}\n{name}: {meaning}");
    if let RecordState::Done(stored) = state {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n\n{}", describe_response(stored));
    }
    text
}

fn describe_response(stored: &StoredResponse) -> String {
    let mut text = stored.status().to_string();
    for (name, value) in stored.headers() {
        let _ = write!(
            text,
            "\n{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    let body = match (stored.body(), stored.encrypted_with()) {
        (Some(body), _) if body.is_empty() => return text,
        (Some(body), _) => printable(body),
        (None, Some(key)) => {
            format!(
                "the body is encrypted with the key {key:?}, which is not in APLOMB_ENCRYPTION_KEYS"
            )
        }
        (None, None) => String::from("the body was too large to store"),
    };
    text + "\n\n" + &body
}

/// Returns the body if it is printable text, and otherwise a description. Control characters are
/// not printed, because they could change the terminal.
fn printable(body: &[u8]) -> String {
    let is_printable = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    match core::str::from_utf8(body) {
        Ok(text) if text.chars().all(is_printable) => text.to_owned(),
        _ => format!(
            "the body has {} bytes and is not printable text",
            body.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: RecordKey = RecordKey::new([0xfb; 16], [1; 16]);

    fn parse(arguments: &[&str]) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(["records"].iter().chain(arguments))
    }

    fn resolution_of(arguments: &[&str]) -> Option<StoredResponse> {
        try_resolution_of(arguments).expect("a resolution")
    }

    fn try_resolution_of(arguments: &[&str]) -> Result<Option<StoredResponse>, String> {
        let record = RECORD.to_string();
        let arguments = parse(&[&["resolve", &record], arguments].concat()).expect("accepted");
        let (_, arguments) = arguments.subcommand().expect("a command");
        assert_eq!(record_key(arguments), RECORD);
        resolution(arguments)
    }

    fn body(stored: &StoredResponse) -> &[u8] {
        stored.body().expect("a body")
    }

    #[test]
    fn the_name_of_a_record_may_begin_with_a_hyphen() {
        assert!(RECORD.to_string().starts_with("-_"), "{RECORD}");
        assert_eq!(resolution_of(&["absent"]), None);
        let refused = try_resolution_of(&["done", "204", "1"]).expect_err("204 has no body");
        assert!(refused.contains("204 has no body"), "{refused}");
        let arguments = parse(&["show", &RECORD.to_string()]).expect("accepted");
        assert_eq!(
            record_key(arguments.subcommand().expect("a command").1),
            RECORD
        );
    }

    #[test]
    fn a_resolution_is_a_response_with_or_without_json() {
        let stored = resolution_of(&["done", "201", r#"{"id":1}"#]).expect("a response");
        assert_eq!(
            (stored.status(), body(&stored)),
            (StatusCode::CREATED, &br#"{"id":1}"#[..])
        );
        assert!(
            stored
                .headers()
                .any(|(name, value)| name == CONTENT_TYPE && value == "application/json")
        );
        let stored = resolution_of(&["done", "404"]).expect("a response");
        assert_eq!(
            (stored.status(), body(&stored), stored.headers().len()),
            (StatusCode::NOT_FOUND, &b""[..], 0)
        );
        assert_eq!(
            body(&resolution_of(&["done", "200", "-1"]).expect("a response")),
            b"-1"
        );
    }

    #[test]
    fn an_invalid_resolution_is_refused() {
        let record = RECORD.to_string();
        for wrong in [
            &[][..],
            &["show"],
            &["show", "x"],
            &["resolve"],
            &["resolve", "absent"],
            &["resolve", "x", "absent"],
            &["resolve", &record],
            &["resolve", &record, "gone"],
            &["resolve", &record, "done"],
            &["resolve", &record, "done", "9"],
            &["resolve", &record, "done", "101"],
            &["resolve", &record, "done", "500"],
            &["resolve", &record, "done", "200", "{"],
            &["resolve", &record, "done", "200", "1", "2"],
            &["resolve", &record, "absent", "absent"],
        ] {
            let error = parse(wrong).expect_err("refused");
            assert!(error.use_stderr(), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn a_record_is_shown_with_the_meaning_of_its_state() {
        assert!(
            describe_record(RECORD, &RecordState::Running)
                .ends_with("\nRUNNING: the first request still runs; retries get 409")
        );
        assert!(
            describe_record(RECORD, &RecordState::Lapsed)
                .contains("\nRUNNING: the process of its run has crashed")
        );
        assert!(
            describe_record(RECORD, &RecordState::Unknown)
                .contains("\nUNKNOWN: the request may or may not")
        );
        let head = http::Response::builder()
            .status(201)
            .header("location", "/v1/x/1");
        let (head, ()) = head.body(()).expect("a response").into_parts();
        let done = |body| RecordState::Done(StoredResponse::new(&head, body));
        assert_eq!(
            describe_record(RECORD, &done(Some(Bytes::from_static(b"{\"id\":1}")))),
            format!(
                "{RECORD}\nDONE: the stored response follows\n\n201 Created\nlocation: /v1/x/1\n\n{{\"id\":1}}"
            )
        );
        assert!(
            describe_record(RECORD, &done(None)).ends_with("\n\nthe body was too large to store")
        );
        assert!(
            describe_record(RECORD, &done(Some(Bytes::new()))).ends_with("\nlocation: /v1/x/1")
        );
    }

    #[test]
    fn a_body_that_would_confuse_a_terminal_is_not_printed() {
        assert_eq!(
            printable(b"a\x1b[2Jb"),
            "the body has 6 bytes and is not printable text"
        );
        assert_eq!(
            printable(b"\xff"),
            "the body has 1 bytes and is not printable text"
        );
        assert_eq!(printable("é\n".as_bytes()), "é\n");
    }
}
