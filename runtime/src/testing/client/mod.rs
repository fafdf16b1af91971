//! An HTTP client for tests.

mod raw;
mod response;

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::raw::RawConnection;
pub use self::response::ClientResponse;
use super::eventually;
use super::wait::TIMEOUT;

/// An HTTP/1.1 client of one server. It reuses its connections, and clones share them.
///
/// It returns every response, regardless of its status, and follows no redirect.
/// [`send`](ClientRequest::send) panics if a request cannot be sent or has no response within 20
/// seconds; [`try_send`](ClientRequest::try_send) returns an error.
///
/// ```
/// use aplomb::prelude::*;
/// use aplomb::testing::TestServer;
///
/// /// Returns a greeting.
/// #[endpoint(get = "/hello/{name}", public)]
/// async fn hello(Path(name): Path<String>) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), aplomb::StartErrors> {
/// let server = TestServer::start(Api::new("example", routes![hello]), ()).await?;
/// let client = server.client();
/// let response = client.get("/hello/Ada").header("accept", "text/plain").send().await;
/// assert_eq!((response.status.as_u16(), response.text()), (200, "Hello, Ada!"));
/// client.post("/hello/Ada").json(r#"{"loud":true}"#).send().await.problem(405, "METHOD_NOT_ALLOWED");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// A request of a [`Client`], before it is sent.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct ClientRequest {
    client: Client,
    request: http::request::Builder,
    body: Bytes,
}

impl Client {
    /// Creates a client of the server at this address. It connects with its first request.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            address,
        }
    }

    /// Opens a new connection for each request.
    ///
    /// A server that stops closes its idle connections. A request on a reused connection can fail
    /// if the server closes the connection at the same time.
    #[must_use]
    pub fn without_reuse(self) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        Self { pool, ..self }
    }

    /// Returns the server's address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a GET request. The path begins with `/` and can have a query: `/v1/orders?limit=2`.
    pub fn get(&self, path: &str) -> ClientRequest {
        self.request(Method::GET, path)
    }

    /// Creates a POST request. It has no body unless [`json`](ClientRequest::json) or
    /// [`body`](ClientRequest::body) sets one.
    pub fn post(&self, path: &str) -> ClientRequest {
        self.request(Method::POST, path)
    }

    /// Creates a request with any method.
    pub fn request(&self, method: Method, path: &str) -> ClientRequest {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        ClientRequest {
            client: self.clone(),
            request,
            body: Bytes::new(),
        }
    }

    /// Opens a connection for arbitrary bytes, such as an invalid or an incomplete request.
    ///
    /// # Panics
    ///
    /// Panics if the server does not accept the connection within 20 seconds.
    pub async fn raw(&self) -> RawConnection {
        RawConnection::connect(self.address).await
    }

    /// Waits until the server refuses connections. A server refuses connections shortly after its
    /// shutdown begins.
    ///
    /// # Panics
    ///
    /// Panics if the server still accepts connections after 20 seconds.
    pub async fn until_refused(&self) {
        let is_refused = async || TcpStream::connect(self.address).await.is_err();
        eventually("connections are refused", is_refused).await;
    }
}

impl ClientRequest {
    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets `Idempotency-Key`.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Sets `Authorization: Bearer <token>`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sets the body to this text, and `Content-Type` to `application/json`. The text is sent
    /// unchanged, even if it is not valid JSON.
    pub fn json(self, text: impl Into<String>) -> Self {
        self.header("content-type", "application/json")
            .body(text.into())
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request, and returns the response with its complete body.
    ///
    /// # Panics
    ///
    /// Panics if the path or a header field is invalid, or if there is no complete response within
    /// 20 seconds.
    pub async fn send(self) -> ClientResponse {
        let (method, uri) = (
            self.request.method_ref().cloned(),
            self.request.uri_ref().cloned(),
        );
        match self.try_send().await {
            Ok(response) => response,
            Err(error) => panic!("{method:?} {uri:?}: no response: {error}"),
        }
    }

    /// Sends the request, and returns an error if there is no response. Use it if the server may be
    /// killed before it responds.
    ///
    /// # Errors
    ///
    /// Returns [`TimedOut`](io::ErrorKind::TimedOut) if there is no complete response within 20
    /// seconds. Returns an error of another kind if the server refuses the connection, or closes it
    /// before the response is complete.
    ///
    /// # Panics
    ///
    /// Panics if the path or a header field is invalid.
    pub async fn try_send(self) -> io::Result<ClientResponse> {
        let request = self
            .request
            .body(Full::new(self.body))
            .expect("a valid path and valid fields");
        let receive = async {
            let (head, body) = self
                .client
                .pool
                .request(request)
                .await
                .map_err(io::Error::other)?
                .into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(ClientResponse {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        timeout(TIMEOUT, receive)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
