//! A run: one execution of a handler under an idempotency key.
//!
//! A run is first a [`PendingRun`], which does not hold its record yet, and then an [`ActiveRun`],
//! which does.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::decide::Settlement;
use super::encryption::require_decrypted;
use super::identity::RecordNames;
use super::lease_renewer::{LeaseGuard, LeaseRenewer};
use super::replay;
use super::spec::IdempotencySpec;
use super::step_keys::RunRecord;
use super::store::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Outcome, RecordHolder, Token,
};
use super::stored_response::StoredResponse;
use crate::client::rate_limit_prefix;
use crate::facet::StoreError;
use crate::problem::{Problem, registry};
use crate::request::{Caller, EndpointResponse, read};

/// The store and the settings that all runs of an API share.
#[derive(Debug)]
pub(crate) struct IdempotencyClient {
    pub(crate) records: Arc<dyn IdempotencyStore>,
    pub(crate) lease: Duration,
    /// Renews the leases of running requests.
    pub(crate) lease_renewer: Option<LeaseRenewer>,
    /// Tracks the tasks that must end before the process does.
    pub(crate) tracker: TaskTracker,
}

/// The data from which the runs of one mounted endpoint are created.
#[derive(Debug)]
pub(crate) struct EndpointRuns {
    pub(crate) spec: IdempotencySpec,
    pub(crate) names: RecordNames,
    pub(crate) client: Arc<IdempotencyClient>,
}

impl EndpointRuns {
    /// Creates the run of a request with a key. Does not call the store. The record of a request
    /// without a caller counts towards the client address.
    pub(crate) fn pending(
        self: &Arc<Self>,
        key: &str,
        caller: Option<&Caller>,
        address: impl FnOnce() -> Option<IpAddr>,
        head: &Parts,
        body: &Bytes,
    ) -> PendingRun {
        let IdempotencySpec {
            headers,
            on_crash,
            ttl,
            ..
        } = self.spec;
        let (record, fingerprint_key) = self.names.record(caller, key);
        let fingerprint = fingerprint_key.fingerprint(head, headers, body);
        let lease = self.client.lease;
        let mut begin = Begin::new(record, fingerprint, Token::random(), lease, on_crash, ttl);
        if caller.is_none() {
            begin = begin.with_holder(anonymous_holder(address()));
        }
        PendingRun(RunContext {
            endpoint: Arc::clone(self),
            begin,
        })
    }
}

/// Returns the holder of the records of requests without a caller.
fn anonymous_holder(address: Option<IpAddr>) -> RecordHolder {
    address.map_or(RecordHolder::Unknown, |address| {
        RecordHolder::Address(rate_limit_prefix(address))
    })
}

/// A run that does not hold its record yet.
#[derive(Debug)]
pub(crate) struct PendingRun(RunContext);

impl PendingRun {
    /// Returns the arguments of [`IdempotencyStore::begin`].
    pub(crate) const fn request(&self) -> &Begin {
        &self.0.begin
    }

    /// Takes the record for the run, or returns the response to a request that may not run.
    pub(crate) async fn begin(self) -> Result<ActiveRun, EndpointResponse> {
        let result = self.0.records().begin(self.request()).await;
        self.activate(result)
    }

    /// Activates the run if the store has started it, or returns the response to a request that may
    /// not run.
    #[expect(
        clippy::result_large_err,
        reason = "the response goes to the client unchanged"
    )]
    pub(crate) fn activate(
        self,
        result: Result<BeginOutcome, StoreError>,
    ) -> Result<ActiveRun, EndpointResponse> {
        let Self(run) = self;
        match result.and_then(|outcome| require_decrypted(outcome, &run.begin.key)) {
            Ok(BeginOutcome::Started) => Ok(run.renew_lease()),
            Ok(outcome) => Err(replay::response_from_record(outcome, run.begin.key)),
            Err(error) => Err(run.begin_failed(&error)),
        }
    }
}

/// A run whose record is RUNNING. Its lease is renewed until the value is dropped or settled.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    run: RunContext,
    lease: Option<LeaseGuard>,
}

impl ActiveRun {
    /// Returns the record's name, from which the extractor [`StepKeys`](super::StepKeys) derives
    /// keys.
    pub(crate) const fn record(&self) -> RunRecord {
        RunRecord(self.run.begin.key)
    }

    /// Settles the record with the response of the run, and returns the response for the client. If
    /// another run has replaced this run, the client gets the response of the other run.
    pub(crate) async fn settle(
        self,
        response: EndpointResponse,
        settlement: Settlement,
    ) -> EndpointResponse {
        let Self { run, lease } = self;
        match settlement {
            // This `abort` needs no marker, because the store has confirmed `begin`. A store that
            // may have sent `begin` twice writes a marker nevertheless.
            Settlement::Abort => {
                run.settle_once(SettleRequest::Abort(Duration::ZERO), response, lease)
                    .await
            }
            Settlement::Unknown => {
                tracing::warn!(record = %run.begin.key, "a run ended with an unknown outcome");
                let request = run.complete_request(Outcome::Unknown);
                run.settle_once(request, response, lease).await
            }
            Settlement::Keep => {
                match buffer_response(response.response, run.endpoint.spec.max_stored_body).await {
                    Ok((stored, buffered)) => {
                        let request = run.complete_request(Outcome::Response(stored));
                        let response = EndpointResponse {
                            response: buffered,
                            ..response
                        };
                        run.settle_once(request, response, lease).await
                    }
                    Err(problem) => {
                        let request = run.complete_request(Outcome::Unknown);
                        run.settle_once(request, EndpointResponse::failed(problem), lease)
                            .await
                    }
                }
            }
        }
    }
}

/// The data that a pending and an active run have in common.
#[derive(Debug)]
struct RunContext {
    endpoint: Arc<EndpointRuns>,
    begin: Begin,
}

/// The call that settles a record.
#[derive(Debug)]
enum SettleRequest {
    /// [`IdempotencyStore::abort`] with a marker that lasts for this time.
    Abort(Duration),
    /// [`IdempotencyStore::complete`].
    Complete(Complete),
}

impl RunContext {
    fn records(&self) -> &dyn IdempotencyStore {
        &*self.endpoint.client.records
    }

    fn renew_lease(self) -> ActiveRun {
        let start =
            |renewer: &LeaseRenewer| renewer.start_renewal(self.begin.lease(), self.begin.ttl);
        let lease = self.endpoint.client.lease_renewer.as_ref().map(start);
        ActiveRun { run: self, lease }
    }

    /// Returns the response to a request whose record could not be begun. If the store may have
    /// taken the record despite the error, a task aborts the record, and repeats the abort until
    /// the store confirms it.
    fn begin_failed(self, error: &StoreError) -> EndpointResponse {
        let problem = Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error);
        if matches!(error, StoreError::Full) {
            // A full store has room again when records expire, which takes hours, not seconds. With
            // a `Retry-After` of one minute, clients do not retry every second.
            return EndpointResponse::refused(problem.with_retry_after(Duration::from_mins(1)));
        }
        // The `begin` may still be on its way to the store. If it arrives within one lease, it
        // finds the marker and does not take the record.
        if error.is_ambiguous() {
            let marker = self.endpoint.client.lease;
            self.retry_until_settled(SettleRequest::Abort(marker), None);
        }
        EndpointResponse::refused(problem)
    }

    fn complete_request(&self, outcome: Outcome) -> SettleRequest {
        let Begin {
            fingerprint, ttl, ..
        } = self.begin;
        SettleRequest::Complete(Complete::new(self.begin.lease(), fingerprint, outcome, ttl))
    }

    /// Sends the settlement to the store one time. If the store fails, the client still gets its
    /// response. A task then sends the settlement again, and the lease is renewed until the task
    /// ends. If another run has taken the record, the client gets the response of that record.
    async fn settle_once(
        self,
        request: SettleRequest,
        response: EndpointResponse,
        lease: Option<LeaseGuard>,
    ) -> EndpointResponse {
        match self.send_settlement(&request).await {
            Ok(CompleteOutcome::Written) => response,
            Ok(CompleteOutcome::Lost(outcome)) => {
                replay::response_from_record(outcome, self.begin.key)
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    record = %self.begin.key,
                    "the record of a request was not settled at the first attempt"
                );
                // A value that cannot be read stays unreadable, so a retry is useless.
                if !error.is_malformed() {
                    self.retry_until_settled(request, lease);
                }
                response
            }
        }
    }

    async fn send_settlement(
        &self,
        request: &SettleRequest,
    ) -> Result<CompleteOutcome, StoreError> {
        match request {
            SettleRequest::Complete(complete) => match self.records().complete(complete).await? {
                CompleteOutcome::Lost(outcome) => {
                    require_decrypted(outcome, &self.begin.key).map(CompleteOutcome::Lost)
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

    /// Sends the settlement to the store in a tracked task until the store confirms it.
    ///
    /// The task repeats the call for as long as the store is unreachable. It stops after one lease
    /// if the store responds with errors, and after half a lease if the service is shutting down.
    /// The lease of the record then lapses.
    fn retry_until_settled(self, request: SettleRequest, lease: Option<LeaseGuard>) {
        let tracker = self.endpoint.client.tracker.clone();
        let retrying = self.retry(tracker.clone(), request, lease);
        // The tracker makes graceful shutdown wait for the task.
        tracker.spawn(retrying.in_current_span());
    }

    async fn retry(self, tracker: TaskTracker, request: SettleRequest, lease: Option<LeaseGuard>) {
        // The guard is held until the retries end, so that the lease is renewed until then.
        let _guard = lease;
        let (started, lease) = (Instant::now(), self.endpoint.client.lease);
        // The pause starts at 50 ms, enough for a reconnection, and doubles up to one second. With
        // a short lease, the pause stays below a quarter of the lease, so that several attempts fit
        // into a lease.
        let mut pause = Duration::from_millis(50);
        loop {
            sleep(pause).await;
            let Err(error) = self.send_settlement(&request).await else {
                return;
            };
            let retry_for = match () {
                () if tracker.is_closed() => lease / 2,
                () if error.is_outage() => Duration::MAX,
                () => lease,
            };
            if error.is_malformed() || started.elapsed() >= retry_for {
                return tracing::error!(
                    %error,
                    record = %self.begin.key,
                    "the record of a request was not settled, and its lease will lapse"
                );
            }
            pause = (pause * 2).min(Duration::from_secs(1)).min(lease / 4);
        }
    }
}

/// Splits a response into the form to store and the response to send.
///
/// A body of unknown length, or of more than `limit` bytes, is not buffered and not stored. It is
/// sent only in the first response.
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
    match read::read_whole(body).await {
        Ok(bytes) => {
            let stored = StoredResponse::new(&head, Some(bytes.clone()));
            Ok((stored, Response::from_parts(head, Body::from(bytes))))
        }
        Err(error) => Err(Problem::internal(error)),
    }
}
