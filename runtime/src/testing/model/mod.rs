//! A model of idempotency records, and a function that compares a store with it.
//!
//! A script has several clients that act on a few keys. Clients begin, renew and settle runs, and
//! are paused and killed. Replies are lost, requests arrive late, time passes, and the store can
//! lose all its data.
//!
//! Each reply of the store is checked twice. The model computes the reply that the rules demand.
//! The history checks, without the model, that a reply does not contradict the earlier replies of
//! the store. Each of the two checks can therefore find a mistake in the other one.
//!
//! A script is a slice of [`Step`]. Generate scripts with a tool such as `proptest`:
//!
//! ```
//! use std::sync::Arc;
//! use aplomb::store::MemoryRecords;
//! use aplomb::testing::TestClock;
//! use aplomb::testing::model::{Network, Request, Span, Step, follows_the_model};
//! # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
//!
//! let clock = TestClock::new();
//! let fresh = async || Arc::new(MemoryRecords::with_bounds(1_000, 1 << 20, Arc::new(clock.clone())));
//! let begin = |client, network| Step::Begin { client, request: Request::default(), network };
//! let script = [
//!     begin(0, Network::LosesReply),
//!     begin(1, Network::Fine),
//!     Step::Abort { client: 0 },
//!     Step::Elapse(Span::Lapse),
//!     begin(1, Network::Fine),
//! ];
//! let checked = follows_the_model(fresh, &clock, &script).await;
//! assert!(checked.is_ok(), "{}", checked.unwrap_err());
//! # });
//! ```

mod call;
mod client;
mod history;
mod rules;
mod script;

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use self::call::{Call, Reply, execute};
use self::client::Clients;
use self::history::History;
use self::rules::Model;
pub use self::script::{Network, Request, Span, Step};
use super::Elapse;
use crate::policies::idempotency::IdempotencyStore;
use crate::store::StoreError;

/// The lease of every run.
///
/// Real time can also pass for the store between two steps. It must not change the result of a
/// script, so no step happens within five seconds of an expiry. Every [`Span`] is a multiple of 15
/// s, and `LEASE`, [`TTL`] and their sum are each at least 5 s away from a multiple of 15 s.
pub const LEASE: Duration = Duration::from_secs(65);

/// The time to live of every response and of every unknown outcome.
pub const TTL: Duration = Duration::from_secs(605);

/// Runs a script against a store and the model, and compares their replies.
///
/// `fresh` returns the store without records: a new store, or the same store after it was emptied.
/// It is called at the start and at every [`Step::LoseData`]. `time` advances the time of the store. A
/// step that its client cannot do is skipped, for example because the client was killed.
///
/// # Errors
///
/// Returns the first reply that differs from the model or breaks a rule, with all steps up to this
/// reply.
pub async fn follows_the_model<S: IdempotencyStore>(
    fresh: impl AsyncFn() -> Arc<S>,
    time: &impl Elapse,
    script: &[Step],
) -> Result<(), Deviation> {
    let mut playback = Playback::new(fresh().await);
    for step in script {
        match step {
            Step::Elapse(span) => playback.elapse(*span, time).await,
            Step::LoseData => playback.lose(fresh().await),
            step => playback.run(step).await?,
        }
    }
    Ok(())
}

/// The state of a script that is running.
struct Playback<S> {
    store: Arc<S>,
    clients: Clients,
    model: Model,
    history: History,
    trace: Vec<TraceLine>,
}

/// A step, and the store's reply if the step called the store.
#[derive(Debug, Clone)]
struct TraceLine(Step, Option<Result<Reply, StoreError>>);

impl<S: IdempotencyStore> Playback<S> {
    fn new(store: Arc<S>) -> Self {
        let (clients, model, history) = (Clients::default(), Model::default(), History::default());
        Self {
            store,
            clients,
            model,
            history,
            trace: Vec::new(),
        }
    }

    async fn elapse(&mut self, span: Span, time: &impl Elapse) {
        self.trace.push(TraceLine(Step::Elapse(span), None));
        time.elapse(span.duration()).await;
        self.model.elapse(span.duration());
        self.history.elapse(span.duration());
    }

    fn lose(&mut self, store: Arc<S>) {
        self.trace.push(TraceLine(Step::LoseData, None));
        self.store = store;
        self.model.lose();
        self.history.lose();
    }

    async fn run(&mut self, step: &Step) -> Result<(), Deviation> {
        let Some(call) = self.clients.call(step) else {
            return Ok(());
        };
        let reply = execute(&*self.store, &call).await;
        self.trace
            .push(TraceLine(step.clone(), Some(reply.clone())));
        let reply = reply.map_err(|_| self.deviation("the store returned an error"))?;
        self.check(&call, &reply)?;
        self.clients.record_reply(&call, &reply);
        Ok(())
    }

    fn check(&mut self, call: &Call, reply: &Reply) -> Result<(), Deviation> {
        let (checked, expected) = (self.history.check(call, reply), self.model.apply(call));
        if let Err(rule) = checked {
            return Err(self.deviation(rule));
        }
        if expected != *reply {
            return Err(self.deviation(&format!("the model expects {expected:?}")));
        }
        Ok(())
    }

    fn deviation(&self, problem: &str) -> Deviation {
        Deviation {
            problem: problem.to_owned(),
            trace: self.trace.clone(),
        }
    }
}

/// A difference between a store and the rules, with the steps that led to it.
#[derive(Debug)]
pub struct Deviation {
    problem: String,
    trace: Vec<TraceLine>,
}

/// Writes the problem of the last step, and then all steps in order with the store's replies.
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        self.trace
            .iter()
            .enumerate()
            .try_for_each(|(index, line)| write!(f, "\n  {:>2} {line}", index + 1))
    }
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(step, None) => write!(f, "{step}"),
            Self(step, Some(Ok(reply))) => write!(f, "{step}: {reply:?}"),
            Self(step, Some(Err(error))) => write!(f, "{step}: {error:?}"),
        }
    }
}

impl Error for Deviation {}
