//! The service under test and its parts.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aplomb::Secret;
use aplomb::policies::idempotency::IdempotencyStore;
use aplomb::prelude::*;
use aplomb::store::{MemoryLimits, Store};
use aplomb::testing::{Client, FaultyLimits, FaultyRecords, TestServer};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::records::{ServiceClock, new_records};

/// The state of the handlers. It counts their effects, and it can hold a handler until the test
/// releases it.
#[derive(Clone, Default)]
pub(crate) struct App(Arc<Inner>);

#[derive(Default)]
struct Inner {
    effects: AtomicUsize,
    called: AtomicBool,
    entered: Notify,
    released: Notify,
}

impl App {
    /// Counts an effect, and returns the number of earlier effects.
    pub(crate) fn effect(&self) -> usize {
        self.0.effects.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn effects(&self) -> usize {
        self.0.effects.load(Ordering::SeqCst)
    }

    /// Returns `true` for the first call only.
    pub(crate) fn is_first_call(&self) -> bool {
        !self.0.called.swap(true, Ordering::SeqCst)
    }

    /// Holds the handler until the test calls [`App::release`].
    pub(crate) async fn hold(&self) {
        self.0.entered.notify_one();
        self.0.released.notified().await;
    }

    /// Waits until a handler is held.
    pub(crate) async fn until_held(&self) {
        timeout(Duration::from_secs(20), self.0.entered.notified())
            .await
            .expect("a held handler within 20 s");
    }

    /// Releases one held handler.
    pub(crate) fn release(&self) {
        self.0.released.notify_one();
    }
}

/// Serves a router on a free port until the test ends.
pub(crate) async fn serve(router: Router) -> Client {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    Client::new(address)
}

/// A running service, with the clock, the stores and the client that a test uses.
pub(crate) struct TestService {
    pub(crate) app: App,
    pub(crate) client: Client,
    pub(crate) clock: ServiceClock,
    pub(crate) records: FaultyRecords<Arc<dyn IdempotencyStore>>,
    pub(crate) limits: FaultyLimits<Arc<MemoryLimits>>,
    pub(crate) server: TestServer,
}

pub(crate) const ALICE: &str = "sk_test_alice";
pub(crate) const BOB: &str = "sk_test_bob";

impl TestService {
    pub(crate) async fn start(routes: Routes<App>) -> Self {
        Self::start_with(routes, |api| api).await
    }

    pub(crate) async fn start_with(
        routes: Routes<App>,
        adjust: impl FnOnce(Api<App>) -> Api<App>,
    ) -> Self {
        let (records, clock) = new_records().await;
        let limits = MemoryLimits::with_capacity(1 << 12, Arc::new(clock.test_clock()));
        let shared = SharedParts {
            records: FaultyRecords::new(records),
            limits: FaultyLimits::new(Arc::new(limits)),
            app: App::default(),
            clock,
        };
        let api = adjust(shared.configure(Api::new("test", routes)));
        let server = TestServer::start(api, shared.app.clone())
            .await
            .expect("a valid API");
        let SharedParts {
            records,
            limits,
            app,
            clock,
        } = shared;
        Self {
            app,
            client: Client::new(server.address()),
            clock,
            records,
            limits,
            server,
        }
    }

    /// Configures another API with the same store, secret and callers.
    pub(crate) fn configure(&self, api: Api<App>) -> Api<App> {
        let (records, limits) = (self.records.clone(), self.limits.clone());
        SharedParts {
            records,
            limits,
            app: self.app.clone(),
            clock: self.clock.clone(),
        }
        .configure(api)
    }
}

/// The parts that all instances of the service share.
struct SharedParts {
    records: FaultyRecords<Arc<dyn IdempotencyStore>>,
    limits: FaultyLimits<Arc<MemoryLimits>>,
    app: App,
    clock: ServiceClock,
}

impl SharedParts {
    fn configure(&self, api: Api<App>) -> Api<App> {
        let store = Store::new(
            Arc::new(self.limits.clone()),
            Arc::new(self.records.clone()),
        );
        let keys = ApiKeys::parse(&format!("alice:{ALICE},bob:{BOB}")).expect("valid keys");
        let secret = Secret::new([7; 32]).expect("long enough");
        api.store(store)
            .auth(keys)
            .secret(secret)
            .clock(self.clock.test_clock())
    }
}
