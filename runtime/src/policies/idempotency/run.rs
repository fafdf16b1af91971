//! One execution under a key, which is two types: a run that wants its record, and one that holds it.

use core::time::Duration;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::decide::Settlement;
use super::encryption::readable;
use super::identity::RecordNames;
use super::lease_renewer::{LeaseGuard, LeaseRenewer};
use super::replay;
use super::spec::IdempotencySpec;
use super::step_keys::RunRecord;
use super::store::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Outcome, Token,
};
use super::stored_response::StoredResponse;
use crate::facet::StoreError;
use crate::problem::{Problem, registry};
use crate::request::{Caller, EndpointResponse, read};

/// What the runs of an API share.
#[derive(Debug)]
pub(crate) struct IdempotencyClient {
    pub(crate) records: Arc<dyn IdempotencyStore>,
    pub(crate) lease: Duration,
    /// Renews the leases of running requests.
    pub(crate) lease_renewer: Option<LeaseRenewer>,
    /// Counts what must end before the process does.
    pub(crate) tracker: TaskTracker,
}

/// Idempotency on one mounted endpoint.
#[derive(Debug)]
pub(crate) struct EndpointRuns {
    pub(crate) spec: IdempotencySpec,
    pub(crate) names: RecordNames,
    pub(crate) client: Arc<IdempotencyClient>,
}

impl EndpointRuns {
    /// The run of a request under a key. Nothing is asked yet.
    pub(crate) fn pending(
        self: &Arc<Self>,
        key: &str,
        caller: Option<&Caller>,
        head: &Parts,
        body: &Bytes,
    ) -> PendingRun {
        let IdempotencySpec {
            headers,
            on_crash,
            ttl,
            ..
        } = self.spec;
        let (record, fingerprints) = self.names.record(caller, key);
        let fingerprint = fingerprints.fingerprint(head, headers, body);
        let lease = self.client.lease;
        let begin = Begin::new(record, fingerprint, Token::random(), lease, on_crash, ttl);
        PendingRun(RunContext {
            endpoint: Arc::clone(self),
            begin,
        })
    }
}

/// A run that does not hold its record yet.
#[derive(Debug)]
pub(crate) struct PendingRun(RunContext);

impl PendingRun {
    /// What the store is asked.
    pub(crate) const fn request(&self) -> &Begin {
        &self.0.begin
    }

    /// Takes the record for the run, or answers with what is there.
    pub(crate) async fn begin(self) -> Result<ActiveRun, EndpointResponse> {
        let found = self.0.records().begin(self.request()).await;
        self.activate(found)
    }

    /// Holds the record if the store has given it, or answers with what the store has found.
    #[expect(
        clippy::result_large_err,
        reason = "the answer goes to the client as it is"
    )]
    pub(crate) fn activate(
        self,
        found: Result<BeginOutcome, StoreError>,
    ) -> Result<ActiveRun, EndpointResponse> {
        let Self(run) = self;
        match found.and_then(|found| readable(found, &run.begin.key)) {
            Ok(BeginOutcome::Started) => Ok(run.renew_lease()),
            Ok(found) => Err(replay::answer(found, run.begin.key)),
            Err(error) => Err(run.begin_failed(&error)),
        }
    }
}

/// A run whose record is RUNNING. Its lease is renewed while this lives.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    run: RunContext,
    lease: Option<LeaseGuard>,
}

impl ActiveRun {
    /// The record, for the extractor that makes keys from it.
    pub(crate) const fn record(&self) -> RunRecord {
        RunRecord(self.run.begin.key)
    }

    /// Settles the record with the answer of the run, and returns what the client gets: this answer,
    /// or that of the run which has replaced this one.
    pub(crate) async fn settle(
        self,
        answer: EndpointResponse,
        settlement: Settlement,
    ) -> EndpointResponse {
        let Self { run, lease } = self;
        match settlement {
            // The store has confirmed `begin`, and knows whether a copy of it can be late.
            Settlement::Abort => {
                run.settle_once(SettleRequest::Abort(Duration::ZERO), answer, lease)
                    .await
            }
            Settlement::Unknown => {
                tracing::warn!(record = %run.begin.key, "a run ended, and its effect is unknown");
                let message = run.outcome(Outcome::Unknown);
                run.settle_once(message, answer, lease).await
            }
            Settlement::Keep => {
                match buffer_response(answer.response, run.endpoint.spec.max_stored_body).await {
                    Ok((kept, response)) => {
                        let message = run.outcome(Outcome::Response(kept));
                        run.settle_once(message, EndpointResponse { response, ..answer }, lease)
                            .await
                    }
                    Err(problem) => {
                        let message = run.outcome(Outcome::Unknown);
                        run.settle_once(message, EndpointResponse::failed(problem), lease)
                            .await
                    }
                }
            }
        }
    }
}

/// A run, whether it holds its record or not.
#[derive(Debug)]
struct RunContext {
    endpoint: Arc<EndpointRuns>,
    begin: Begin,
}

/// What the store has to learn about a run.
#[derive(Debug)]
enum SettleRequest {
    /// The key is free again; a late `begin` of this run is refused for this long.
    Abort(Duration),
    Complete(Complete),
}

impl RunContext {
    fn records(&self) -> &dyn IdempotencyStore {
        &*self.endpoint.client.records
    }

    fn renew_lease(self) -> ActiveRun {
        let hold = |heart: &LeaseRenewer| heart.hold(self.begin.lease(), self.begin.ttl);
        let lease = self.endpoint.client.lease_renewer.as_ref().map(hold);
        ActiveRun { run: self, lease }
    }

    /// The refusal of a request whose record could not be begun. If the record may have been taken all
    /// the same, it is given back, however long that takes.
    fn begin_failed(self, error: &StoreError) -> EndpointResponse {
        let problem = Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error);
        if matches!(error, StoreError::Full) {
            // There is room again when records expire, which is not soon.
            return EndpointResponse::refused(problem.with_retry_after(Duration::from_mins(1)));
        }
        if error.is_ambiguous() {
            let marker = self.endpoint.client.lease;
            self.retry_until_settled(SettleRequest::Abort(marker), None);
        }
        EndpointResponse::refused(problem)
    }

    fn outcome(&self, outcome: Outcome) -> SettleRequest {
        let Begin {
            fingerprint, ttl, ..
        } = self.begin;
        SettleRequest::Complete(Complete::new(self.begin.lease(), fingerprint, outcome, ttl))
    }

    /// Sends the message once. If the store does not answer, the client has its response all the same,
    /// while the lease is renewed and the message is sent again. A run that lost its record answers
    /// with what is there.
    async fn settle_once(
        self,
        message: SettleRequest,
        answer: EndpointResponse,
        lease: Option<LeaseGuard>,
    ) -> EndpointResponse {
        match self.send(&message).await {
            Ok(CompleteOutcome::Written) => answer,
            Ok(CompleteOutcome::Lost(found)) => replay::answer(found, self.begin.key),
            Err(error) => {
                tracing::warn!(%error, record = %self.begin.key, "a record could not be settled yet");
                if !error.is_about_the_key() {
                    self.retry_until_settled(message, lease);
                }
                answer
            }
        }
    }

    async fn send(&self, message: &SettleRequest) -> Result<CompleteOutcome, StoreError> {
        match message {
            SettleRequest::Complete(complete) => match self.records().complete(complete).await? {
                CompleteOutcome::Lost(found) => {
                    readable(found, &self.begin.key).map(CompleteOutcome::Lost)
                }
                CompleteOutcome::Written => Ok(CompleteOutcome::Written),
            },
            SettleRequest::Abort(marker) => self
                .records()
                .abort(self.begin.lease(), *marker)
                .await
                .map(|()| CompleteOutcome::Written),
        }
    }

    /// Sends the message until the store has taken it, unless it answers with errors for a lease. A
    /// service that shuts down waits for half a lease at most: after that the end of the lease settles
    /// the record.
    fn retry_until_settled(self, message: SettleRequest, lease: Option<LeaseGuard>) {
        let tracker = self.endpoint.client.tracker.clone();
        let retrying = self.retry(tracker.clone(), message, lease);
        tracker.spawn(retrying.in_current_span());
    }

    async fn retry(
        self,
        tracker: TaskTracker,
        message: SettleRequest,
        renewed: Option<LeaseGuard>,
    ) {
        let _renewed = renewed;
        let (started, lease) = (Instant::now(), self.endpoint.client.lease);
        let mut pause = Duration::from_millis(50);
        loop {
            sleep(pause).await;
            let Err(error) = self.send(&message).await else {
                return;
            };
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

/// A response as it is kept, and the same to send. A body of unknown length, or of more than `limit`
/// bytes, goes to the first caller only.
async fn buffer_response(
    response: Response,
    limit: u64,
) -> Result<(StoredResponse, Response), Problem> {
    let (head, body) = response.into_parts();
    if body.size_hint().exact().is_none_or(|length| length > limit) {
        return Ok((
            StoredResponse::new(&head, None),
            Response::from_parts(head, body),
        ));
    }
    match read::whole(body).await {
        Ok(bytes) => {
            let kept = StoredResponse::new(&head, Some(bytes.clone()));
            Ok((kept, Response::from_parts(head, Body::from(bytes))))
        }
        Err(error) => Err(Problem::internal(error)),
    }
}
