//! A run under a key: begin, the handler, the settlement with the record.

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::decide::{Settlement, settle};
use super::kept::Kept;
use super::spec::IdempotencySpec;
use super::store::{
    Begin, Begun, Complete, Completed, Fingerprint, IdempotencyStore, Lease, Outcome, RecordKey, Token,
};
use crate::endpoint::{Answer, Origin};
use crate::pipeline::{Context, Run, decorate, handler, limits};
use crate::policies::rate_limit::Reading;
use crate::problem::{Problem, registry};
use crate::store::StoreError;

/// The largest body that is kept.
const MAX_KEPT: u64 = 1 << 20;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One request with a key, from its store trip to its settlement, in a task of its own.
pub(crate) struct KeyedRun {
    pub(crate) context: Context,
    pub(crate) run: Run,
    pub(crate) request: Request,
    pub(crate) record: RecordKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) spec: IdempotencySpec,
    /// Where the limits' readings go; `None` if they have decided already.
    pub(crate) limits: Option<Arc<OnceLock<Vec<Reading>>>>,
}

impl KeyedRun {
    /// Runs, tracked, to its end, whoever waits for it.
    pub(crate) fn spawn(self) -> JoinHandle<Answer> {
        let tracker = self.context.shared().tracker.clone();
        tracker.spawn(self.go().in_current_span())
    }

    async fn go(self) -> Answer {
        if let Some(readings) = &self.limits {
            let acquired = limits::acquire(&self.context, |all| drop(readings.set(all))).await;
            if let Err(problem) = acquired {
                return Answer::refused(problem);
            }
        }
        let begin = self.begin();
        let lease = Lease { key: begin.key, token: begin.token };
        let settler =
            Settler { context: self.context, lease, fingerprint: self.fingerprint, spec: self.spec };
        match settler.records().begin(&begin).await {
            Ok(Begun::Started) => {}
            Ok(found) => return answer(found),
            Err(error) => return settler.begin_failed(&error),
        }
        let guard = settler.context.shared().heart.as_ref().map(|heart| heart.hold(lease));
        let answer = handler::run((self.run)(self.request)).await;
        let answer = settler.settle(answer).await;
        drop(guard);
        answer
    }

    fn begin(&self) -> Begin {
        Begin {
            key: self.record,
            fingerprint: self.fingerprint,
            token: Token::random(),
            lease: self.context.shared().lease,
            on_crash: self.spec.on_crash,
            ttl: self.spec.ttl,
        }
    }
}

/// Settles a run with its record.
#[derive(Clone)]
struct Settler {
    context: Context,
    lease: Lease,
    fingerprint: Fingerprint,
    spec: IdempotencySpec,
}

/// What the store has to be told of a run.
#[derive(Debug)]
enum Word {
    Abort,
    Complete(Box<Complete>),
}

impl Settler {
    fn records(&self) -> &dyn IdempotencyStore {
        &*self.context.shared().facets.records
    }

    /// Whether the record was taken is not known: it is given back, for as long as that takes.
    fn begin_failed(self, error: &StoreError) -> Answer {
        let problem = Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error);
        if !matches!(error, StoreError::Full) {
            self.insist(Word::Abort);
        }
        Answer::refused(problem)
    }

    async fn settle(&self, mut answer: Answer) -> Answer {
        let effects = decorate::tell(&self.context, &mut answer);
        match settle(answer.origin, answer.response.status(), effects) {
            Settlement::Abort => self.say(Word::Abort, answer).await,
            Settlement::Unknown => self.say(self.outcome(Outcome::Unknown), answer).await,
            Settlement::Keep => match keep(answer.response).await {
                Ok((kept, response)) => {
                    let word = self.outcome(Outcome::Response(kept));
                    self.say(word, Answer { response, ..answer }).await
                }
                Err(problem) => self.say(self.outcome(Outcome::Unknown), Answer::failed(problem)).await,
            },
        }
    }

    fn outcome(&self, outcome: Outcome) -> Word {
        let (lease, fingerprint, ttl) = (self.lease, self.fingerprint, self.spec.ttl);
        Word::Complete(Box::new(Complete { lease, fingerprint, outcome, ttl }))
    }

    /// Tells the store. While it does not answer the client has its response and the store is told
    /// again; a run that lost its record answers what is there.
    async fn say(&self, word: Word, answer: Answer) -> Answer {
        match self.tell(&word).await {
            Ok(Completed::Written) => answer,
            Ok(Completed::Lost(found)) => self::answer(found),
            Err(error) => {
                tracing::warn!(%error, record = ?self.lease.key, "a record could not be settled yet");
                self.clone().insist(word);
                answer
            }
        }
    }

    async fn tell(&self, word: &Word) -> Result<Completed, StoreError> {
        match word {
            Word::Complete(complete) => self.records().complete(complete).await,
            Word::Abort => {
                let marker = self.context.shared().lease;
                self.records().abort(self.lease, marker).await.map(|()| Completed::Written)
            }
        }
    }

    /// Tells the store until it has understood, or the lease has ended in any case.
    fn insist(self, word: Word) {
        let tracker = self.context.shared().tracker.clone();
        let telling = async move {
            let end = Instant::now() + self.context.shared().lease;
            let mut pause = Duration::from_millis(50);
            while Instant::now() < end {
                sleep(pause).await;
                if self.tell(&word).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            tracing::error!(record = ?self.lease.key, "a record was not settled before its lease ended");
        };
        tracker.spawn(telling.in_current_span());
    }
}

/// What a request is answered whose record is there already.
fn answer(found: Begun) -> Answer {
    match found {
        Begun::Done(kept) => Answer { response: replay(&kept), origin: Origin::Handler },
        Begun::InFlight => Answer::refused(Problem::new(&registry::IDEMPOTENCY_IN_FLIGHT)),
        Begun::Mismatch => Answer::refused(
            Problem::new(&registry::IDEMPOTENCY_KEY_REUSED)
                .with_detail("the key was used for another request; draw a new one for each operation"),
        ),
        Begun::Unknown => Answer::refused(Problem::new(&registry::IDEMPOTENCY_OUTCOME_UNKNOWN)),
        Begun::Started | Begun::Aborted => Answer::refused(Problem::new(&registry::STORE_UNAVAILABLE)),
    }
}

/// The first answer once more.
fn replay(kept: &Kept) -> Response {
    let location = kept.headers().get(LOCATION);
    let mut response = match (kept.body(), location) {
        (Some(body), _) => {
            let mut response = Response::new(Body::from(body.clone()));
            *response.status_mut() = kept.status();
            *response.headers_mut() = kept.headers().clone();
            response
        }
        (None, Some(location)) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(LOCATION, location.clone());
            response
        }
        (None, None) => Problem::new(&registry::IDEMPOTENCY_RESPONSE_NOT_RETAINED).into_response(),
    };
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A response as it is kept, and the same to send. A body of unknown length, or a longer one than
/// is kept, goes to the first caller only.
async fn keep(response: Response) -> Result<(Kept, Response), Problem> {
    let (head, body) = response.into_parts();
    if body.size_hint().exact().is_none_or(|length| length > MAX_KEPT) {
        return Ok((Kept::new(&head, None), Response::from_parts(head, body)));
    }
    match body.collect().await {
        Ok(collected) => {
            let bytes: Bytes = collected.to_bytes();
            let kept = Kept::new(&head, Some(bytes.clone()));
            Ok((kept, Response::from_parts(head, Body::from(bytes))))
        }
        Err(error) => Err(Problem::internal(error)),
    }
}
