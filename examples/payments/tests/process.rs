//! The service as a process: its settings, its clients with broken connections, its end.

use std::net::TcpListener;
use std::process::Output;

use aplomb::testing::{Client, ClientResponse, Process, Program, eventually};

fn start() -> Process {
    program().start()
}

/// The service, on a port and with a ledger of its own.
fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_payments")).without_env("PAYMENTS_DB")
}

fn run(settings: &[(&str, &str)]) -> Output {
    program().envs(settings).run()
}

fn errors(output: &Output) -> Vec<String> {
    assert_eq!(
        output.status.code(),
        Some(2),
        "the exit code of a wrong start"
    );
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    text.lines()
        .filter(|line| line.starts_with("error: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn payments_through_broken_connections_are_made_once() {
    let payments = if is_long() { "90" } else { "30" };
    for seed in seeds() {
        let service = start();
        let url = format!("http://{}", service.address());
        let said = retry_client(&[
            "--url",
            &url,
            "--payments",
            payments,
            "--seed",
            &seed.to_string(),
        ]);
        assert!(
            said.contains("every payment was made exactly once"),
            "{said}"
        );
    }
}

#[test]
fn payments_to_instances_that_are_killed_and_a_redis_that_hangs_are_made_once_or_said_to_be_unknown()
 {
    for seed in seeds() {
        let service = [
            "--instances",
            "2",
            "--service",
            env!("CARGO_BIN_EXE_payments"),
        ];
        let said = retry_client(&[&service[..], &["--seed", &seed.to_string()]].concat());
        assert!(said.contains("; 3 kills, 2 pauses of Redis\n"), "{said}");
        assert!(
            said.contains("every payment was made once, or said to be unknown and checked"),
            "{said}"
        );
    }
}

/// Seeds of the script: one, or with `./test.sh --faults` (`FAULTS`) a few more. What it did with a seed, it does
/// again with the same.
fn seeds() -> core::ops::Range<u32> {
    if is_long() { 1..6 } else { 7..8 }
}

fn is_long() -> bool {
    std::env::var_os("FAULTS").is_some()
}

/// What the script says that makes payments and breaks what is in their way.
fn retry_client(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/retry_client.py");
    let output = Program::new("python3").arg(script).args(arguments).run();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn the_start_says_what_there_is() {
    let service = start();
    let said = service.stdout();
    for expected in ["Payments", "POST   /v1/payments ", "GET    /v1/health "] {
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_request_that_runs_gets_its_answer_after_sigterm() {
    let mut service = start();
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
    until_it_reads(&client).await;
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

/// The service answers connections in turn: when it has answered a later one, it has the earlier.
async fn until_it_reads(client: &Client) {
    let client = client.clone().without_reuse();
    for _ in 0..3 {
        assert_eq!(client.get("/v1/health").send().await.status, 200);
    }
}

#[test]
fn everything_that_is_set_wrongly_is_said_at_once() {
    let output = run(&[
        ("APLOMB_STORE", "redsi://"),
        ("APLOMB_ADDR", "nonsense"),
        ("APLOMB_LEASE", "5"),
        ("APLOMB_MAX_HANDLER_DURATION", "x"),
        ("APLOMB_SECRET", "short"),
        ("APLOMB_ENCRYPTION_KEYS", "a:short,b"),
        ("APLOMB_SHUTDOWN_GRACE", "1 minute"),
        ("APLOMB_HEADER_TIMEOUT", "0s"),
        ("APLOMB_API_KEYS", "bob,alice:short"),
        ("APLOMB_LIMITS", "payments=fast,payment=1000/min"),
        ("APLOMB_INSTANCES", "many"),
        ("APLOMB_TRUSTED_PROXIES", "10.0.0.1/8,proxy"),
        ("APLOMB_FORWARDED_FIELD", "x-real-ip"),
        ("PAYMENTS_DB", "/nonexistent/payments.sqlite"),
    ]);
    let errors = errors(&output);
    let expected = [
        "error: APLOMB_STORE=\"redsi:…\": no such store; accepted: memory:",
        "error: APLOMB_ADDR=\"nonsense\": expected an address and a port",
        "error: APLOMB_LEASE=\"5\": expected a whole number and a unit",
        "error: APLOMB_MAX_HANDLER_DURATION=\"x\": expected a whole number and a unit",
        "error: APLOMB_SECRET=\"…\": expected at least 32 bytes",
        "error: APLOMB_ENCRYPTION_KEYS=\"…\": entry 1: the key is not base64; make one with `openssl rand -base64 32`",
        "error: APLOMB_ENCRYPTION_KEYS=\"…\": entry 2: expected id:key, separated by commas",
        "error: APLOMB_SHUTDOWN_GRACE=\"1 minute\": expected a whole number and a unit",
        "error: APLOMB_HEADER_TIMEOUT=\"0s\": expected at least 1ms",
        "error: APLOMB_API_KEYS=\"…\": entry 1: expected caller:key",
        "error: APLOMB_API_KEYS=\"…\": entry 2: expected caller:key",
        "error: APLOMB_LIMITS=\"payments=fast,payment=1000/min\": entry `payments=fast`: `fast` is not a rate: expected",
        "error: APLOMB_LIMITS=\"payments=fast,payment=1000/min\": entry `payment=1000/min`: no endpoint names a limit \
         `payment`: expected one of `payments`",
        "error: APLOMB_INSTANCES=\"many\": expected a whole number from 1 to 10000",
        "error: APLOMB_TRUSTED_PROXIES=\"10.0.0.1/8,proxy\": entry `10.0.0.1/8`: bits after the prefix are set: expected",
        "error: APLOMB_TRUSTED_PROXIES=\"10.0.0.1/8,proxy\": entry `proxy`: expected an address or a network",
        "error: APLOMB_FORWARDED_FIELD=\"x-real-ip\": expected x-forwarded-for or forwarded",
        "error: PAYMENTS_DB=\"/nonexistent/payments.sqlite\"",
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
fn a_lease_that_is_too_short_is_refused() {
    assert_eq!(
        errors(&run(&[("APLOMB_LEASE", "299ms")])),
        ["error: APLOMB_LEASE=\"299ms\": expected at least 300ms"]
    );
}

#[tokio::test]
async fn operators_change_limits_by_their_names() {
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
        let service = program().envs(settings).start();
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

/// What the service answers to a payment of nothing.
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
fn an_address_that_is_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let errors = errors(&run(&[("APLOMB_ADDR", &address)]));
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with(&format!(
            "error: APLOMB_ADDR=\"{address}\": cannot listen there"
        )),
        "{errors:?}"
    );
}

#[test]
fn no_secret_is_shown() {
    let output = run(&[
        ("APLOMB_STORE", "redis://:hunter2secret@127.0.0.1:port"),
        ("APLOMB_SECRET", "hunter2secret"),
        ("APLOMB_API_KEYS", "hunter2secret:al"),
        ("APLOMB_ENCRYPTION_KEYS", "hunter2secret:hunter2secret"),
    ]);
    assert_eq!(errors(&output).len(), 4);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2secret"));
}

#[test]
fn a26_keys_that_did_not_arrive_are_no_wish_for_answers_in_the_clear() {
    let errors = errors(&run(&[("APLOMB_ENCRYPTION_KEYS", "")]));
    assert!(
        errors.len() == 1
            && errors[0].starts_with("error: APLOMB_ENCRYPTION_KEYS=\"\": expected id:key"),
        "{errors:?}"
    );
}

#[test]
fn keys_that_did_not_arrive_are_not_replaced_by_those_of_the_demonstration() {
    let errors = errors(&run(&[("APLOMB_API_KEYS", "")]));
    assert!(
        errors.len() == 1
            && errors[0].starts_with("error: APLOMB_API_KEYS=\"\": expected caller:key"),
        "{errors:?}"
    );
}

#[test]
fn a_signal_at_once_after_the_start_is_a_graceful_end() {
    for _ in 0..10 {
        let mut service = start();
        service.terminate();
        assert_eq!(service.wait().code(), Some(0));
    }
}

#[tokio::test]
async fn half_a_head_does_not_hold_up_the_end_and_a_second_signal_ends_the_wait() {
    let mut service = start();
    let mut half = service.client().raw().await;
    half.write("GET /v1/health HT").await;
    until_it_reads(&service.client()).await;
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));

    let mut service = start();
    let client = service.client();
    let mut raw = client.raw().await;
    let head = "POST /v1/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_test_alice\r\nidempotency-key: k\r\n\
                content-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    raw.write(head).await;
    until_it_reads(&client).await;
    service.terminate();
    client.until_refused().await;
    service.terminate();
    assert_eq!(service.wait().code(), Some(1), "a request was cut off");
}

#[tokio::test]
async fn an_output_that_nobody_reads_is_no_reason_to_end() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let mut service = program()
        .env("APLOMB_ADDR", address.to_string())
        .with_broken_stdout()
        .spawn();
    let client = Client::new(address);
    eventually("the service answers", async || {
        client.get("/v1/health").try_send().await.is_ok()
    })
    .await;
    until_it_reads(&client).await;
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));
}
