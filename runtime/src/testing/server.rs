use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Client;
use crate::api::Api;
use crate::serve::accept::{self, ServerTimeouts, ShutdownOutcome, ShutdownSignals};
use crate::serve::request_checks::RequestChecks;
use crate::start::{StartError, StartErrors};

/// An API on a free port of the loopback interface, served as [`serve`](crate::serve()) does.
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
/// assert_eq!(server.client().get("/health").send().await.text(), "well");
/// assert!(server.stop().await);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ShutdownOutcome>,
}

/// Asks once.
struct Once(Option<oneshot::Receiver<()>>);

impl ShutdownSignals for Once {
    async fn requested(&mut self) {
        match self.0.take() {
            Some(stopped) => drop(stopped.await),
            None => core::future::pending().await,
        }
    }
}

/// Heads must come within five seconds; requests may take ten to end once the server stops.
const PATIENCE: ServerTimeouts = ServerTimeouts {
    head: Duration::from_secs(5),
    grace: Duration::from_secs(10),
};

impl TestServer {
    /// Serves until [`stop`](Self::stop), or until it is dropped.
    ///
    /// # Errors
    ///
    /// All that keeps the API from starting.
    pub async fn start<S: Clone + Send + Sync + 'static>(
        api: Api<S>,
        state: S,
    ) -> Result<Self, StartErrors> {
        let (tracker, base) = (api.tracker(), api.problem_base_or_default());
        let prepared = api.prepare().await;
        let proxies = prepared.proxies();
        let front = RequestChecks::new(base, proxies, prepared.into_router(state)?);
        let refused = |error: std::io::Error| StartErrors::from(StartError::new(error.to_string()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            accept::serve_until(listener, front, Once(Some(stopped)), PATIENCE, &tracker).await
        });
        Ok(Self {
            address,
            stop,
            served,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops as a service does on SIGTERM; `true` if every request got its end.
    pub async fn stop(self) -> bool {
        // The receiver is there until the server has ended, and then there is nothing to stop.
        let _ = self.stop.send(());
        matches!(self.served.await, Ok(ShutdownOutcome::Finished))
    }
}
