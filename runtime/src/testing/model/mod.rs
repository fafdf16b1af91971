//! A model of the records of idempotency keys, and what compares a store with it.
//!
//! A script lets several clients act on a few keys: they begin, renew, settle, are paused and killed;
//! replies are lost, requests are late, time passes, and the store may lose all it has. Each answer
//! of the store is compared with the rules and, without them, with what the store itself
//! answered before. Generate the scripts with the tool of your choice, such as
//! `proptest`:
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

use self::call::{Answer, Call, ask};
use self::client::Clients;
use self::history::History;
use self::rules::Model;
pub use self::script::{Network, Request, Span, Step};
use super::Elapse;
use crate::policies::idempotency::IdempotencyStore;
use crate::store::StoreError;

/// The lease of every run. With the time to live and the steps of time it is such that no moment of
/// a script is within five seconds of the end of anything: every [`Span`] is a multiple of 15 s,
/// and neither of these nor their sum is. So it does not matter that a store's time passes
/// by itself, too.
pub const LEASE: Duration = Duration::from_secs(65);

/// The time to live of every answer.
pub const TTL: Duration = Duration::from_secs(605);

/// Plays the script against a store and the model.
///
/// `fresh` gives the store without any record. It is called at the start and wherever the script
/// loses what there is: it makes a new store, or empties the one there is. A step that its client
/// cannot do (it has not begun, or was killed) is left out.
///
/// # Errors
///
/// The first answer that is not the model's, or breaks a rule, with all that led there.
pub async fn follows_the_model<S: IdempotencyStore>(
    fresh: impl AsyncFn() -> Arc<S>,
    time: &impl Elapse,
    script: &[Step],
) -> Result<(), Deviation> {
    let mut play = Play::new(fresh().await);
    for step in script {
        match step {
            Step::Elapse(span) => play.elapse(*span, time).await,
            Step::Lose => play.lose(fresh().await),
            step => play.act(step).await?,
        }
    }
    Ok(())
}

/// A script being played.
struct Play<S> {
    store: Arc<S>,
    clients: Clients,
    model: Model,
    history: History,
    trace: Vec<Line>,
}

/// A step, and what the store answered if it was asked.
#[derive(Debug, Clone)]
struct Line(Step, Option<Result<Answer, StoreError>>);

impl<S: IdempotencyStore> Play<S> {
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
        self.trace.push(Line(Step::Elapse(span), None));
        time.elapse(span.duration()).await;
        self.model.elapse(span.duration());
        self.history.elapse(span.duration());
    }

    fn lose(&mut self, store: Arc<S>) {
        self.trace.push(Line(Step::Lose, None));
        self.store = store;
        self.model.lose();
        self.history.lose();
    }

    async fn act(&mut self, step: &Step) -> Result<(), Deviation> {
        let Some(call) = self.clients.call(step) else {
            return Ok(());
        };
        let answer = ask(&*self.store, &call).await;
        self.trace.push(Line(step.clone(), Some(answer.clone())));
        let answer = answer.map_err(|_| self.deviation("the store fails"))?;
        self.check(&call, &answer)?;
        self.clients.tell(&call, &answer);
        Ok(())
    }

    fn check(&mut self, call: &Call, answer: &Answer) -> Result<(), Deviation> {
        let (kept, right) = (self.history.add(call, answer), self.model.answer(call));
        if let Err(rule) = kept {
            return Err(self.deviation(rule));
        }
        if right != *answer {
            return Err(self.deviation(&format!("the model answers {right:?}")));
        }
        Ok(())
    }

    fn deviation(&self, what: &str) -> Deviation {
        Deviation {
            what: what.to_owned(),
            trace: self.trace.clone(),
        }
    }
}

/// A store does not do what the rules say.
#[derive(Debug)]
pub struct Deviation {
    what: String,
    trace: Vec<Line>,
}

/// What is wrong with the last step, and all steps in order, with the store's answers.
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.trace
            .iter()
            .enumerate()
            .try_for_each(|(index, line)| write!(f, "\n  {:>2} {line}", index + 1))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(step, None) => write!(f, "{step}"),
            Self(step, Some(Ok(answer))) => write!(f, "{step}: {answer:?}"),
            Self(step, Some(Err(error))) => write!(f, "{step}: {error:?}"),
        }
    }
}

impl Error for Deviation {}
