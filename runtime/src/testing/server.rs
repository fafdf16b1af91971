use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Client;
use crate::api::Api;
use crate::serve::accept::{self, ServerLimits, ShutdownOutcome, ShutdownSignals};
use crate::serve::request_checks::RequestChecks;
use crate::start::{StartError, StartErrors};

/// An API that is served on a free port of the loopback interface, in the same way as by
/// [`serve`](crate::serve()).
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
/// assert_eq!(server.client().get("/health").send().await.text(), "ok");
/// assert!(server.stop().await);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<ShutdownOutcome>,
}

/// A shutdown signal that a test sends, at most once.
struct StopSignal(Option<oneshot::Receiver<()>>);

impl ShutdownSignals for StopSignal {
    async fn requested(&mut self) {
        match self.0.take() {
            Some(stopped) => drop(stopped.await),
            None => core::future::pending().await,
        }
    }
}

/// The limits of the server. The times are shorter than the defaults of [`serve`](crate::serve()),
/// so that a test of a timeout is short. On a loaded machine, a test still sends a head within 5 s,
/// and ends its requests within 10 s.
const LIMITS: ServerLimits = ServerLimits {
    head: Duration::from_secs(5),
    response: Duration::from_secs(5),
    grace: Duration::from_secs(10),
    connections: 1000,
};

impl TestServer {
    /// Starts to serve the API with this state. The API is served until [`stop`](Self::stop) or
    /// until the `TestServer` is dropped.
    ///
    /// # Errors
    ///
    /// Returns all errors that keep the API from starting, like [`Api::into_router`].
    pub async fn start<S: Clone + Send + Sync + 'static>(
        api: Api<S>,
        state: S,
    ) -> Result<Self, StartErrors> {
        let (tracker, base) = (api.tracker(), api.problem_base_or_default());
        let prepared = api.prepare().await;
        let proxies = prepared.proxies();
        let checks = RequestChecks::new(base, proxies, prepared.into_router(state)?);
        let start_error =
            |error: std::io::Error| StartErrors::from(StartError::new(error.to_string()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(start_error)?;
        let address = listener.local_addr().map_err(start_error)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            accept::serve_until(
                listener,
                checks,
                StopSignal(Some(stopped)),
                LIMITS,
                &tracker,
            )
            .await
        });
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Returns the address that the server listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a client of this server.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Returns the URL of a path, such as `http://127.0.0.1:49152/v1/orders` for `/v1/orders`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops the server in the same way as SIGTERM stops a service. Returns `true` if every open
    /// request got its response within 10 s.
    pub async fn stop(self) -> bool {
        // If the send fails, the receiver was dropped, so the server has ended already.
        let _ = self.stop.send(());
        matches!(self.task.await, Ok(ShutdownOutcome::Finished))
    }
}
