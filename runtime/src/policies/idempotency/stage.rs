//! A run under a key: its record is begun, and settled.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::decide::Settlement;
use super::heart::{Guard, Heart};
use super::identity::Identities;
use super::kept::{Kept, MOST_FIELDS};
use super::key;
use super::seal::Names;
use super::spec::IdempotencySpec;
use super::store::{
    Begin, Begun, Complete, Completed, Fingerprint, IdempotencyStore, Lease, Outcome, RecordKey, Token,
};
use crate::extract::body;
use crate::facet::StoreError;
use crate::pipeline::{Context, Shared};
use crate::problem::{Answer, Origin, Problem, registry};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key of a request that takes part in idempotency.
pub(crate) fn key(context: &Context, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(spec) = context.mounted().idempotency else { return Ok(None) };
    match key::key_of(headers)? {
        None if spec.optional => Ok(None),
        None => Err(key::missing(spec.ttl)),
        Some(_) if context.caller().is_none() && !spec.anonymous => Err(key::without_caller()),
        Some(key) if context.caller().is_none() => key::check_anonymous(&key).map(|()| Some(key)),
        Some(key) => Ok(Some(key)),
    }
}

/// Which record a request wants, and what the request is.
#[derive(Debug)]
pub(crate) struct Ticket {
    name: Named,
    /// The same by the other secret, while it is rotated.
    other: Option<Named>,
}

#[derive(Debug)]
struct Named {
    record: RecordKey,
    fingerprint: Fingerprint,
}

impl Ticket {
    pub(crate) fn new(context: &Context, key: &str, head: &Parts, body: &Bytes) -> Self {
        let fields = context.mounted().idempotency.map_or(&[][..], |spec| spec.headers);
        let method = context.spec().method.as_str();
        let named = |identities: &Identities| Named {
            record: identities.record(context.caller(), method, context.route(), key),
            fingerprint: identities.fingerprint(head, fields, body),
        };
        let Shared { identities, other_identities, .. } = context.shared();
        Self { name: named(identities), other: other_identities.as_ref().map(named) }
    }

    fn begin(self, spec: &IdempotencySpec, lease: Duration) -> Begin {
        let Named { record, fingerprint } = self.name;
        let mut begin = Begin::new(record, fingerprint, Token::random(), lease, spec.on_crash, spec.ttl);
        if let Some(other) = self.other {
            begin.earlier.push(other.fingerprint);
            begin.aliases.push(other.record);
        }
        begin
    }
}

/// A run that wants to begin.
#[derive(Debug)]
pub(crate) struct Candidate(Settler);

impl Candidate {
    pub(crate) fn new(context: &Context, ticket: Ticket) -> Self {
        let spec = context.mounted().idempotency.unwrap_or_default();
        let begin = ticket.begin(&spec, context.shared().lease);
        Self(Settler { context: context.clone(), begin, keep: spec.keep })
    }

    /// What the store is asked.
    pub(crate) const fn request(&self) -> &Begin {
        &self.0.begin
    }

    /// Takes the record for the run, or answers what is there.
    pub(crate) async fn begin(self) -> Result<Held, Answer> {
        let found = self.0.records().begin(self.request()).await;
        self.met(found)
    }

    /// Holds the record where the store has given it, or answers what it has found.
    #[expect(clippy::result_large_err, reason = "it goes to the client as it is")]
    pub(crate) fn met(self, found: Result<Begun, StoreError>) -> Result<Held, Answer> {
        let Self(settler) = self;
        match found.and_then(|found| settler.names().readable(found)) {
            Ok(Begun::Started) => Ok(settler.hold(false)),
            Ok(Begun::StartedAs(name)) => Ok(settler.under(name).hold(true)),
            Ok(found) => Err(answer(found, settler.begin.key)),
            Err(error) => Err(settler.begin_failed(&error)),
        }
    }
}

/// A record that is RUNNING for this request. Its lease is renewed while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    settler: Settler,
    beat: Option<Guard>,
}

impl Held {
    /// Settles the record with the answer of the run.
    pub(crate) async fn settle(self, answer: Answer, settlement: Settlement) -> Answer {
        self.settler.settle(answer, settlement, self.beat).await
    }
}

/// Settles a run with its record.
#[derive(Debug, Clone)]
struct Settler {
    context: Context,
    begin: Begin,
    /// The largest body that is kept, in bytes.
    keep: u64,
}

/// What the store has to be told of a run.
#[derive(Debug)]
enum Word {
    Abort,
    /// Under whatever name it may have been taken, with how long a late `begin` must be refused.
    GiveBack(Duration),
    Complete(Complete),
}

impl Settler {
    fn records(&self) -> &dyn IdempotencyStore {
        &*self.context.shared().facets.records
    }

    fn names(&self) -> Names<'_> {
        Names::new(&self.begin.key, &self.begin.aliases)
    }

    /// The same run, whose record stands under this alias, with the fingerprint that belongs to it.
    fn under(mut self, name: RecordKey) -> Self {
        let Begin { key, fingerprint, aliases, earlier, .. } = &mut self.begin;
        let other = aliases.iter_mut().zip(earlier).find(|(alias, _)| **alias == name);
        if let Some((alias, earlier)) = other {
            core::mem::swap(key, alias);
            core::mem::swap(fingerprint, earlier);
        }
        self
    }

    /// Holds the record, whose name may be by the other secret.
    fn hold(self, other: bool) -> Held {
        self.context.set_record(self.begin.key, other);
        let hold = |heart: &Heart| heart.hold(self.begin.lease(), self.begin.ttl);
        let beat = self.context.shared().heart.as_ref().map(hold);
        Held { settler: self, beat }
    }

    /// If the record may have been taken all the same, it is given back, for as long as that takes.
    fn begin_failed(self, error: &StoreError) -> Answer {
        let problem = Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error);
        if matches!(error, StoreError::Full) {
            // There is room again when records expire, which is not soon.
            return Answer::refused(problem.with_retry_after(Duration::from_mins(1)));
        }
        if error.is_ambiguous() {
            let marker = self.context.shared().lease;
            self.insist(Word::GiveBack(marker), None);
        }
        Answer::refused(problem)
    }

    async fn settle(&self, answer: Answer, settlement: Settlement, beat: Option<Guard>) -> Answer {
        match settlement {
            // Its own `begin` was confirmed; whether a copy can be late, the store knows.
            Settlement::Abort => self.say(Word::Abort, answer, beat).await,
            Settlement::Unknown => {
                tracing::warn!(record = %self.begin.key, "a run ended, and nobody knows its effect");
                self.say(self.outcome(Outcome::Unknown), answer, beat).await
            }
            Settlement::Keep => match keep(answer.response, self.keep).await {
                Ok((kept, response)) => {
                    let word = self.outcome(Outcome::Response(kept));
                    self.say(word, Answer { response, ..answer }, beat).await
                }
                Err(problem) => self.say(self.outcome(Outcome::Unknown), Answer::failed(problem), beat).await,
            },
        }
    }

    fn outcome(&self, outcome: Outcome) -> Word {
        Word::Complete(self.complete(outcome))
    }

    fn complete(&self, outcome: Outcome) -> Complete {
        let Begin { fingerprint, earlier, aliases, .. } = &self.begin;
        Complete::new(self.begin.lease(), *fingerprint, outcome, self.begin.ttl)
            .with_earlier(earlier.clone())
            .with_aliases(aliases.clone())
    }

    /// Tells the store. While it does not answer the client has its response, the lease is renewed
    /// and the store is told again; a run that lost its record answers what is there.
    async fn say(&self, word: Word, answer: Answer, beat: Option<Guard>) -> Answer {
        match self.tell(&word).await {
            Ok(Completed::Written) => answer,
            Ok(Completed::Lost(found)) => self::answer(found, self.begin.key),
            Err(error) => {
                tracing::warn!(%error, record = %self.begin.key, "a record could not be settled yet");
                if !error.is_about_the_key() {
                    self.clone().insist(word, beat);
                }
                answer
            }
        }
    }

    async fn tell(&self, word: &Word) -> Result<Completed, StoreError> {
        match word {
            Word::Complete(complete) => match self.records().complete(complete).await? {
                Completed::Lost(found) => self.names().readable(found).map(Completed::Lost),
                Completed::Written => Ok(Completed::Written),
            },
            Word::Abort => self.abort(self.begin.key, Duration::ZERO).await,
            Word::GiveBack(marker) => {
                for alias in &self.begin.aliases {
                    self.abort(*alias, Duration::ZERO).await?;
                }
                self.abort(self.begin.key, *marker).await
            }
        }
    }

    async fn abort(&self, key: RecordKey, marker: Duration) -> Result<Completed, StoreError> {
        let lease = Lease { key, token: self.begin.token };
        self.records().abort(lease, marker).await.map(|()| Completed::Written)
    }

    /// Tells the store until it has understood, unless it answers with errors for a lease. A service
    /// that shuts down waits for that no longer than half a lease; what it could not tell by then,
    /// the end of the lease tells.
    fn insist(self, word: Word, beat: Option<Guard>) {
        let tracker = self.context.shared().tracker.clone();
        let insisting = self.insisting(tracker.clone(), word, beat);
        tracker.spawn(insisting.in_current_span());
    }

    async fn insisting(self, tracker: TaskTracker, word: Word, beat: Option<Guard>) {
        let _beat = beat;
        let (started, lease) = (Instant::now(), self.context.shared().lease);
        let mut pause = Duration::from_millis(50);
        loop {
            sleep(pause).await;
            let Err(error) = self.tell(&word).await else { return };
            let patience = match () {
                () if tracker.is_closed() => lease / 2,
                () if error.is_outage() => Duration::MAX,
                () => lease,
            };
            if error.is_about_the_key() || started.elapsed() >= patience {
                return tracing::error!(%error, record = %self.begin.key, "a record is not settled");
            }
            pause = (pause * 2).min(Duration::from_secs(1)).min(lease / 4);
        }
    }
}

/// What a request is answered whose record is there already.
fn answer(found: Begun, record: RecordKey) -> Answer {
    match found {
        Begun::Done(kept) => Answer { response: replay(&kept), origin: Origin::Handler },
        Begun::InFlight => Answer::refused(Problem::new(&registry::IDEMPOTENCY_IN_FLIGHT)),
        Begun::Mismatch => Answer::refused(
            Problem::new(&registry::IDEMPOTENCY_KEY_REUSED)
                .with_detail("the key was used for another request; draw a new one for each operation"),
        ),
        Begun::Unknown => Answer::refused(
            Problem::new(&registry::IDEMPOTENCY_OUTCOME_UNKNOWN).with_cause(&OutcomeUnknown(record)),
        ),
        Begun::Started | Begun::StartedAs(_) | Begun::Aborted => {
            Answer::refused(Problem::new(&registry::STORE_UNAVAILABLE))
        }
    }
}

/// What the log says of a request that nobody can answer.
#[derive(Debug)]
struct OutcomeUnknown(RecordKey);

impl fmt::Display for OutcomeUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run under the record {} died, failed or took too long", self.0)
    }
}

impl Error for OutcomeUnknown {}

/// The first answer once more.
fn replay(kept: &Kept) -> Response {
    let mut response = kept.body().map_or_else(|| without_body(kept), |body| whole(kept, body));
    if kept.status().as_u16() >= 400 && response.body().is_end_stream() {
        response.extensions_mut().insert(not_retryable(kept.status()));
    }
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn whole(kept: &Kept, body: &Bytes) -> Response {
    let mut response = Response::new(Body::from(body.clone()));
    *response.status_mut() = kept.status();
    let fields = kept.headers();
    // With room for what a replay says of itself.
    let mut headers = HeaderMap::with_capacity(fields.len().min(MOST_FIELDS) + 6);
    for (name, value) in fields {
        headers.append(name.clone(), value.clone());
    }
    *response.headers_mut() = headers;
    response
}

/// What is left of an answer whose body was not kept: of a success, where it can be read. What did
/// not succeed keeps its status, so that nobody takes it for a success.
fn without_body(kept: &Kept) -> Response {
    let (status, location) = (kept.status(), kept.headers().find(|(name, _)| *name == LOCATION));
    if status.is_client_error() {
        return not_retryable(status)
            .with_detail("the first answer said more, which was too large to keep")
            .into_response();
    }
    if status.is_success() && location.is_none() {
        return Problem::new(&registry::IDEMPOTENCY_RESPONSE_NOT_RETAINED).into_response();
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if status.is_success() { StatusCode::SEE_OTHER } else { status };
    response.headers_mut().extend(location.map(|(name, value)| (name.clone(), value.clone())));
    response
}

/// The problem of an error that is kept without a document of its own.
fn not_retryable(status: StatusCode) -> Problem {
    Problem::new(&registry::for_status(status.as_u16()).with_retryable(false))
}

/// A response as it is kept, and the same to send. A body of unknown length, or of more than `limit`
/// bytes, goes to the first caller only.
async fn keep(response: Response, limit: u64) -> Result<(Kept, Response), Problem> {
    let (head, body) = response.into_parts();
    if body.size_hint().exact().is_none_or(|length| length > limit) {
        return Ok((Kept::new(&head, None), Response::from_parts(head, body)));
    }
    match body::whole(body).await {
        Ok(bytes) => {
            let kept = Kept::new(&head, Some(bytes.clone()));
            Ok((kept, Response::from_parts(head, Body::from(bytes))))
        }
        Err(error) => Err(Problem::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::LINK;

    use super::*;
    use crate::problem::rewrite;

    #[test]
    fn a16_no_replay_is_retryable() {
        for status in 200..600 {
            let status = StatusCode::from_u16(status).expect("a status");
            for body in [None, Some(Bytes::new())] {
                let kept = Kept::restored(status, Vec::new(), body).expect("kept fields");
                let told = rewrite(&mut replay(&kept), Origin::Handler);
                assert!(told.is_none_or(|problem| problem.spec().retryable == Some(false)), "{status}");
            }
        }
    }

    #[test]
    fn a20_an_answer_of_very_many_fields_is_replayed() {
        for count in [0, 1, MOST_FIELDS, 30_000] {
            let mut response = Response::new(());
            for _ in 0..count {
                response.headers_mut().append(LINK, HeaderValue::from_static("</a>"));
            }
            let kept = Kept::new(&response.into_parts().0, Some(Bytes::new()));
            assert_eq!(replay(&kept).headers().get_all(LINK).iter().count(), count);
        }
    }

    #[test]
    fn a20_a_restored_answer_leaves_room_for_what_a_replay_says_of_itself() {
        let fields = (0..MOST_FIELDS).map(|number| {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            (name, HeaderValue::from_static("a"))
        });
        let kept = Kept::restored(StatusCode::OK, fields.collect(), Some(Bytes::new())).expect("kept fields");
        assert_eq!(replay(&kept).headers().len(), MOST_FIELDS + 2);
    }
}
