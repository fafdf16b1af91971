//! Tests of the service as a process: its settings, broken connections, and its shutdown.

use std::net::TcpListener;
use std::process::Output;

use aplomb::testing::{Client, ClientResponse, Process, Program, eventually};
use tempfile::TempDir;

/// A directory with the files of the service.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    /// Returns the service, with a free port, and a ledger in this directory.
    fn program(&self) -> Program {
        Program::new(env!("CARGO_BIN_EXE_payments"))
            .without_env("PAYMENTS_BANK")
            .current_dir(self.0.path())
    }

    fn start(&self) -> Process {
        self.program().start()
    }
}

fn run(settings: &[(&str, &str)]) -> Output {
    Directory::new().program().envs(settings).run()
}

fn errors(output: &Output) -> Vec<String> {
    assert_eq!(
        output.status.code(),
        Some(2),
        "the exit code for invalid settings"
    );
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    text.lines()
        .filter(|line| line.starts_with("error: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn payments_through_broken_connections_are_made_only_once() {
    let payments = if runs_faults() { "90" } else { "30" };
    for seed in seeds() {
        let directory = Directory::new();
        let service = directory.start();
        let url = format!("http://{}", service.address());
        let output = retry_client(&[
            "--url",
            &url,
            "--payments",
            payments,
            "--seed",
            &seed.to_string(),
        ]);
        assert!(
            output.contains("every payment was made exactly once"),
            "{output}"
        );
    }
}

#[test]
fn payments_are_made_only_once_while_instances_on_one_sqlite_file_are_killed_and_paused() {
    for seed in seeds() {
        let output = retry_client_with_instances("sqlite", seed);
        let faults = "; 4 kills, 2 pauses of an instance\n";
        assert!(output.contains(faults), "{output}");
        assert!(output.contains(ONCE), "{output}");
    }
}

#[test]
fn payments_are_made_only_once_while_instances_and_the_postgres_server_fail() {
    for seed in seeds() {
        let output = retry_client_with_instances("postgres", seed);
        let faults = "; 1 cut of all database connections, 3 kills, 5 lost replies to COMMIT, \
                      2 pauses of the server, 1 restart of the server, 2 terminations of all sessions\n";
        assert!(output.contains(faults), "{output}");
        assert!(output.contains(ONCE), "{output}");
    }
}

/// The conclusion of the script.
const ONCE: &str = "every payment was made exactly once, and no outcome was unknown";

#[test]
fn retries_with_fresh_keys_make_payments_twice_and_the_script_finds_them() {
    let directory = Directory::new();
    let service = directory.start();
    let url = format!("http://{}", service.address());
    let output = Program::new("python3")
        .args([SCRIPT, "--url", &url, "--control", "--seed", "7"])
        .run();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("found: the payment of "), "{text}");
    assert!(
        text.contains(" payments were made more than once, and the checks found them"),
        "{text}"
    );
}

/// Returns the seeds of the script: one seed, or five seeds with `./test.sh --faults` (`FAULTS`).
/// With the same seed, the script does the same.
fn seeds() -> core::ops::Range<u32> {
    if runs_faults() { 1..6 } else { 7..8 }
}

fn runs_faults() -> bool {
    std::env::var_os("FAULTS").is_some()
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/retry_client.py");

/// Runs the script with two instances that share a database.
fn retry_client_with_instances(store: &str, seed: u32) -> String {
    retry_client(&[
        "--instances",
        "2",
        "--service",
        env!("CARGO_BIN_EXE_payments"),
        "--store",
        store,
        "--seed",
        &seed.to_string(),
    ])
}

/// Runs the script that makes payments and breaks connections or instances. Returns its output.
fn retry_client(arguments: &[&str]) -> String {
    let output = Program::new("python3").arg(SCRIPT).args(arguments).run();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn the_service_lists_its_endpoints_at_start() {
    let directory = Directory::new();
    let service = directory.start();
    let output = service.stdout();
    for expected in ["Payments", "POST   /v1/payments ", "GET    /v1/health "] {
        assert!(output.contains(expected), "{output}");
    }
}

#[tokio::test]
async fn a_running_request_gets_its_response_after_sigterm() {
    let directory = Directory::new();
    let mut service = directory.start();
    let client = service.client();
    let mut raw = client.raw().await;
    let body = r#"{"owner":"Alice","currency":"EUR"}"#;
    let (first, rest) = body.split_at(10);
    let head = format!(
        "POST /v1/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_test_alice\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    raw.write(&head).await;
    until_earlier_bytes_are_read(&client).await;
    service.terminate();
    client.until_refused().await;
    raw.write(rest).await;
    let response = raw.rest().await;
    assert!(
        response.starts_with(b"HTTP/1.1 201"),
        "{}",
        String::from_utf8_lossy(&response)
    );
    assert_eq!(service.wait().code(), Some(0));
}

/// Waits until the service has read the bytes of earlier connections. The service accepts
/// connections in order. When it responds on a later connection, it has accepted the earlier
/// connections.
async fn until_earlier_bytes_are_read(client: &Client) {
    let client = client.clone().without_reuse();
    for _ in 0..3 {
        assert_eq!(client.get("/v1/health").send().await.status, 200);
    }
}

#[test]
fn all_invalid_settings_are_reported_together() {
    let output = run(&[
        ("APLOMB_STORE", "redsi://"),
        ("APLOMB_ADDR", "nonsense"),
        ("APLOMB_LEASE", "5"),
        ("APLOMB_MAX_HANDLER_DURATION", "x"),
        ("APLOMB_MAX_RUNS", "0"),
        ("APLOMB_MAX_RUNS_PER_CALLER", "many"),
        ("APLOMB_SECRET", "short"),
        ("APLOMB_ENCRYPTION_KEYS", "a:short,b"),
        ("APLOMB_SHUTDOWN_GRACE", "1 minute"),
        ("APLOMB_HEADER_TIMEOUT", "0s"),
        ("APLOMB_RESPONSE_TIMEOUT", "x"),
        ("APLOMB_MAX_CONNECTIONS", "0"),
        ("APLOMB_BODY_TIMEOUT", "1ms"),
        ("APLOMB_BODY_MIN_RATE", "0"),
        ("APLOMB_BODY_MEMORY", "much"),
        ("APLOMB_API_KEYS", "bob,alice:short"),
        ("APLOMB_LIMITS", "payments=fast,payment=1000/min"),
        ("APLOMB_INSTANCES", "many"),
        ("APLOMB_TRUSTED_PROXIES", "10.0.0.1/8,proxy"),
        ("APLOMB_FORWARDED_FIELD", "x-real-ip"),
        ("PAYMENTS_BANK", "/dev/null/bank"),
    ]);
    let errors = errors(&output);
    let expected = [
        "error: APLOMB_STORE=\"redsi:…\": no such store; accepted: memory:",
        "error: APLOMB_ADDR=\"nonsense\": expected an address and a port",
        "error: APLOMB_LEASE=\"5\": expected a whole number and a unit",
        "error: APLOMB_MAX_HANDLER_DURATION=\"x\": expected a whole number and a unit",
        "error: APLOMB_MAX_RUNS=\"0\": expected a whole number from 1",
        "error: APLOMB_MAX_RUNS_PER_CALLER=\"many\": expected a whole number from 1",
        "error: APLOMB_SECRET=\"…\": expected at least 32 bytes",
        "error: APLOMB_ENCRYPTION_KEYS=\"…\": entry 1: the key is not base64; make one with `openssl rand -base64 32`",
        "error: APLOMB_ENCRYPTION_KEYS=\"…\": entry 2: expected <id>:<key>, several separated by commas",
        "error: APLOMB_SHUTDOWN_GRACE=\"1 minute\": expected a whole number and a unit",
        "error: APLOMB_HEADER_TIMEOUT=\"0s\": expected at least 1ms",
        "error: APLOMB_RESPONSE_TIMEOUT=\"x\": expected a whole number and a unit",
        "error: APLOMB_MAX_CONNECTIONS=\"0\": expected a whole number from 1",
        "error: APLOMB_BODY_TIMEOUT=\"1ms\": expected at least 100ms",
        "error: APLOMB_BODY_MIN_RATE=\"0\": expected a whole number from 1",
        "error: APLOMB_BODY_MEMORY=\"much\": expected",
        "error: APLOMB_API_KEYS=\"…\": entry 1: expected caller:key",
        "error: APLOMB_API_KEYS=\"…\": entry 2: expected caller:key",
        "error: APLOMB_LIMITS=\"payments=fast,payment=1000/min\": entry `payments=fast`: `fast` is not a rate: expected",
        "error: APLOMB_LIMITS=\"payments=fast,payment=1000/min\": entry `payment=1000/min`: no endpoint names a limit \
         `payment`: expected one of `payments`",
        "error: APLOMB_INSTANCES=\"many\": expected a whole number from 1 to 10000",
        "error: APLOMB_TRUSTED_PROXIES=\"10.0.0.1/8,proxy\": entry `10.0.0.1/8`: bits after the prefix are set: expected",
        "error: APLOMB_TRUSTED_PROXIES=\"10.0.0.1/8,proxy\": entry `proxy`: expected an address or a network",
        "error: APLOMB_FORWARDED_FIELD=\"x-real-ip\": expected x-forwarded-for or forwarded",
        "error: PAYMENTS_BANK=\"/dev/null/bank\" cannot be used: ",
    ];
    for start in expected {
        assert_eq!(
            errors.iter().filter(|line| line.starts_with(start)).count(),
            1,
            "{start} in {errors:#?}"
        );
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
}

#[test]
fn a_lease_that_is_too_short_is_an_error() {
    assert_eq!(
        errors(&run(&[("APLOMB_LEASE", "299ms")])),
        ["error: APLOMB_LEASE=\"299ms\": expected at least 300ms"]
    );
}

#[tokio::test]
async fn operators_can_change_limits_by_name() {
    for (settings, limit, policy) in [
        (&[][..], "100", "\"payments\";q=100;w=60"),
        (
            &[("APLOMB_LIMITS", "payments=1000/min")],
            "1000",
            "\"payments\";q=1000;w=60",
        ),
        (
            &[("APLOMB_LIMITS", "payments=1000/h:burst=50")],
            "50",
            "\"payments\";q=50;w=180",
        ),
    ] {
        let directory = Directory::new();
        let service = directory.program().envs(settings).start();
        let response = payment(&service.client()).await;
        assert_eq!(response.header("x-ratelimit-limit"), Some(limit));
        assert_eq!(response.header("ratelimit-policy"), Some(policy));
        let remaining: u64 = limit.parse().expect("a number");
        assert_eq!(
            response.header_number("x-ratelimit-remaining"),
            remaining - 1
        );
    }
}

/// Sends a payment without members. The response is an error, but the request takes a token of the
/// limit.
async fn payment(client: &Client) -> ClientResponse {
    let request = client
        .post("/v1/payments")
        .bearer("sk_test_alice")
        .idempotency_key("k");
    let response = request.json("{}").send().await;
    assert_eq!(response.status, 422, "{}", response.text());
    response
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let errors = errors(&run(&[("APLOMB_ADDR", &address)]));
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with(&format!(
            "error: APLOMB_ADDR=\"{address}\": cannot listen on this address"
        )),
        "{errors:?}"
    );
}

#[test]
fn errors_contain_no_secret() {
    for store in [
        "redis://:hunter2secret@127.0.0.1:port",
        "postgres://:hunter2secret@127.0.0.1:port/payments",
        "postgres://app@127.0.0.1/payments?password=hunter2secret&port=port",
    ] {
        let output = run(&[
            ("APLOMB_STORE", store),
            ("APLOMB_SECRET", "hunter2secret"),
            ("APLOMB_API_KEYS", "hunter2secret:al"),
            ("APLOMB_ENCRYPTION_KEYS", "hunter2secret:hunter2secret"),
        ]);
        // The store has two errors: its own, and the error of the ledger in it.
        assert_eq!(errors(&output).len(), 5, "{store}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2secret"));
    }
}

#[test]
fn a26_empty_encryption_keys_are_an_error() {
    let errors = errors(&run(&[("APLOMB_ENCRYPTION_KEYS", "")]));
    assert!(
        errors.len() == 1
            && errors[0].starts_with("error: APLOMB_ENCRYPTION_KEYS=\"\": expected <id>:<key>"),
        "{errors:?}"
    );
}

#[test]
fn empty_api_keys_are_an_error() {
    let errors = errors(&run(&[("APLOMB_API_KEYS", "")]));
    assert!(
        errors.len() == 1
            && errors[0].starts_with("error: APLOMB_API_KEYS=\"\": expected caller:key"),
        "{errors:?}"
    );
}

#[test]
fn a_signal_right_after_the_start_causes_a_graceful_shutdown() {
    for _ in 0..10 {
        let directory = Directory::new();
        let mut service = directory.start();
        service.terminate();
        assert_eq!(service.wait().code(), Some(0));
    }
}

#[tokio::test]
async fn an_incomplete_head_does_not_delay_the_shutdown_and_a_second_signal_ends_it() {
    let directory = Directory::new();
    let mut service = directory.start();
    let mut incomplete = service.client().raw().await;
    incomplete.write("GET /v1/health HT").await;
    until_earlier_bytes_are_read(&service.client()).await;
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));

    let directory = Directory::new();
    let mut service = directory.start();
    let client = service.client();
    let mut raw = client.raw().await;
    let head = "POST /v1/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_test_alice\r\nidempotency-key: k\r\n\
                content-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    raw.write(head).await;
    until_earlier_bytes_are_read(&client).await;
    service.terminate();
    client.until_refused().await;
    service.terminate();
    assert_eq!(
        service.wait().code(),
        Some(1),
        "the shutdown cancelled a request"
    );
}

#[tokio::test]
async fn a_service_with_a_closed_stdout_keeps_running() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("its address");
    drop(unused);
    let directory = Directory::new();
    let mut service = directory
        .program()
        .env("APLOMB_ADDR", address.to_string())
        .with_broken_stdout()
        .spawn();
    let client = Client::new(address);
    eventually("the service responds", async || {
        client.get("/v1/health").try_send().await.is_ok()
    })
    .await;
    until_earlier_bytes_are_read(&client).await;
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));
}
