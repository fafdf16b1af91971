//! A run: one execution of a handler under an idempotency key.
//!
//! A run is first a [`PendingRun`], which does not hold its record yet, and then an [`ActiveRun`],
//! which does.

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
use super::encryption::require_decrypted;
use super::identity::RecordNames;
use super::lease_renewer::{LeaseGuard, LeasePause, LeaseRenewer};
use super::replay;
use super::run_bounds::{RunBounds, RunPermit};
use super::spec::{IdempotencySpec, OnCrash};
use super::step_keys::RunRecord;
use super::store::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Outcome, RecordHolder, Token,
};
use super::stored_response::StoredResponse;
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
    pub(crate) bounds: Arc<RunBounds>,
    /// Tracks the tasks that must end before the process does.
    pub(crate) tracker: TaskTracker,
}

/// The data from which the runs of one mounted endpoint are created.
#[derive(Debug)]
pub(crate) struct EndpointRuns {
    pub(crate) spec: IdempotencySpec,
    pub(crate) on_crash: OnCrash,
    /// Set if the handler's database transaction completes the record.
    pub(crate) transactional: bool,
    pub(crate) names: RecordNames,
    pub(crate) client: Arc<IdempotencyClient>,
}

impl EndpointRuns {
    /// Returns the bounds of the runs.
    pub(crate) fn bounds(&self) -> &Arc<RunBounds> {
        &self.client.bounds
    }

    /// Creates the run of a request with a key. Does not call the store. The record of a request
    /// without a caller counts towards the client address.
    pub(crate) fn pending(
        self: &Arc<Self>,
        key: &str,
        caller: Option<&Caller>,
        head: &Parts,
        body: &Bytes,
        permit: RunPermit,
    ) -> PendingRun {
        let IdempotencySpec { headers, ttl, .. } = self.spec;
        let on_crash = self.on_crash;
        let (record, fingerprint_key) = self.names.record(caller, key);
        let fingerprint = fingerprint_key.fingerprint(head, headers, body);
        let lease = self.client.lease;
        let mut begin = Begin::new(record, fingerprint, Token::random(), lease, on_crash, ttl)
            .with_transactional(self.transactional);
        if caller.is_none() {
            let address = self.bounds().address(head);
            let holder = address.map_or(RecordHolder::Unknown, RecordHolder::Address);
            begin = begin.with_holder(holder);
        }
        PendingRun(RunContext {
            endpoint: Arc::clone(self),
            begin,
            _permit: permit,
        })
    }
}

/// A run that does not hold its record yet.
#[derive(Debug)]
pub(crate) struct PendingRun(RunContext);

impl PendingRun {
    /// Returns the arguments of [`IdempotencyStore::begin`].
    pub(crate) const fn request(&self) -> &Begin {
        &self.0.begin
    }

    /// Returns `true` if a run of the record is alive in this process. The store is then not
    /// called, because the lease of the run may have lapsed in the store while the process was
    /// paused.
    pub(crate) fn is_alive_here(&self) -> bool {
        self.0.find_alive().is_some()
    }

    /// Takes the record for the run, or returns the response to a request that may not run.
    pub(crate) async fn begin(self) -> Result<ActiveRun, EndpointResponse> {
        if let Some(found) = self.0.find_alive() {
            return Err(replay::response_from_record(found, self.0.begin.key));
        }
        let asked_at = Instant::now();
        let result = self.0.records().begin(self.request()).await;
        self.activate(result, asked_at)
    }

    /// Activates the run if the store has started it, or returns the response to a request that may
    /// not run. The store was called at `asked_at`.
    #[expect(
        clippy::result_large_err,
        reason = "the response goes to the client unchanged"
    )]
    pub(crate) fn activate(
        self,
        result: Result<BeginOutcome, StoreError>,
        asked_at: Instant,
    ) -> Result<ActiveRun, EndpointResponse> {
        let Self(run) = self;
        match result.and_then(|outcome| require_decrypted(outcome, &run.begin.key)) {
            Ok(BeginOutcome::Started) => run.renew_lease(asked_at),
            // A run of this process can have begun between the first look and the reply of the
            // store, and its lease can have lapsed in a pause.
            Ok(BeginOutcome::Unknown) => {
                let found = run.find_alive().unwrap_or(BeginOutcome::Unknown);
                Err(replay::response_from_record(found, run.begin.key))
            }
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

    /// Returns the token of the run.
    pub(crate) const fn token(&self) -> Token {
        self.run.begin.token
    }

    /// Returns `true` if a retry may run the handler again after this run has failed, because the
    /// handler's transaction is rolled back.
    pub(crate) fn is_transactional(&self) -> bool {
        self.run.endpoint.transactional
    }

    /// Returns a handle that pauses the renewal of the run's lease.
    pub(crate) fn lease_pause(&self) -> Option<LeasePause> {
        self.lease.as_ref().map(LeaseGuard::pause)
    }

    /// Reads the whole response, and prepares the completion of the record with it.
    pub(crate) async fn prepare(
        self,
        response: EndpointResponse,
    ) -> Result<PreparedRun, (Self, Problem)> {
        let limit = self.run.endpoint.spec.max_stored_body;
        match buffer_response(response.response, limit).await {
            Ok((stored, buffered)) => Ok(PreparedRun {
                complete: self.run.complete(Outcome::Response(stored)),
                run: self,
                response: EndpointResponse {
                    response: buffered,
                    ..response
                },
            }),
            Err(problem) => Err((self, problem)),
        }
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
            Settlement::Keep => match (Self { run, lease }).prepare(response).await {
                Ok(prepared) => prepared.complete().await,
                Err((Self { run, lease }, problem)) => {
                    let request = run.complete_request(Outcome::Unknown);
                    run.settle_once(request, EndpointResponse::failed(problem), lease)
                        .await
                }
            },
        }
    }
}

/// A run whose whole response is in memory.
#[derive(Debug)]
pub(crate) struct PreparedRun {
    run: ActiveRun,
    complete: Complete,
    response: EndpointResponse,
}

impl PreparedRun {
    /// Returns the completion of the record, for a transaction that commits it.
    pub(crate) const fn completion(&self) -> &Complete {
        &self.complete
    }

    /// Returns the response of a run whose record a transaction has completed.
    pub(crate) fn completed(self) -> EndpointResponse {
        self.response
    }

    /// Returns the run without its response.
    pub(crate) fn into_run(self) -> ActiveRun {
        self.run
    }

    /// Completes the record, and returns the response for the client.
    pub(crate) async fn complete(self) -> EndpointResponse {
        let ActiveRun { run, lease } = self.run;
        let request = SettleRequest::Complete(self.complete);
        run.settle_once(request, self.response, lease).await
    }
}

/// The data that a pending and an active run have in common.
#[derive(Debug)]
struct RunContext {
    endpoint: Arc<EndpointRuns>,
    begin: Begin,
    /// Counts the run until its record is settled. Tasks that repeat a settlement own it as well,
    /// so the store never gets more calls for vanished clients than there are permits.
    _permit: RunPermit,
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

    /// Returns the outcome of `begin` if a run of the record is alive in this process.
    fn find_alive(&self) -> Option<BeginOutcome> {
        self.renewer()?.find(&self.begin)
    }

    fn renewer(&self) -> Option<&LeaseRenewer> {
        self.endpoint.client.lease_renewer.as_ref()
    }

    /// Activates a run that the store has started. The store was called at `asked_at`.
    #[expect(
        clippy::result_large_err,
        reason = "the response goes to the client unchanged"
    )]
    fn renew_lease(self, asked_at: Instant) -> Result<ActiveRun, EndpointResponse> {
        let start = |renewer: &LeaseRenewer| renewer.start_renewal(&self.begin);
        let lease = match self.renewer().map(start).transpose() {
            Ok(lease) => lease,
            // The store has started this run because the lease of the other run had lapsed in a
            // pause. The other run continues, and stores its response although it has lost the
            // record.
            Err(found) => {
                let record = self.begin.key;
                self.retry_until_settled(SettleRequest::Abort(Duration::ZERO), None);
                return Err(replay::response_from_record(found, record));
            }
        };
        // If the process was paused before this line, the lease can have lapsed, and another run
        // can have replaced this one. From this line on, requests of this process find the run.
        if asked_at.elapsed() >= self.begin.lease {
            drop(lease);
            let late = "the reply arrived after the lease had ended";
            return Err(self.begin_failed(&StoreError::Unavailable(late.to_owned())));
        }
        Ok(ActiveRun { run: self, lease })
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

    fn complete(&self, outcome: Outcome) -> Complete {
        let Begin {
            fingerprint, ttl, ..
        } = self.begin;
        Complete::new(self.begin.lease(), fingerprint, outcome, ttl)
    }

    fn complete_request(&self, outcome: Outcome) -> SettleRequest {
        SettleRequest::Complete(self.complete(outcome))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::TrustedProxies;
    use crate::policies::idempotency::{MaxRuns, OnCrash, RecordState};
    use crate::store::MemoryRecords;
    use crate::testing::{TestClock, eventually};

    const LEASE: Duration = Duration::from_secs(30);

    /// Runs of one endpoint. The clock of their store is paused.
    struct TestRuns {
        clock: TestClock,
        endpoint: Arc<EndpointRuns>,
    }

    impl TestRuns {
        fn new(on_crash: OnCrash) -> Self {
            let clock = TestClock::new();
            let records = MemoryRecords::with_bounds(100, 1 << 20, Arc::new(clock.clone()));
            let records: Arc<dyn IdempotencyStore> = Arc::new(records);
            let spec = IdempotencySpec::new();
            let renewer = LeaseRenewer::start(Arc::clone(&records), LEASE, Duration::from_hours(1));
            let max = MaxRuns {
                process: 10,
                per_caller: 10,
            };
            let client = IdempotencyClient {
                records,
                lease: LEASE,
                lease_renewer: Some(renewer.expect("a thread")),
                bounds: Arc::new(RunBounds::new(max, TrustedProxies::default())),
                tracker: TaskTracker::new(),
            };
            let endpoint = EndpointRuns {
                spec,
                on_crash,
                transactional: false,
                names: RecordNames::new("test", "POST", "/orders"),
                client: Arc::new(client),
            };
            Self {
                clock,
                endpoint: Arc::new(endpoint),
            }
        }

        /// Returns the run of a request with the only key and this body.
        fn pending(&self, body: &'static str) -> PendingRun {
            let (head, ()) = http::Request::new(()).into_parts();
            let caller = Caller::new("alice");
            let permit = self.endpoint.bounds().acquire(Some(&caller), &head);
            self.endpoint.pending(
                "k",
                Some(&caller),
                &head,
                &Bytes::from_static(body.as_bytes()),
                permit.expect("a permit"),
            )
        }

        async fn begin_in_store(&self, run: &PendingRun) -> BeginOutcome {
            let begun = self.endpoint.client.records.begin(run.request()).await;
            begun.expect("an in-memory store does not fail")
        }

        async fn state(&self) -> Option<RecordState> {
            let key = self.pending("tea").request().key;
            let found = self.endpoint.client.records.find(key).await;
            found.expect("an in-memory store does not fail")
        }
    }

    fn status(result: Result<ActiveRun, EndpointResponse>) -> u16 {
        let refused = result.expect_err("a refused request");
        refused.response.status().as_u16()
    }

    #[tokio::test]
    async fn a12_an_alive_run_with_a_lapsed_lease_is_in_flight_in_its_process() {
        for (on_crash, lapsed, after) in [
            (OnCrash::Unknown, RecordState::Unknown, Some(500)),
            (OnCrash::Rerun, RecordState::Lapsed, None),
        ] {
            let runs = TestRuns::new(on_crash);
            let active = runs.pending("tea").begin().await.expect("started");
            runs.clock.advance(LEASE);
            assert_eq!(runs.state().await, Some(lapsed));
            assert_eq!(status(runs.pending("tea").begin().await), 409);
            assert_eq!(status(runs.pending("salt").begin().await), 422);
            drop(active);
            let next = runs.pending("tea").begin().await;
            assert_eq!(
                next.err().map(|refused| refused.response.status().as_u16()),
                after
            );
        }
    }

    #[tokio::test]
    async fn a12_the_store_is_called_before_the_run_is_alive_and_replies_afterwards() {
        let runs = TestRuns::new(OnCrash::Rerun);
        let (first, second) = (runs.pending("tea"), runs.pending("tea"));
        assert_eq!(runs.begin_in_store(&first).await, BeginOutcome::Started);
        runs.clock.advance(LEASE);
        assert_eq!(runs.begin_in_store(&second).await, BeginOutcome::Started);
        let now = Instant::now();
        let _active = first
            .activate(Ok(BeginOutcome::Started), now)
            .expect("started");
        assert_eq!(status(second.activate(Ok(BeginOutcome::Started), now)), 409);
        let third = runs.pending("tea").activate(Ok(BeginOutcome::Unknown), now);
        assert_eq!(status(third), 409);
        eventually("the second run has left the record", async || {
            runs.state().await.is_none()
        })
        .await;
    }

    #[tokio::test]
    async fn a14_a_run_whose_begin_took_longer_than_the_lease_does_not_start() {
        let runs = TestRuns::new(OnCrash::Rerun);
        let late = runs.pending("tea");
        assert_eq!(runs.begin_in_store(&late).await, BeginOutcome::Started);
        let asked_at = Instant::now()
            .checked_sub(LEASE)
            .expect("an uptime of 30 s");
        let refused = late.activate(Ok(BeginOutcome::Started), asked_at);
        assert_eq!(status(refused), 503);
        eventually("the record is free", async || runs.state().await.is_none()).await;
        assert!(runs.pending("tea").begin().await.is_ok());
    }
}
