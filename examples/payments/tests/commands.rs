//! Tests of the commands for operators.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::process::Output;

use aplomb::testing::Program;
use serde_json::Value;
use tempfile::TempDir;

/// Returns the service with these settings, and without settings from the environment of the test.
/// By default its files are in this directory.
fn payments(directory: &TempDir, arguments: &[&str], settings: &[(&str, &str)]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_payments"))
        .without_env("PAYMENTS_BANK")
        .current_dir(directory.path())
        .args(arguments)
        .envs(settings)
}

fn directory() -> TempDir {
    TempDir::new().expect("a directory")
}

/// The exit code and the output of a command.
struct Printed {
    code: i32,
    output: String,
    errors: String,
}

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Printed {
    printed(payments(&directory(), arguments, settings).run())
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
        "PAYMENTS_BANK",
        "/dev/null/bank",
        "error: PAYMENTS_BANK=\"/dev/null/bank\" cannot be used: ",
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
    assert_eq!(lines.len(), 14, "{output}");
    let column = |title| lines[0].find(title).expect("a title");
    let payment = lines
        .iter()
        .find(|line| line.contains("name=payments"))
        .expect("the endpoint");
    let cells = [
        ("METHOD", "POST "),
        ("PATH", "/payments "),
        ("VERSIONS", "1-2 "),
        (
            "POLICIES",
            "idempotent(ttl=24h) tx(Sqlite) 100/min(name=payments) ",
        ),
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
    assert_eq!(endpoints.len(), 13);
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
            payments(&directory(), arguments, &[SECRET_SETTING])
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
fn check_names_a_store_that_cannot_be_used() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("its address");
    drop(unused);
    let server = format!("postgres://app:hunter2@{address}/payments");
    for (store, cause) in [
        (&*server, "cannot connect: "),
        (
            "sqlite:missing/payments.db",
            "the directory missing does not exist",
        ),
    ] {
        let settings = [SECRET_SETTING, ("APLOMB_STORE", store)];
        let Printed { code, errors, .. } = run(&["check"], &settings);
        assert_eq!(code, 1);
        let error_lines: Vec<_> = errors
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(error_lines.len(), 2, "{errors}");
        assert!(error_lines[0].contains(cause), "{errors}");
        assert!(
            error_lines[1].starts_with("error: the ledger cannot be opened: "),
            "{errors}"
        );
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn a_store_that_is_not_a_database_is_an_error_with_the_accepted_stores() {
    for (store, scheme) in [
        ("memory:", "memory"),
        ("redis://:hunter2@localhost", "redis"),
    ] {
        let Printed { code, errors, .. } = run(&["check"], &[("APLOMB_STORE", store)]);
        assert_eq!(code, 1);
        let expected = format!(
            "error: APLOMB_STORE=\"{scheme}:…\": the ledger is in the database of the store: \
             expected sqlite:<path of a file> or postgres://"
        );
        let count = errors.lines().filter(|line| line.starts_with(&expected));
        assert_eq!(count.count(), 1, "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
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
    let expected = "ok: payments would start: 13 endpoints, settings, store (sqlite:payments.db) and state are valid; ";
    assert!(
        output.starts_with(expected) && output.lines().count() == 1,
        "{output}"
    );
}

#[test]
fn check_warns_of_unsafe_defaults() {
    let Printed { code, errors, .. } = run(&["check"], &[]);
    assert_eq!(code, 0, "{errors}");
    for warning in [
        "warning: APLOMB_API_KEYS is not set: the demo keys are alice:sk_test_alice,bob:sk_test_bob",
        "warning: 7 `idempotent` endpoints have no `rate_limit`",
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
fn the_default_file_is_in_the_current_directory_and_in_the_log() {
    let directory = directory();
    let service = payments(&directory, &[], &[]).start();
    let file = directory.path().join("payments.db");
    let line = format!(
        "APLOMB_STORE is not set: the ledger and the idempotency records are in {}",
        file.display()
    );
    assert!(service.stderr().contains(&line), "{}", service.stderr());
    assert!(file.is_file() && directory.path().join("bank").is_dir());
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
        let Printed { code, errors, .. } =
            printed(payments(&directory(), arguments, &[]).arg(not_utf_8).run());
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
        let directory = directory();
        let service = payments(&directory, arguments, &[]).start();
        assert!(
            service.stdout().contains("listening on http://127.0.0.1:"),
            "{arguments:?}"
        );
    }
}
