//! Tests of the commands for operators.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::process::Output;

use aplomb::testing::Program;
use serde_json::Value;

/// Returns the service with these settings, and without settings from the environment of the test.
fn payments(arguments: &[&str], settings: &[(&str, &str)]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_payments"))
        .without_env("PAYMENTS_DB")
        .args(arguments)
        .envs(settings)
}

/// The exit code and the output of a command.
struct Printed {
    code: i32,
    output: String,
    errors: String,
}

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Printed {
    printed(payments(arguments, settings).run())
}

fn printed(output: Output) -> Printed {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal");
    Printed {
        code,
        output: text(output.stdout),
        errors: text(output.stderr),
    }
}

/// Invalid settings, and the beginning of the error of each.
const INVALID_SETTINGS: [(&str, &str, &str); 7] = [
    (
        "APLOMB_ADDR",
        "nonsense",
        "error: APLOMB_ADDR=\"nonsense\": expected an address and a port",
    ),
    (
        "APLOMB_LEASE",
        "5",
        "error: APLOMB_LEASE=\"5\": expected a whole number and a unit",
    ),
    (
        "APLOMB_MIGRATE",
        "yes",
        "error: APLOMB_MIGRATE=\"yes\": accepted: on, off",
    ),
    (
        "APLOMB_SECRET",
        "short",
        "error: APLOMB_SECRET=\"…\": expected at least 32 bytes",
    ),
    (
        "APLOMB_SHUTDOWN_GRACE",
        "1 minute",
        "error: APLOMB_SHUTDOWN_GRACE=\"1 minute\": expected a whole number",
    ),
    (
        "APLOMB_STORE",
        "redsi://",
        "error: APLOMB_STORE=\"redsi:…\": no such store; accepted: memory:",
    ),
    (
        "PAYMENTS_DB",
        "/nonexistent/payments.sqlite",
        "error: PAYMENTS_DB=\"/nonexistent/payments.sqlite\"",
    ),
];

/// A setting that `check` warns about if it is missing.
const SECRET_SETTING: (&str, &str) = ("APLOMB_SECRET", "a secret for tests, of 32 bytes or more");

#[test]
fn routes_lists_endpoints_in_aligned_columns() {
    let Printed {
        code,
        output,
        errors,
    } = run(&["routes"], &[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 12, "{output}");
    let column = |title| lines[0].find(title).expect("a title");
    let payment = lines
        .iter()
        .find(|line| line.contains("name=payments"))
        .expect("the endpoint");
    let cells = [
        ("METHOD", "POST "),
        ("PATH", "/payments "),
        ("VERSIONS", "1-2 "),
        ("POLICIES", "idempotent(ttl=24h) 100/min(name=payments) "),
        ("SOURCE", "examples/payments/src/api/payments.rs:"),
    ];
    for (title, cell) in cells {
        assert!(
            payment[column(title)..].starts_with(cell),
            "{title}: {payment}"
        );
    }
}

#[test]
fn routes_as_json_have_the_source_line() {
    let Printed { code, output, .. } = run(&["routes", "--json"], &[]);
    assert_eq!(code, 0);
    let endpoints: Vec<Value> = serde_json::from_str(&output).expect("JSON");
    assert_eq!(endpoints.len(), 11);
    let health = endpoints
        .iter()
        .find(|endpoint| endpoint["name"] == "health")
        .expect("the endpoint");
    assert_eq!(
        health["routes"],
        serde_json::json!(["/v1/health", "/v2/health"])
    );
    assert_eq!(health["policies"], serde_json::json!(["public"]));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let file = health["source"]["file"].as_str().expect("a file");
    let source = std::fs::read_to_string(format!("{root}/{file}")).expect("the source");
    let line = usize::try_from(health["source"]["line"].as_u64().expect("a line")).expect("a line");
    assert!(
        source
            .lines()
            .nth(line - 1)
            .is_some_and(|line| line.contains("#[endpoint(get = \"/health\""))
    );
}

#[test]
fn routes_need_neither_settings_nor_the_ledger() {
    let settings = INVALID_SETTINGS.map(|(name, value, _)| (name, value));
    let Printed { code, errors, .. } = run(&["routes"], &settings);
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    for arguments in [
        &["routes"][..],
        &["routes", "--json"],
        &["check"],
        &["--help"],
        &["help", "serve"],
    ] {
        let Printed { code, errors, .. } = printed(
            payments(arguments, &[SECRET_SETTING])
                .with_broken_stdout()
                .run(),
        );
        assert_eq!(code, 0, "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}

#[test]
fn check_lists_all_errors() {
    let Printed {
        code,
        output,
        errors,
    } = run(
        &["check"],
        &INVALID_SETTINGS.map(|(name, value, _)| (name, value)),
    );
    assert_eq!((code, output.as_str()), (1, ""));
    for (_, _, start) in INVALID_SETTINGS {
        assert_eq!(
            errors
                .lines()
                .filter(|line| line.starts_with(start))
                .count(),
            1,
            "{start} in {errors}"
        );
    }
    assert_eq!(
        errors
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        INVALID_SETTINGS.len(),
        "{errors}"
    );
    assert!(
        errors.contains("\nthe service would not start: 7 errors, "),
        "{errors}"
    );
}

#[test]
fn check_names_a_store_that_cannot_be_reached() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let store = format!(
        "redis://:hunter2@{}",
        unused.local_addr().expect("its address")
    );
    drop(unused);
    let Printed { code, errors, .. } = run(&["check"], &[SECRET_SETTING, ("APLOMB_STORE", &store)]);
    assert_eq!(code, 1);
    let error_lines: Vec<_> = errors
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert!(
        error_lines.len() == 1 && error_lines[0].contains("cannot be used: "),
        "{errors}"
    );
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn check_opens_no_port_and_prints_one_line_without_errors() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let Printed {
        code,
        output,
        errors,
    } = run(&["check"], &[("APLOMB_ADDR", &address)]);
    assert_eq!(code, 0, "{errors}");
    let expected =
        "ok: payments would start: 11 endpoints, settings, store (memory) and state are valid; ";
    assert!(
        output.starts_with(expected) && output.lines().count() == 1,
        "{output}"
    );
}

#[test]
fn check_warns_of_unsafe_defaults() {
    let Printed { code, errors, .. } = run(&["check"], &[("APLOMB_INSTANCES", "3")]);
    assert_eq!(code, 0, "{errors}");
    for warning in [
        "warning: APLOMB_API_KEYS is not set: the demo keys are alice:sk_test_alice,bob:sk_test_bob",
        "warning: PAYMENTS_DB is not set: the ledger is stored in ",
        "warning: APLOMB_SECRET is not set: cursors are valid only until this process ends",
        "warning: 3 instances each have their own memory store for idempotency keys and rate limits",
    ] {
        assert_eq!(
            errors
                .lines()
                .filter(|line| line.starts_with(warning))
                .count(),
            1,
            "{warning} in {errors}"
        );
    }
}

#[tokio::test]
async fn check_warns_of_a_store_that_can_lose_data_and_of_keys_without_a_limit() {
    let redis = aplomb::testing::RedisServer::start_with(&["--appendonly", "no"]);
    let Printed {
        code,
        output,
        errors,
    } = run(&["check"], &[("APLOMB_STORE", &redis.url())]);
    assert_eq!(code, 0, "{errors}");
    assert!(
        output.contains(&format!("store ({})", redis.url())),
        "{output}"
    );
    for warning in [
        "warning: a crash of the store loses ",
        "warning: APLOMB_SECRET is not set: the store keeps the secret, and cursors become invalid if the store loses it",
        "warning: 5 `idempotent` endpoints have no `rate_limit`",
    ] {
        assert_eq!(
            errors
                .lines()
                .filter(|line| line.starts_with(warning))
                .count(),
            1,
            "{warning} in {errors}"
        );
    }
    assert!(
        errors.contains("`refund_payment` (POST /payments/{id}/refund) in ")
            && !errors.contains("`create_payment`"),
        "only the endpoints without a limit: {errors}"
    );
}

#[test]
fn help_describes_each_command() {
    for (arguments, expected) in [
        (
            &["--help"][..],
            "records  Shows the records of idempotency keys",
        ),
        (&["help"], "Without a command the service serves the API"),
        (&["serve", "--help"], "APLOMB_SHUTDOWN_GRACE"),
        (&["help", "check"], "Opens no port"),
        (&["routes", "-h"], "--json"),
        (&["migrate", "-h"], "--print"),
        (&["records", "--help"], "resolve  Frees a record"),
        (
            &["records", "resolve", "--help"],
            "absent  The request took no effect",
        ),
        (&["records", "show", "--help"], "<RECORD>"),
    ] {
        let Printed {
            code,
            output,
            errors,
        } = run(arguments, &[]);
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
        assert!(
            output.contains("Usage: payments") && output.contains(expected),
            "{arguments:?}: {output}"
        );
    }
}

#[test]
fn an_unknown_command_or_option_is_an_error_with_a_suggestion() {
    for (arguments, suggestion) in [
        (&["rotues"][..], "'routes'"),
        (&["routes", "--jsn"], "'--json'"),
        (&["records", "resolv"], "'resolve'"),
    ] {
        let Printed {
            code,
            output,
            errors,
        } = run(arguments, &[]);
        assert_eq!((code, output.as_str()), (2, ""), "{arguments:?}");
        assert!(
            errors.starts_with("error: ") && errors.contains(suggestion),
            "{arguments:?}: {errors}"
        );
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_an_error() {
    for arguments in [
        &[][..],
        &["routes"],
        &["records", "show"],
        &["records", "resolve"],
    ] {
        let not_utf_8 = OsString::from_vec(vec![0xff, b'-']);
        let Printed { code, errors, .. } = printed(payments(arguments, &[]).arg(not_utf_8).run());
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(
            errors.starts_with("error: ") && !errors.contains("panicked"),
            "{arguments:?}: {errors}"
        );
    }
}

#[test]
fn the_default_command_is_serve() {
    for arguments in [&[][..], &["serve"]] {
        let service = payments(arguments, &[]).start();
        assert!(
            service.stdout().contains("listening on http://127.0.0.1:"),
            "{arguments:?}"
        );
    }
}
