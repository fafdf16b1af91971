//! A comparison of the app with Aplomb and the app without it. The test applies `leave.patch` to a
//! copy, compiles the copy, and sends the same requests to both programs.

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

    fn with_aplomb() -> Self {
        Self::start(env!("CARGO_BIN_EXE_existing_axum"))
    }

    /// Sends a request. Returns the status line and the body of the response.
    async fn status_and_body(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let (head, body) = self.head_and_body(request, fields, body).await;
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// Sends a request. Returns the head of the response, without its date, and the body.
    async fn head_and_body(&self, request: &str, fields: &str, body: &str) -> (String, String) {
        let length = body.len();
        let common_fields =
            format!("host: shop\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}");
        let mut raw = self.0.client().raw().await;
        raw.write(&format!("{request} HTTP/1.1\r\n{common_fields}\r\n{body}"))
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
        self.status_and_body("POST /orders", &fields, r#"{"isbn":"9780441172719"}"#)
            .await
    }
}

const ADA: &str = "authorization: Bearer token-of-ada\r\n";
const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// Copies the app, applies `leave.patch` to the copy, and compiles it. The copy uses the target
/// directory of the workspace, because the dependencies are compiled there already.
fn build_without_aplomb() -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("existing_axum_without_aplomb");
    // Removes the copy of an earlier run. There may be no copy.
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
    make_own_workspace(&copy, example);
    build(&copy)
}

/// Makes the copy a separate workspace, with the dependency versions that are compiled already.
fn make_own_workspace(copy: &Path, example: &Path) {
    let manifest = fs::read_to_string(copy.join("Cargo.toml")).expect("the manifest of the copy");
    assert!(!manifest.contains("aplomb"), "{manifest}");
    let manifest = manifest
        .replace(
            "name = \"existing_axum\"",
            "name = \"existing_axum_without_aplomb\"",
        )
        .replace("[lints]\nworkspace = true", "[workspace]");
    fs::write(copy.join("Cargo.toml"), manifest).expect("written");
    fs::copy(example.join("../../Cargo.lock"), copy.join("Cargo.lock")).expect("a copy");
}

fn build(copy: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let cargo = Program::new(env!("CARGO")).args(["build", "--offline", "--target-dir"]);
    let output_text = run(cargo.arg(target).current_dir(copy));
    assert!(!output_text.contains("warning"), "{output_text}");
    target.join("debug/existing_axum_without_aplomb")
}

/// Runs a program and returns its output. Panics if the program fails.
#[track_caller]
fn run(program: Program) -> String {
    let output = program.run();
    let output_text =
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{output_text}");
    output_text
}

/// Runs all comparisons in one test, because each separate test would compile the copy.
#[tokio::test]
async fn the_app_responds_identically_with_and_without_aplomb() {
    let (with_aplomb, without_aplomb) = (App::with_aplomb(), App::start(build_without_aplomb()));
    other_endpoints_respond_identically(&with_aplomb, &without_aplomb).await;
    adopted_endpoints_respond_identically_without_a_retry(&with_aplomb, &without_aplomb).await;
    a_retry_creates_a_second_order_only_without_aplomb(&with_aplomb, &without_aplomb).await;
}

async fn other_endpoints_respond_identically(with_aplomb: &App, without_aplomb: &App) {
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
        let response = with_aplomb.head_and_body(request, fields, "").await;
        assert_eq!(
            response,
            without_aplomb.head_and_body(request, fields, "").await,
            "{request} {fields}"
        );
        assert!(
            response.0.contains("x-served-by: bookshop"),
            "without the app's layer: {response:?}"
        );
    }
}

async fn adopted_endpoints_respond_identically_without_a_retry(
    with_aplomb: &App,
    without_aplomb: &App,
) {
    for app in [with_aplomb, without_aplomb] {
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
            with_aplomb.status_and_body(request, fields, "").await,
            without_aplomb.status_and_body(request, fields, "").await,
            "{request} {fields}"
        );
    }
    assert_eq!(
        with_aplomb
            .status_and_body("GET /orders/7", ADA, "")
            .await
            .1,
        r#"{"error":"you have no such order"}"#,
        "the error of the handler is unchanged"
    );
}

/// Sends the request of `adopted_endpoints_respond_identically_without_a_retry` again, with the
/// same key.
async fn a_retry_creates_a_second_order_only_without_aplomb(
    with_aplomb: &App,
    without_aplomb: &App,
) {
    for (app, id) in [(with_aplomb, "\"id\":1"), (without_aplomb, "\"id\":2")] {
        let (status, body) = app.order(KEY).await;
        assert_eq!(status, "HTTP/1.1 201 Created");
        assert!(body.contains(id), "{body}");
    }
}

#[tokio::test]
async fn a_rejection_before_the_handler_is_a_problem() {
    let app = App::with_aplomb();
    let (status, body) = app.status_and_body("GET /orders", "", "").await;
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert!(body.contains("\"code\":\"UNAUTHENTICATED\""), "{body}");
    let (status, body) = app.status_and_body("POST /orders", ADA, "").await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(
        body.contains("\"code\":\"IDEMPOTENCY_KEY_MISSING\""),
        "{body}"
    );
}
