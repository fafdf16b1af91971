//! An HTTP/2 client that controls each part of a request body.

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Response;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// An HTTP/2 connection.
pub(crate) struct Http2 {
    client: SendRequest<Bytes>,
    driving: JoinHandle<Result<(), h2::Error>>,
}

/// A request whose body is not complete yet.
pub(crate) struct Sending {
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Http2 {
    /// Connects to an origin such as `http://127.0.0.1:80`.
    pub(crate) async fn connect(origin: &str) -> Self {
        let address = origin.strip_prefix("http://").expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
        let driving = tokio::spawn(connection);
        Self { client, driving }
    }

    /// Sends the head of a request.
    pub(crate) async fn begin(&mut self, head: http::request::Builder) -> Sending {
        let request = head.body(()).expect("a request");
        let ready = self.client.clone().ready().await;
        self.client = ready.expect("an open connection");
        let (response, body) = self
            .client
            .send_request(request, false)
            .expect("an open connection");
        Sending { response, body }
    }

    /// Sends a request with a whole body, and returns the response.
    pub(crate) async fn send(
        &mut self,
        head: http::request::Builder,
        body: &[u8],
    ) -> Response<Bytes> {
        let mut sending = self.begin(head).await;
        sending.write(body, true).await;
        sending.response().await
    }

    /// Closes the connection.
    pub(crate) async fn close(self) {
        drop(self.client);
        let _ = self.driving.await;
    }
}

impl Sending {
    /// Sends a part of the body, as fast as the flow control allows. Stops if the server resets
    /// the stream.
    pub(crate) async fn write(&mut self, mut part: &[u8], is_last: bool) {
        if part.is_empty() && is_last {
            let _ = self.body.send_data(Bytes::new(), true);
        }
        while !part.is_empty() {
            self.body.reserve_capacity(part.len().min(16_384));
            let capacity = std::future::poll_fn(|context| self.body.poll_capacity(context)).await;
            let Some(Ok(capacity)) = capacity else { return };
            let (next, rest) = part.split_at(capacity.min(part.len()));
            part = rest;
            let data = Bytes::copy_from_slice(next);
            if self
                .body
                .send_data(data, is_last && part.is_empty())
                .is_err()
            {
                return;
            }
        }
    }

    /// Resets the stream.
    pub(crate) fn reset(mut self) {
        self.body.send_reset(h2::Reason::CANCEL);
    }

    /// Returns the response. Fails if the server resets the stream.
    pub(crate) async fn response(self) -> Response<Bytes> {
        let response = self.response.await.expect("a response");
        let (head, mut received) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(data) = received.data().await {
            let data = data.expect("a body");
            let _ = received.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        Response::from_parts(head, body.freeze())
    }
}
