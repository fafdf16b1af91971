//! Bodies that an extractor or the handler leaves unread: the client gets the response, and the
//! connection stays usable, over HTTP/1.1 and HTTP/2.

use aplomb::prelude::*;
use aplomb::routes;
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;

use crate::app::{App, TestService};
use crate::http2::Http2;

/// Reads a number in the path, and then the body.
#[endpoint(put = "/numbers/{number}", public, body_limit = "16MiB")]
async fn number(Path(_): Path<u64>, body: Bytes) -> String {
    body.len().to_string()
}

/// Reads JSON of at most a megabyte.
#[endpoint(put = "/documents", public, body_limit = "1MB")]
async fn document(Json(document): Json<String>) -> String {
    document.len().to_string()
}

/// Reads JSON.
#[endpoint(put = "/letters", public, body_limit = "16MiB")]
async fn letter(Json(letter): Json<String>) -> String {
    letter.len().to_string()
}

/// Reads nothing of its body.
#[endpoint(put = "/conflicts", public, body_limit = "16MiB")]
async fn conflict(_: Request) -> StatusCode {
    StatusCode::CONFLICT
}

/// Reads the first part of its body.
#[endpoint(put = "/parts", public, body_limit = "16MiB")]
async fn part(request: Request) -> StatusCode {
    use http_body_util::BodyExt;
    let mut body = request.into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    StatusCode::IM_A_TEAPOT
}

async fn service() -> TestService {
    TestService::start(routes![number, document, letter, conflict, part]).await
}

/// The path, the media type and the expected status of each request. Each request has a body of
/// 8 MB.
const REQUESTS: [(&str, &str, u16); 5] = [
    ("/numbers/x", "text/plain", 400),
    ("/documents", "application/json", 413),
    ("/letters", "text/plain", 415),
    ("/conflicts", "text/plain", 409),
    ("/parts", "text/plain", 418),
];

const SIZE: usize = 8_000_000;

#[tokio::test]
async fn an_http1_client_gets_the_response_and_can_reuse_the_connection() {
    let service = service().await;
    let body = "x".repeat(SIZE);
    let chunked = format!("{SIZE:x}\r\n{body}\r\n0\r\n\r\n");
    let mut raw = service.client.raw().await;
    for (path, media, status) in REQUESTS {
        for (framing, body) in [
            (format!("content-length: {SIZE}"), &body),
            ("transfer-encoding: chunked".to_owned(), &chunked),
        ] {
            let head = format!(
                "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\n{framing}\r\n\r\n"
            );
            raw.write(&head).await;
            raw.write(body).await;
            let response = raw.response().await;
            let expected = format!("HTTP/1.1 {status}");
            assert!(
                response.starts_with(&expected),
                "{path} {framing}: {response}"
            );
        }
    }
}

#[tokio::test]
async fn an_http2_client_gets_the_response_and_a_stream_that_ends_cleanly() {
    let service = service().await;
    for (path, media, status) in REQUESTS {
        let received = put_over_http2(&service.server.url(""), path, media).await;
        assert_eq!(received, status, "{path}");
    }
}

/// Sends a body of 8 MB over HTTP/2, and returns the status. Fails if the server resets the stream.
async fn put_over_http2(origin: &str, path: &str, media: &str) -> u16 {
    let mut http2 = Http2::connect(origin).await;
    let head = http::Request::put(format!("http://x{path}")).header("content-type", media);
    let response = http2.send(head, "x".repeat(SIZE).as_bytes()).await;
    http2.close().await;
    response.status().as_u16()
}

/// A body that is too long to be read to its end.
const LONG: usize = 20_000_000;

#[tokio::test]
async fn an_http1_client_gets_the_response_to_a_body_that_is_too_long_to_be_read() {
    let service = service().await;
    for (path, media, _) in REQUESTS {
        let mut raw = service.client.raw().await;
        raw.write(&format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
        let response = raw.exchange("x".repeat(LONG).as_bytes()).await;
        let response = String::from_utf8_lossy(&response);
        assert!(response.starts_with("HTTP/1.1 413 "), "{path}: {response}");
    }
}

#[tokio::test]
async fn an_http2_client_gets_the_response_to_a_body_that_is_too_long_to_be_read() {
    let service = service().await;
    for (path, media, _) in REQUESTS {
        let stream = tokio::net::TcpStream::connect(service.server.address())
            .await
            .expect("a connection");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driving = tokio::spawn(connection);
        let request = http::Request::put(format!("http://x{path}"))
            .header("content-type", media)
            .header("content-length", LONG)
            .body(())
            .expect("a request");
        let (response, mut sending) = client.send_request(request, false).expect("a stream");
        // The client sends as much as the service accepts, and never the end of the body.
        sending.reserve_capacity(LONG);
        let data = Bytes::from(vec![b'x'; 64 << 10]);
        sending.send_data(data, false).expect("an open stream");
        let response = response.await.expect("a response");
        assert_eq!(response.status(), 413, "{path}");
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            data.expect("the whole document");
        }
        drop((client, sending, body));
        let _ = driving.await;
    }
}

/// Reads all fields of a form.
#[endpoint(put = "/forms", public, body_limit = "1MB")]
async fn form(mut form: axum::extract::Multipart) -> aplomb::Result<String> {
    let mut fields = 0;
    while let Some(field) = form.next_field().await? {
        field.bytes().await?;
        fields += 1;
    }
    Ok(fields.to_string())
}

#[tokio::test]
async fn a_truncated_multipart_form_is_a_400_and_a_too_large_one_is_a_413() {
    let service = TestService::start(routes![form]).await;
    let part = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n";
    let whole = format!("{part}1\r\n--x--\r\n");
    let cut_off = format!("{part}1");
    let large = format!("{part}{}\r\n--x--\r\n", "1".repeat(2_000_000));
    for (body, status) in [(whole, "200"), (cut_off, "400"), (large, "413")] {
        let mut raw = service.client.raw().await;
        raw.write(
            "PUT /forms HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n",
        )
        .await;
        raw.write(&format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ))
        .await;
        let response = raw.response().await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{status}: {response}"
        );
    }
}

/// Reads its body.
#[endpoint(post = "/read", public, not_idempotent = "nothing is stored")]
async fn read(body: Bytes) -> String {
    body.len().to_string()
}

/// Reads its body before the limit is checked.
#[endpoint(
    post = "/limited",
    public,
    not_idempotent = "nothing is stored",
    rate_limit("1000/min", by = ip)
)]
async fn limited(body: Bytes) -> String {
    body.len().to_string()
}

#[tokio::test]
async fn a_body_is_cut_off_after_a_silence_but_not_after_the_same_time_in_all() {
    let silence = std::time::Duration::from_millis(600);
    let api = |api: Api<App>| api.body_timeout(silence);
    let service = TestService::start_with(routes![read, limited], api).await;
    for path in ["/read", "/limited"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n");
        let mut silent = service.client.raw().await;
        silent.write(&format!("{head}12345")).await;
        let response = silent.response().await;
        assert!(response.starts_with("HTTP/1.1 408"), "{path}: {response}");
        let mut slow = service.client.raw().await;
        slow.write(&head).await;
        for _ in 0..10 {
            tokio::time::sleep(silence / 6).await;
            slow.write("1").await;
        }
        let response = slow.response().await;
        assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
    }
}

/// Counts its runs.
#[endpoint(put = "/counted", public)]
async fn counted(State(app): State<App>) {
    app.effect();
}

#[tokio::test]
async fn a_client_that_waits_for_continue_gets_the_response_without_sending_the_body() {
    let service = TestService::start(routes![counted, conflict]).await;
    let mut raw = service.client.raw().await;
    for path in ["/counted", "/conflicts"] {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        );
        raw.write(&head).await;
        let response = raw.response().await;
        assert!(!response.starts_with("HTTP/1.1 100"), "{path}: {response}");
        raw = service.client.raw().await;
    }
}
