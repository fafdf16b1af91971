//! `payments resolve <record> …`: an operator decides a payment whose outcome nobody knows, after a
//! look into the books.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use aplomb::policies::idempotency::{Kept, RecordKey};
use aplomb::prelude::*;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};

pub(crate) const USAGE: &str = "usage: payments resolve <record> absent                 the next retry runs
       payments resolve <record> done <status> [json]  retries get this answer

<record> stands in the log of the service, where a retry was answered IDEMPOTENCY_OUTCOME_UNKNOWN.
Settings are those of the service; its records must stand on Redis (APLOMB_STORE).";

/// How long a decided answer is kept.
const TTL: Duration = Duration::from_hours(24);

/// What the operator has decided.
struct Decision {
    record: RecordKey,
    /// `None`: it did not happen.
    answer: Option<Kept>,
}

/// Runs the command: 0 if the record is decided, 1 if it was not unknown, 2 if the command is wrong
/// or the store cannot be used.
pub(crate) async fn run<S: Clone + Send + Sync + 'static>(api: Api<S>, arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| ["--help", "-h"].contains(&argument.as_str())) {
        return say(USAGE);
    }
    let decision = match read(arguments) {
        Ok(decision) => decision,
        Err(why) => return fail(2, &format!("error: {why}\n{USAGE}")),
    };
    if !is_shared(env::var("APLOMB_STORE").ok().as_deref()) {
        return fail(2, "error: APLOMB_STORE names no Redis; records in the memory of a service end with it");
    }
    let records = match api.records().await {
        Ok(records) => records,
        Err(errors) => {
            return fail(
                2,
                &errors.iter().map(|error| format!("error: {error}")).collect::<Vec<_>>().join("\n"),
            );
        }
    };
    match records.resolve(decision.record, decision.answer, TTL).await {
        Ok(true) => say(&format!("{} is decided", decision.record)),
        Ok(false) => fail(1, &format!("{} is not unknown: nothing was changed", decision.record)),
        Err(error) => fail(2, &format!("error: {error}")),
    }
}

/// Whether another process can reach the records.
fn is_shared(store: Option<&str>) -> bool {
    store.is_some_and(|store| !store.starts_with("memory:"))
}

fn read(arguments: &[String]) -> Result<Decision, String> {
    let (record, decided) = arguments.split_first().ok_or("the record is missing")?;
    let record = record.parse().map_err(|error| format!("{record:?}: {error}"))?;
    let arguments: Vec<&str> = decided.iter().map(String::as_str).collect();
    let answer = match arguments[..] {
        ["absent"] => None,
        ["done", status] => Some(answer(status, None)?),
        ["done", status, json] => Some(answer(status, Some(json))?),
        _ => return Err(String::from("what was decided is missing, or too much is said")),
    };
    Ok(Decision { record, answer })
}

fn answer(status: &str, json: Option<&str>) -> Result<Kept, String> {
    let code = status.parse::<StatusCode>().ok().filter(|code| (200..500).contains(&code.as_u16()));
    let code = code.ok_or_else(|| format!("{status:?} is no status that is kept: 2xx, 3xx or 4xx"))?;
    let mut response = Response::builder().status(code);
    if let Some(json) = json {
        serde_json::from_str::<serde::de::IgnoredAny>(json)
            .map_err(|error| format!("the answer is not JSON: {error}"))?;
        response = response.header(CONTENT_TYPE, "application/json");
    }
    let (head, ()) = response.body(()).expect("a status and a field make a response").into_parts();
    Ok(Kept::new(&head, Some(json.unwrap_or_default().to_owned().into())))
}

fn say(line: &str) -> ExitCode {
    // Nobody listening is no reason to fail.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::SUCCESS
}

fn fail(code: u8, lines: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{lines}");
    ExitCode::from(code)
}
