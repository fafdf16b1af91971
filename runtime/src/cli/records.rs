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

use super::{FAILED, SETTINGS_INVALID, done, fail, print_each};
use crate::api::Api;
use crate::policies::idempotency::{IdempotencyStore, RecordKey, RecordState, StoredResponse};
use crate::serve::print_line;

pub(super) const NAME: &str = "records";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Shows the records of idempotency keys, and resolves those whose outcome nobody knows")
        .after_help(
            "The name of a record stands in the log of the service, where a request was answered\n\
             IDEMPOTENCY_OUTCOME_UNKNOWN. Settings are those of `serve`; the records must stand on\n\
             Redis (APLOMB_STORE).",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([show(), resolve()])
}

fn show() -> Command {
    Command::new("show")
        .about("Shows the state of a record, and the response that is kept")
        .arg(record())
        .after_help(
            "Exit codes: 0 it is shown, 1 there is no such record, 2 the settings are wrong or the\n\
             store cannot be used.",
        )
}

fn resolve() -> Command {
    let done = Command::new("done")
        .about("It happened: retries get this response")
        .arg(
            Arg::new(STATUS)
                .required(true)
                .value_name("STATUS")
                .value_parser(status)
                .help("The status of the response: 2xx, 3xx or 4xx"),
        )
        .arg(
            Arg::new(JSON)
                .value_name("JSON")
                .allow_hyphen_values(true)
                .value_parser(json)
                .help("The body of the response; without it the response has none"),
        );
    Command::new("resolve")
        .about("Frees a record whose outcome nobody knows, or sets it to DONE; check your own data first")
        .arg(record())
        .subcommand_required(true)
        .subcommands([Command::new("absent").about("It did not happen: the next retry runs"), done])
        .after_help(
            "A response is kept for 24 hours. Only a record that is UNKNOWN is changed.\n\n\
             Exit codes: 0 it is set to DONE or freed, 1 it was not UNKNOWN, 2 the settings are\n\
             wrong or the store cannot be used.",
        )
}

fn record() -> Arg {
    Arg::new(RECORD)
        .required(true)
        .value_name("RECORD")
        // The name of a record can begin with a hyphen.
        .allow_hyphen_values(true)
        .value_parser(RecordKey::from_str)
        .help("The name of the record, as in the log")
}

const RECORD: &str = "record";
const STATUS: &str = "status";
const JSON: &str = "json";

/// How long a decided response is kept.
const TTL: Duration = Duration::from_hours(24);

pub(super) async fn run<S: Clone + Send + Sync + 'static>(
    api: &Api<S>,
    arguments: &ArgMatches,
) -> ExitCode {
    if api.keeps_records_in_memory() {
        return fail(
            "the records of a service in memory end with its process: APLOMB_STORE names no Redis",
        );
    }
    let records = match api.records().await {
        Ok(records) => records,
        Err(errors) => {
            print_each("error", errors.iter());
            return ExitCode::from(SETTINGS_INVALID);
        }
    };
    match arguments.subcommand() {
        Some(("show", arguments)) => run_show(&records, key(arguments)).await,
        Some(("resolve", arguments)) => match decision(arguments) {
            Ok(decision) => run_resolve(&records, key(arguments), decision).await,
            Err(why) => fail(why),
        },
        _ => unreachable!("clap accepts the declared commands only, and requires one"),
    }
}

async fn run_show(records: &Arc<dyn IdempotencyStore>, record: RecordKey) -> ExitCode {
    match records.find(record).await {
        Ok(Some(state)) => done(&shown(record, &state)),
        Ok(None) => failed(&format!(
            "{record} is absent: no request has used it, or it has expired"
        )),
        Err(error) => fail(error),
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
        Ok(true) => done(&format!("{record} is {outcome}")),
        Ok(false) => failed(&format!(
            "{record} is absent, RUNNING or DONE: nothing was changed"
        )),
        Err(error) => fail(error),
    }
}

fn failed(why: &str) -> ExitCode {
    print_line(io::stderr(), why);
    ExitCode::from(FAILED)
}

fn key(arguments: &ArgMatches) -> RecordKey {
    *arguments.get_one(RECORD).expect("clap requires the record")
}

/// The response that was decided; `None` if it did not happen.
fn decision(arguments: &ArgMatches) -> Result<Option<StoredResponse>, String> {
    let Some(("done", arguments)) = arguments.subcommand() else {
        return Ok(None);
    };
    let status: StatusCode = *arguments.get_one(STATUS).expect("clap requires the status");
    let mut response = http::Response::builder().status(status);
    let json: Option<&String> = arguments.get_one(JSON);
    // RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
    if json.is_some() && matches!(status.as_u16(), 204 | 205 | 304) {
        return Err(format!(
            "a response with the status {} has no body: leave the JSON out",
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

fn status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text
        .parse::<StatusCode>()
        .ok()
        .filter(|status| (200..500).contains(&status.as_u16()));
    status.ok_or("it is not a status that is kept: 2xx, 3xx or 4xx")
}

fn json(text: &str) -> Result<String, String> {
    let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
    read.map(|_| text.to_owned())
        .map_err(|error| format!("the response is not JSON: {error}"))
}

/// The record and its state, then the response, as curl shows one.
fn shown(record: RecordKey, state: &RecordState) -> String {
    let (word, meaning) = match state {
        RecordState::Running => ("RUNNING", "a request holds it; retries get 409"),
        RecordState::Lapsed => ("RUNNING", "its process is gone; the next retry runs again"),
        RecordState::Done(_) => ("DONE", "the stored response follows"),
        RecordState::Unknown => (
            "UNKNOWN",
            "nobody knows its outcome; decide it with `records resolve`",
        ),
    };
    let mut text = format!("{record}\n{word}: {meaning}");
    if let RecordState::Done(kept) = state {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n\n{}", response(kept));
    }
    text
}

fn response(kept: &StoredResponse) -> String {
    let mut text = kept.status().to_string();
    for (name, value) in kept.headers() {
        let _ = write!(
            text,
            "\n{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    let body = match (kept.body(), kept.encrypted_with()) {
        (Some(body), _) if body.is_empty() => return text,
        (Some(body), _) => printable(body),
        (None, Some(key)) => {
            format!("sealed with the key {key:?}, which is not among APLOMB_ENCRYPTION_KEYS")
        }
        (None, None) => String::from("its body was too large to keep"),
    };
    text + "\n\n" + &body
}

/// The body, if it is a text that a terminal shows as it is.
fn printable(body: &[u8]) -> String {
    let plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    match core::str::from_utf8(body) {
        Ok(text) if text.chars().all(plain) => text.to_owned(),
        _ => format!("a body of {} bytes that is not a text", body.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: RecordKey = RecordKey::new([0xfb; 16], [1; 16]);

    fn parse(arguments: &[&str]) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(["records"].iter().chain(arguments))
    }

    fn decided(arguments: &[&str]) -> Option<StoredResponse> {
        try_decided(arguments).expect("a decision")
    }

    fn try_decided(arguments: &[&str]) -> Result<Option<StoredResponse>, String> {
        let record = RECORD.to_string();
        let arguments = parse(&[&["resolve", &record], arguments].concat()).expect("accepted");
        let (_, arguments) = arguments.subcommand().expect("a command");
        assert_eq!(key(arguments), RECORD);
        decision(arguments)
    }

    fn body(kept: &StoredResponse) -> &[u8] {
        kept.body().expect("a body")
    }

    #[test]
    fn the_name_of_a_record_may_begin_with_a_hyphen() {
        assert!(RECORD.to_string().starts_with("-_"), "{RECORD}");
        assert_eq!(decided(&["absent"]), None);
        let refused = try_decided(&["done", "204", "1"]).expect_err("204 has no body");
        assert!(refused.contains("204 has no body"), "{refused}");
        let arguments = parse(&["show", &RECORD.to_string()]).expect("accepted");
        assert_eq!(key(arguments.subcommand().expect("a command").1), RECORD);
    }

    #[test]
    fn a_decision_is_a_response_with_or_without_json() {
        let kept = decided(&["done", "201", r#"{"id":1}"#]).expect("a response");
        assert_eq!(
            (kept.status(), body(&kept)),
            (StatusCode::CREATED, &br#"{"id":1}"#[..])
        );
        assert!(
            kept.headers()
                .any(|(name, value)| name == CONTENT_TYPE && value == "application/json")
        );
        let kept = decided(&["done", "404"]).expect("a response");
        assert_eq!(
            (kept.status(), body(&kept), kept.headers().len()),
            (StatusCode::NOT_FOUND, &b""[..], 0)
        );
        assert_eq!(
            body(&decided(&["done", "200", "-1"]).expect("a response")),
            b"-1"
        );
    }

    #[test]
    fn a_wrong_decision_is_refused() {
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
    fn a_record_is_shown_with_what_its_state_means() {
        assert!(
            shown(RECORD, &RecordState::Running)
                .ends_with("\nRUNNING: a request holds it; retries get 409")
        );
        assert!(shown(RECORD, &RecordState::Lapsed).contains("\nRUNNING: its process is gone"));
        assert!(shown(RECORD, &RecordState::Unknown).contains("\nUNKNOWN: nobody knows"));
        let head = http::Response::builder()
            .status(201)
            .header("location", "/v1/x/1");
        let (head, ()) = head.body(()).expect("a response").into_parts();
        let kept = |body| RecordState::Done(StoredResponse::new(&head, body));
        assert_eq!(
            shown(RECORD, &kept(Some(Bytes::from_static(b"{\"id\":1}")))),
            format!(
                "{RECORD}\nDONE: the stored response follows\n\n201 Created\nlocation: /v1/x/1\n\n{{\"id\":1}}"
            )
        );
        assert!(shown(RECORD, &kept(None)).ends_with("\n\nits body was too large to keep"));
        assert!(shown(RECORD, &kept(Some(Bytes::new()))).ends_with("\nlocation: /v1/x/1"));
    }

    #[test]
    fn a_body_that_would_confuse_a_terminal_is_not_printed() {
        assert_eq!(
            printable(b"a\x1b[2Jb"),
            "a body of 6 bytes that is not a text"
        );
        assert_eq!(printable(b"\xff"), "a body of 1 bytes that is not a text");
        assert_eq!(printable("é\n".as_bytes()), "é\n");
    }
}
