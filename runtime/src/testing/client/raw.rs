use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::testing::wait::PATIENCE;

/// A TCP connection, byte by byte: for requests that are wrong, incomplete or slow.
///
/// Every read has 20 seconds, and panics after that.
///
/// ```
/// use aplomb::prelude::*;
/// use aplomb::testing::TestServer;
///
/// /// Says that the service lives.
/// #[endpoint(get = "/health", public)]
/// async fn health() -> &'static str {
///     "well"
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), aplomb::StartErrors> {
/// let server = TestServer::start(Api::new("example", routes![health]), ()).await?;
/// let mut raw = server.client().raw().await;
/// raw.write("GET /health HTTP/1.1\r\n").await;
/// raw.write("host: example.com\r\n\r\n").await;
/// let response = raw.response().await;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nwell"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    /// What was read and not returned yet.
    read: Vec<u8>,
}

impl RawConnection {
    /// Connects. What is written is sent at once (`TCP_NODELAY`).
    ///
    /// # Panics
    ///
    /// If nobody accepts the connection within 20 seconds.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = stream
            .expect("a connection in time")
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
    /// If the server has closed the connection.
    pub async fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes()).await;
    }

    /// Sends bytes.
    ///
    /// # Panics
    ///
    /// If the server has closed the connection.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    /// Sends bytes, and reads all that comes until the server closes the connection, or breaks it. The
    /// server may do so before it has read everything.
    pub async fn exchange(mut self, bytes: &[u8]) -> Vec<u8> {
        // What the server has answered before it stopped reading is still there.
        let _ = self.stream.write_all(bytes).await;
        self.rest().await
    }

    /// Closes the connection for writing; the server can still answer.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    pub async fn end(&mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// Reads one HTTP response, whose body has the length that its `Content-Length` says, or is empty.
    ///
    /// # Panics
    ///
    /// If the connection ends before, or the response is not UTF-8.
    pub async fn response(&mut self) -> String {
        loop {
            if let Some(length) = response_length(&self.read) {
                return String::from_utf8(self.take(length)).expect("UTF-8");
            }
            self.read_some().await;
        }
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    ///
    /// If the connection ends before.
    pub async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            self.read_some().await;
        }
        self.take(length)
    }

    /// Reads a part of what comes, and keeps it for the next call that returns something.
    ///
    /// # Panics
    ///
    /// If the connection ends before.
    pub async fn read_some(&mut self) {
        let mut part = vec![0; 1 << 16];
        let count = timeout(PATIENCE, self.stream.read(&mut part)).await;
        let count = count
            .expect("an answer in time")
            .expect("the server writes");
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.read)
        );
        self.read.extend_from_slice(&part[..count]);
    }

    /// Reads all that comes until the server closes the connection, or breaks it.
    pub async fn rest(&mut self) -> Vec<u8> {
        // A connection that is reset has ended, too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut self.read))
            .await
            .expect("an end in time");
        self.take(self.read.len())
    }

    /// Waits until something comes, or the server closes the connection; returns whether it closes it.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(
            timeout(PATIENCE, self.stream.read(&mut byte))
                .await
                .expect("an end in time"),
            Ok(1)
        )
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.read.split_off(length);
        core::mem::replace(&mut self.read, rest)
    }
}

/// The length of the first response, if all of it is there.
fn response_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
    (bytes.len() >= head + body).then_some(head + body)
}
