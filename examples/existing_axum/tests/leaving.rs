//! The app with three endpoints adopted, and the app without: `leave.patch`, applied to a copy, which is
//! compiled and run beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

/// A running app. Killed when dropped, so that no failed test leaves one behind.
struct App {
    child: Child,
    address: String,
}

impl App {
    fn start(program: impl AsRef<Path>) -> Self {
        let mut command = Command::new(program.as_ref());
        let settings = env::vars().map(|(name, _)| name).filter(|name| name.starts_with("APLOMB_"));
        settings.for_each(|name| _ = command.env_remove(name));
        let child = command.env("ADDR", "127.0.0.1:0").stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the program");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        output.read_line(&mut line).expect("UTF-8");
        let address = line.trim().strip_prefix("listening on http://").expect("its address").to_owned();
        Self { child, address }
    }

    fn adopted() -> Self {
        Self::start(env!("CARGO_BIN_EXE_existing_axum"))
    }

    /// The status and the body of an answer.
    fn ask(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let (head, body) = self.whole(request, fields, body);
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// An answer's head, without its date, and its body.
    fn whole(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let length = body.len();
        let always = format!("host: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}");
        write!(stream, "{request} HTTP/1.1\r\n{always}\r\n{body}").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
        (head.join("\n"), body.to_owned())
    }

    fn order(&self, key: &str) -> (String, String) {
        let fields = format!("{ADA}content-type: application/json\r\nidempotency-key: {key}\r\n");
        self.ask("POST /orders", &fields, r#"{"isbn":"9780441172719"}"#)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // It is still running, or the test has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADA: &str = "authorization: Bearer token-of-ada\r\n";
const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// The program that `leave.patch` makes, compiled in the workspace's own target directory.
fn left() -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("existing_axum_left");
    // What another run left there.
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("src")).expect("a folder");
    for file in ["Cargo.toml", "src/main.rs", "src/callers.rs", "src/orders.rs", "src/shop.rs"] {
        fs::copy(example.join(file), copy.join(file)).expect("a copy");
    }
    run(Command::new("patch").args(["-p1", "--input"]).arg(example.join("leave.patch")).current_dir(&copy));
    stand_alone(&copy, example);
    build(&copy)
}

/// Makes the copy a workspace of its own, with the dependencies that are compiled already.
fn stand_alone(copy: &Path, example: &Path) {
    let manifest = fs::read_to_string(copy.join("Cargo.toml")).expect("its manifest");
    assert!(!manifest.contains("aplomb"), "{manifest}");
    let manifest = manifest
        .replace("name = \"existing_axum\"", "name = \"existing_axum_left\"")
        .replace("[lints]\nworkspace = true", "[workspace]");
    fs::write(copy.join("Cargo.toml"), manifest).expect("written");
    fs::copy(example.join("../../Cargo.lock"), copy.join("Cargo.lock")).expect("a copy");
}

fn build(copy: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let mut cargo = Command::new(env!("CARGO"));
    let said = run(cargo.args(["build", "--offline", "--target-dir"]).arg(target).current_dir(copy));
    assert!(!said.contains("warning"), "{said}");
    target.join("debug/existing_axum_left")
}

/// What a command says, which must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// One test, since the copy is compiled once.
#[test]
fn with_and_without_the_three_endpoints_the_app_answers_alike() {
    let program = left();
    let (adopted, left) = (App::adopted(), App::start(&program));
    the_rest_of_the_app_answers_as_it_did(&adopted, &left);
    the_endpoints_answer_as_they_did_where_nothing_is_promised(&adopted, &left);
    a_repeated_order_is_one_order_only_where_it_is_promised(&adopted, &left);
}

fn the_rest_of_the_app_answers_as_it_did(adopted: &App, left: &App) {
    for (request, fields) in [
        ("GET /", ""),
        ("GET /books", ""),
        ("HEAD /books", ""),
        ("GET /books/9780441172719", ""),
        ("GET /books/unknown", ""),
        ("DELETE /books", ""),
        ("GET /whoami", ""),
        ("GET /whoami", "authorization: Bearer nobody\r\n"),
        ("GET /whoami", ADA),
        ("GET /nowhere", ""),
        ("GET /orders/1/lines", ADA),
        ("DELETE /orders", ADA),
    ] {
        let answer = adopted.whole(request, fields, "");
        assert_eq!(answer, left.whole(request, fields, ""), "{request} {fields}");
        assert!(answer.0.contains("x-served-by: bookshop"), "the app's layer: {answer:?}");
    }
}

fn the_endpoints_answer_as_they_did_where_nothing_is_promised(adopted: &App, left: &App) {
    for app in [adopted, left] {
        let created = app.order(KEY);
        assert_eq!(created.0, "HTTP/1.1 201 Created");
        assert_eq!(created.1, r#"{"id":1,"user":"ada","isbn":"9780441172719"}"#);
    }
    let ben = "authorization: Bearer token-of-ben\r\n";
    for (request, fields) in
        [("GET /orders/1", ADA), ("GET /orders/1", ben), ("GET /orders", ADA), ("GET /orders", ben)]
    {
        assert_eq!(adopted.ask(request, fields, ""), left.ask(request, fields, ""), "{request} {fields}");
    }
    assert_eq!(
        adopted.ask("GET /orders/7", ADA, "").1,
        r#"{"error":"you have no such order"}"#,
        "a handler's own error is left as it is"
    );
}

/// The key has been used once, above.
fn a_repeated_order_is_one_order_only_where_it_is_promised(adopted: &App, left: &App) {
    for (app, id) in [(adopted, "\"id\":1"), (left, "\"id\":2")] {
        let (status, body) = app.order(KEY);
        assert_eq!(status, "HTTP/1.1 201 Created");
        assert!(body.contains(id), "{body}");
    }
}

#[test]
fn what_is_refused_before_the_handler_is_a_problem() {
    let app = App::adopted();
    let (status, body) = app.ask("GET /orders", "", "");
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert!(body.contains("\"code\":\"UNAUTHENTICATED\""), "{body}");
    let (status, body) = app.ask("POST /orders", ADA, "");
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(body.contains("\"code\":\"IDEMPOTENCY_KEY_MISSING\""), "{body}");
}
