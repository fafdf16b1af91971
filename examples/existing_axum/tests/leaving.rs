//! The app with three endpoints adopted, and the app without: `leave.patch`, applied to a copy, which is
//! compiled and run beside it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use aplomb::testing::{Process, Program};

/// A running app.
struct App(Process);

impl App {
    fn start(program: impl AsRef<Path>) -> Self {
        Self(
            Program::new(program.as_ref())
                .env("ADDR", "127.0.0.1:0")
                .start(),
        )
    }

    fn adopted() -> Self {
        Self::start(env!("CARGO_BIN_EXE_existing_axum"))
    }

    /// The status line and the body of a response.
    async fn ask(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let (head, body) = self.whole(request, fields, body).await;
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// A response's head, without its date, and its body.
    async fn whole(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let length = body.len();
        let always =
            format!("host: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}");
        let mut raw = self.0.client().raw().await;
        raw.write(&format!("{request} HTTP/1.1\r\n{always}\r\n{body}"))
            .await;
        let text = String::from_utf8(raw.rest().await).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let head: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with("date: "))
            .collect();
        (head.join("\n"), body.to_owned())
    }

    async fn order(&self, key: &str) -> (String, String) {
        let fields = format!("{ADA}content-type: application/json\r\nidempotency-key: {key}\r\n");
        self.ask("POST /orders", &fields, r#"{"isbn":"9780441172719"}"#)
            .await
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
    for file in [
        "Cargo.toml",
        "src/main.rs",
        "src/callers.rs",
        "src/orders.rs",
        "src/shop.rs",
    ] {
        fs::copy(example.join(file), copy.join(file)).expect("a copy");
    }
    run(Program::new("patch")
        .args(["-p1", "--input"])
        .arg(example.join("leave.patch"))
        .current_dir(&copy));
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
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let cargo = Program::new(env!("CARGO")).args(["build", "--offline", "--target-dir"]);
    let said = run(cargo.arg(target).current_dir(copy));
    assert!(!said.contains("warning"), "{said}");
    target.join("debug/existing_axum_left")
}

/// The output of a program, which must succeed.
#[track_caller]
fn run(program: Program) -> String {
    let output = program.run();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// One test, since the copy is compiled once.
#[tokio::test]
async fn with_and_without_the_three_endpoints_the_app_answers_alike() {
    let program = left();
    let (adopted, left) = (App::adopted(), App::start(&program));
    the_rest_of_the_app_answers_as_it_did(&adopted, &left).await;
    the_endpoints_answer_as_they_did_where_nothing_is_promised(&adopted, &left).await;
    a_repeated_order_is_one_order_only_where_it_is_promised(&adopted, &left).await;
}

async fn the_rest_of_the_app_answers_as_it_did(adopted: &App, left: &App) {
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
        let answer = adopted.whole(request, fields, "").await;
        assert_eq!(
            answer,
            left.whole(request, fields, "").await,
            "{request} {fields}"
        );
        assert!(
            answer.0.contains("x-served-by: bookshop"),
            "the app's layer: {answer:?}"
        );
    }
}

async fn the_endpoints_answer_as_they_did_where_nothing_is_promised(adopted: &App, left: &App) {
    for app in [adopted, left] {
        let created = app.order(KEY).await;
        assert_eq!(created.0, "HTTP/1.1 201 Created");
        assert_eq!(created.1, r#"{"id":1,"user":"ada","isbn":"9780441172719"}"#);
    }
    let ben = "authorization: Bearer token-of-ben\r\n";
    for (request, fields) in [
        ("GET /orders/1", ADA),
        ("GET /orders/1", ben),
        ("GET /orders", ADA),
        ("GET /orders", ben),
    ] {
        assert_eq!(
            adopted.ask(request, fields, "").await,
            left.ask(request, fields, "").await,
            "{request} {fields}"
        );
    }
    assert_eq!(
        adopted.ask("GET /orders/7", ADA, "").await.1,
        r#"{"error":"you have no such order"}"#,
        "a handler's own error is left as it is"
    );
}

/// The key has been used once, above.
async fn a_repeated_order_is_one_order_only_where_it_is_promised(adopted: &App, left: &App) {
    for (app, id) in [(adopted, "\"id\":1"), (left, "\"id\":2")] {
        let (status, body) = app.order(KEY).await;
        assert_eq!(status, "HTTP/1.1 201 Created");
        assert!(body.contains(id), "{body}");
    }
}

#[tokio::test]
async fn what_is_refused_before_the_handler_is_a_problem() {
    let app = App::adopted();
    let (status, body) = app.ask("GET /orders", "", "").await;
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert!(body.contains("\"code\":\"UNAUTHENTICATED\""), "{body}");
    let (status, body) = app.ask("POST /orders", ADA, "").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(
        body.contains("\"code\":\"IDEMPOTENCY_KEY_MISSING\""),
        "{body}"
    );
}
