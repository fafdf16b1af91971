use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::testing::wait::TIMEOUT;

/// A TCP connection for arbitrary bytes, such as invalid, incomplete or slow requests.
///
/// Reading methods panic if the server sends nothing for 20 seconds.
///
/// ```
/// use aplomb::prelude::*;
/// use aplomb::testing::TestServer;
///
/// /// Returns the health of the service.
/// #[endpoint(get = "/health", public)]
/// async fn health() -> &'static str {
///     "ok"
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), aplomb::StartErrors> {
/// let server = TestServer::start(Api::new("example", routes![health]), ()).await?;
/// let mut raw = server.client().raw().await;
/// raw.write("GET /health HTTP/1.1\r\n").await;
/// raw.write("host: example.com\r\n\r\n").await;
/// let response = raw.response().await;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nok"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    /// The bytes that were read, but not returned yet.
    read: Vec<u8>,
}

impl RawConnection {
    /// Connects to a server. Each write is sent immediately (`TCP_NODELAY`).
    ///
    /// # Panics
    ///
    /// Panics if the server does not accept the connection within 20 seconds.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(TIMEOUT, TcpStream::connect(address)).await;
        let stream = stream
            .expect("a connection within the timeout")
            .expect("the server accepts");
        stream.set_nodelay(true).expect("an open connection");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends text.
    ///
    /// # Panics
    ///
    /// Panics if the server has closed the connection.
    pub async fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes()).await;
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// Panics if the server has closed the connection.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    /// Sends bytes, and reads until the server closes or resets the connection. The server may
    /// close it before it has read all bytes.
    ///
    /// # Panics
    ///
    /// Panics if the server does not close the connection within 20 seconds.
    pub async fn exchange(mut self, bytes: &[u8]) -> Vec<u8> {
        // A write fails if the server stops reading early. The response that it sent before is
        // still readable.
        let _ = self.stream.write_all(bytes).await;
        self.rest().await
    }

    /// Closes the connection for writing (FIN). The server can still respond.
    ///
    /// # Panics
    ///
    /// Panics if the connection is already closed.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// Reads one HTTP response. The length of its body is its `Content-Length`, or zero if this
    /// field is missing. Chunked bodies are not supported.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends before the response is complete, or the response is not UTF-8.
    pub async fn response(&mut self) -> String {
        loop {
            if let Some(length) = response_length(&self.read) {
                return String::from_utf8(self.take(length)).expect("UTF-8");
            }
            self.read_some().await;
        }
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends before it has sent `length` bytes.
    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            self.read_some().await;
        }
        self.take(length)
    }

    /// Waits for the next bytes, and buffers them. The next method that returns bytes returns these
    /// bytes first.
    ///
    /// # Panics
    ///
    /// Panics if the connection ends before it has sent another byte.
    pub async fn read_some(&mut self) {
        let mut part = vec![0; 1 << 16];
        let count = timeout(TIMEOUT, self.stream.read(&mut part)).await;
        let count = count
            .expect("bytes within the timeout")
            .expect("the server writes");
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.read)
        );
        self.read.extend_from_slice(&part[..count]);
    }

    /// Reads until the server closes or resets the connection.
    ///
    /// # Panics
    ///
    /// Panics if the server does not close the connection within 20 seconds.
    pub async fn rest(&mut self) -> Vec<u8> {
        // An error means a reset, which also ends the connection. The bytes before the reset were
        // read.
        let _ = timeout(TIMEOUT, self.stream.read_to_end(&mut self.read))
            .await
            .expect("an end of the connection within the timeout");
        self.take(self.read.len())
    }

    /// Waits for the next byte or the end of the connection. Returns `true` if the connection has
    /// ended. A byte is discarded.
    ///
    /// # Panics
    ///
    /// Panics if neither happens within 20 seconds.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(
            timeout(TIMEOUT, self.stream.read(&mut byte))
                .await
                .expect("an end of the connection within the timeout"),
            Ok(1)
        )
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.read.split_off(length);
        core::mem::replace(&mut self.read, rest)
    }
}

/// Returns the length of the first response; `None` if it is not complete.
fn response_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
    (bytes.len() >= head + body).then_some(head + body)
}
