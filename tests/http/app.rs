//! The service under test, and the parts of its running.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use aplomb::prelude::*;
use aplomb::store::{MemoryLimits, MemoryRecords, Store};
use aplomb::testing::{FaultyRecords, TestClock, TestServer};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::client::Client;

/// What the handlers count, and wait for.
#[derive(Clone, Default)]
pub(crate) struct App(Arc<Inner>);

#[derive(Default)]
struct Inner {
    effects: AtomicUsize,
    entered: Notify,
    gate: Notify,
}

impl App {
    /// Has an effect; gives how many there were before.
    pub(crate) fn effect(&self) -> usize {
        self.0.effects.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn effects(&self) -> usize {
        self.0.effects.load(Ordering::SeqCst)
    }

    /// What a handler does that the test holds: says that it is there, and waits to be let go.
    pub(crate) async fn hold(&self) {
        self.0.entered.notify_one();
        self.0.gate.notified().await;
    }

    /// Waits until a handler is held.
    pub(crate) async fn held(&self) {
        timeout(Duration::from_secs(20), self.0.entered.notified()).await.expect("a handler in time");
    }

    /// Lets one held handler go.
    pub(crate) fn let_go(&self) {
        self.0.gate.notify_one();
    }
}

/// A running service, with all that a test moves.
pub(crate) struct Bench {
    pub(crate) app: App,
    pub(crate) client: Client,
    pub(crate) clock: TestClock,
    pub(crate) records: FaultyRecords<Arc<MemoryRecords>>,
    pub(crate) server: TestServer,
}

pub(crate) const ALICE: &str = "sk_test_alice";
pub(crate) const BOB: &str = "sk_test_bob";

impl Bench {
    pub(crate) async fn start(routes: Routes<App>) -> Self {
        Self::start_with(routes, |api| api).await
    }

    pub(crate) async fn start_with(routes: Routes<App>, adjust: impl FnOnce(Api<App>) -> Api<App>) -> Self {
        let (app, clock) = (App::default(), TestClock::new());
        let memory = MemoryRecords::with_bounds(1000, 1 << 24, Arc::new(clock.clone()));
        let records = FaultyRecords::new(Arc::new(memory));
        let limits = MemoryLimits::with_capacity(1 << 12, Arc::new(clock.clone()));
        let store = Store::new(Arc::new(limits), Arc::new(records.clone()));
        let keys = ApiKeys::parse(&format!("alice:{ALICE},bob:{BOB}")).expect("valid keys");
        let api = adjust(Api::new("Test", routes).store(store).auth(keys));
        let server = TestServer::start(api, app.clone()).await.expect("a valid API");
        Self { app, client: Client::new(server.address()), clock, records, server }
    }
}
