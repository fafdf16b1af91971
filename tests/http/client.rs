//! A client: whole requests on pooled connections, and raw ones for what no client should do.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far more than any answer takes, so that a test that hangs ends.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), address }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        Call { client: self, request, body: Bytes::new() }
    }

    /// Opens a connection for bytes as they are.
    pub(crate) async fn raw(&self) -> Raw {
        Raw { stream: TcpStream::connect(self.address).await.expect("the server accepts"), read: Vec::new() }
    }
}

pub(crate) struct Call<'a> {
    client: &'a Client,
    request: http::request::Builder,
    body: Bytes,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn json(self, text: impl Into<String>) -> Self {
        self.header("content-type", "application/json").body(text.into())
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Reply {
        let request = self.request.body(Full::new(self.body)).expect("a request");
        let response = timeout(PATIENCE, self.client.pool.request(request)).await;
        let (head, body) = response.expect("an answer in time").expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Reply { status: head.status, headers: head.headers, body }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("plain ASCII"))
    }

    /// All lines of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("plain ASCII")).collect()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.header(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no number in {name}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub(crate) fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Checks everything that every problem document has, and gives it.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        assert_eq!((self.status.as_u16(), &document["code"]), (status, &Value::from(code)), "{document}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:aplomb:problem:{code}"));
        let id = self.header("x-request-id").expect("every response has an id");
        if !self.replayed() {
            assert_eq!(document["request_id"], id);
            assert_eq!(document["instance"], format!("urn:aplomb:request:{id}"));
        }
        for member in ["title", "category"] {
            assert!(document[member].is_string(), "{member} in {document}");
        }
        assert!(document["retryable"].is_boolean());
        let wait = self.header("retry-after");
        assert!(wait.is_none() || document["retryable"] == true, "Retry-After without retryable");
        document
    }
}

/// A connection, byte by byte.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// One response with a `Content-Length`, as text.
    pub(crate) async fn response(&mut self) -> String {
        timeout(PATIENCE, self.read_response()).await.expect("an answer in time")
    }

    async fn read_response(&mut self) -> String {
        loop {
            if let Some(length) = whole(&self.read) {
                let rest = self.read.split_off(length);
                let response = core::mem::replace(&mut self.read, rest);
                return String::from_utf8(response).expect("UTF-8");
            }
            let mut part = vec![0; 1 << 16];
            let count = self.stream.read(&mut part).await.expect("the server writes");
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&part[..count]);
        }
    }

    /// Sends bytes and returns everything that the server says until it closes or resets the connection.
    pub(crate) async fn reply_to(mut self, bytes: &[u8]) -> String {
        // The server may close before it has read everything, which fails the write or the read.
        let _ = self.stream.write_all(bytes).await;
        let mut reply = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut reply)).await.expect("an end in time");
        String::from_utf8(reply).expect("UTF-8")
    }

    /// Reads a part of what comes.
    pub(crate) async fn read_some(&mut self) {
        let mut part = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut part)).await.expect("an answer in time");
        self.read.extend_from_slice(&part[..read.expect("the server writes")]);
    }

    /// Whether the server closes the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(timeout(PATIENCE, self.stream.read(&mut byte)).await.expect("an end in time"), Ok(1))
    }
}

/// The length of the first response, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
    (bytes.len() >= head + body).then_some(head + body)
}
