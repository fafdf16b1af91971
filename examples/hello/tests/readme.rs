//! What the README shows, asked of the running program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// The running program. Killed when dropped, so that no failed test leaves one behind.
struct Service {
    child: Child,
    address: String,
}

struct Reply {
    head: String,
    body: Value,
}

impl Service {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hello"));
        let settings = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("APLOMB_"));
        settings.for_each(|name| _ = command.env_remove(name));
        let child = command.env("APLOMB_ADDR", "127.0.0.1:0").stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the program");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut lines = output.lines().map(|line| line.expect("UTF-8"));
        let address = lines.find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
        Self { child, address: address.expect("the address that it listens on") }
    }

    fn ask(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        write!(stream, "{request}\r\nhost: hello\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        Reply { head: head.to_owned(), body: serde_json::from_str(body).expect("JSON") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is still running, or the test has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_greeting_says_what_is_left_of_the_limit() {
    let reply = Service::start().ask("GET /v1/hello/Ada HTTP/1.1");
    assert!(reply.head.starts_with("HTTP/1.1 200 OK"), "{}", reply.head);
    assert!(reply.head.contains("x-ratelimit-remaining: 59"), "{}", reply.head);
    assert!(reply.head.contains(r#"ratelimit-policy: "default";q=60;w=60"#), "{}", reply.head);
    assert_eq!(reply.body, json!({ "text": "Hello, Ada!" }));
}

#[test]
fn a_visit_is_counted_once_for_each_key() {
    const VISIT: &str = "POST /v1/visits HTTP/1.1\r\nidempotency-key: ";
    let service = Service::start();
    let visit = |key: &str| service.ask(&format!("{VISIT}{key}"));
    let (first, again) =
        (visit("8e03978e-40d5-43dd-bc93-6894a57f9324"), visit("8e03978e-40d5-43dd-bc93-6894a57f9324"));
    let another = visit("0b2ac1c8-9b4f-4b0c-8f1e-6a1f5d3c2b10");
    assert!(again.head.contains("idempotent-replayed: true"), "{}", again.head);
    for (reply, number) in [(first, 1), (again, 1), (another, 2)] {
        assert!(reply.head.starts_with("HTTP/1.1 201 Created"), "{}", reply.head);
        assert_eq!(reply.body, json!({ "number": number }));
    }
}

#[test]
fn a_visit_without_a_key_is_told_what_is_missing() {
    let reply = Service::start().ask("POST /v1/visits HTTP/1.1");
    assert!(reply.head.starts_with("HTTP/1.1 400 "), "{}", reply.head);
    assert_eq!(reply.body["code"], "IDEMPOTENCY_KEY_MISSING");
    assert_eq!(reply.body["type"], "urn:aplomb:problem:IDEMPOTENCY_KEY_MISSING");
}
