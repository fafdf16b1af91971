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
use super::wait::PATIENCE;

/// An HTTP/1.1 client of one server, which reuses its connections. Clones share them.
///
/// Any response is returned, whatever its status, and no redirect is followed. Requests that cannot be
/// sent, and those without a response within 20 seconds, panic, unless they are sent with
/// [`try_send`](ClientRequest::try_send).
///
/// ```
/// use aplomb::prelude::*;
/// use aplomb::testing::TestServer;
///
/// /// Greets somebody.
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

/// A request that a [`Client`] is about to send.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct ClientRequest {
    client: Client,
    request: http::request::Builder,
    body: Bytes,
}

impl Client {
    /// A client of the server at this address. It connects with its first request.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            address,
        }
    }

    /// The same client, but each request has a connection of its own.
    ///
    /// A server that stops closes idle connections, which a request that reuses one may notice too late.
    #[must_use]
    pub fn without_reuse(self) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        Self { pool, ..self }
    }

    /// The server's address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A GET request for a path, with its query if it has one.
    pub fn get(&self, path: &str) -> ClientRequest {
        self.request(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> ClientRequest {
        self.request(Method::POST, path)
    }

    /// A request of any method.
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

    /// Opens a connection for bytes that no well-behaved client sends.
    ///
    /// # Panics
    ///
    /// If the server does not accept it within 20 seconds.
    pub async fn raw(&self) -> RawConnection {
        RawConnection::connect(self.address).await
    }

    /// Waits until the server accepts no more connections, as it does soon after it was told to stop.
    ///
    /// # Panics
    ///
    /// If it still accepts them after 20 seconds.
    pub async fn until_refused(&self) {
        let refused = async || TcpStream::connect(self.address).await.is_err();
        eventually("connections are refused", refused).await;
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

    /// Sets the body to this text, and `Content-Type` to `application/json`. Whether the text is JSON
    /// is not checked.
    pub fn json(self, text: impl Into<String>) -> Self {
        self.header("content-type", "application/json")
            .body(text.into())
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request, and returns the response with its whole body.
    ///
    /// # Panics
    ///
    /// If the path or a field is invalid, or if there is no whole response within 20 seconds.
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

    /// Sends the request to a server that may not answer, such as one that is killed meanwhile.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if there is no whole response within 20 seconds, and
    /// another kind if the connection could not be made or ended before.
    ///
    /// # Panics
    ///
    /// If the path or a field is invalid.
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
        timeout(PATIENCE, receive)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
