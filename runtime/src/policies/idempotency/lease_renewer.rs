//! The runs that are alive in this process, and the renewal of their leases.
//!
//! The renewal has a separate thread with a separate runtime, so a handler that blocks the runtime
//! of the requests does not stop the renewal. A run that exceeds the maximum duration is marked
//! UNKNOWN.
//!
//! A request first looks for a run of its record here, and only then in the store. If the process
//! was paused for longer than a lease, the lease of an alive run has lapsed in the store. The store
//! would then return UNKNOWN, or start a second run beside the first one.

use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::store::{Begin, BeginOutcome, Fingerprint, IdempotencyStore, Lease, RecordKey, Token};
use crate::facet::StoreError;
use crate::uniform_map::UniformMap;

/// A handle to the thread that renews the leases of all active runs. The renewal ends when the
/// handle is dropped.
#[derive(Debug)]
pub(crate) struct LeaseRenewer {
    leases: Arc<RenewedLeases>,
}

/// The alive runs, shared by the renewing thread, the guards and the requests.
#[derive(Debug)]
struct RenewedLeases {
    runs: Mutex<AliveRuns>,
    stop: Notify,
    /// The duration of each renewed lease.
    lease: Duration,
    max_handler_duration: Duration,
}

/// The runs that are alive in this process, except those that exceed the maximum duration.
#[derive(Debug, Default)]
struct AliveRuns {
    by_token: UniformMap<Token, RenewedLease>,
    /// The token of the run of each record. The map hashes with a random state, because clients can
    /// compute the names of records.
    by_record: HashMap<RecordKey, Token>,
}

impl AliveRuns {
    /// Returns the outcome of a `begin` whose record has an alive run in this process.
    fn find(&self, begin: &Begin) -> Option<BeginOutcome> {
        let run = self.by_token.get(self.by_record.get(&begin.key)?)?;
        Some(if begin.is_same(&run.fingerprint) {
            BeginOutcome::InFlight
        } else {
            BeginOutcome::Mismatch
        })
    }

    fn insert(&mut self, run: RenewedLease) {
        self.by_record.insert(run.lease.key, run.lease.token);
        self.by_token.insert(run.lease.token, run);
    }

    /// Removes the run with this token. Another run of the same record stays.
    fn remove(&mut self, lease: Lease) {
        self.by_token.remove(&lease.token);
        if self.by_record.get(&lease.key) == Some(&lease.token) {
            self.by_record.remove(&lease.key);
        }
    }
}

/// The lease of one run.
#[derive(Debug, Clone, Copy)]
struct RenewedLease {
    started_at: Instant,
    lease: Lease,
    fingerprint: Fingerprint,
    /// Set if the lease was lost. The run is still alive, but its lease is not renewed any more.
    is_lost: bool,
    /// Set while a database transaction of the run is open.
    is_paused: bool,
    /// Set if the handler's database transaction completes the record. A retry may then replace an
    /// overdue run, because a run without its record cannot commit.
    transactional: bool,
    /// The time for which the record stays UNKNOWN if the run exceeds the maximum duration.
    ttl: Duration,
}

/// A guard for the lease of one run. Until the guard is dropped, the run is alive, and its lease is
/// renewed.
#[derive(Debug)]
pub(crate) struct LeaseGuard {
    leases: Arc<RenewedLeases>,
    lease: Lease,
}

/// A handle that pauses the renewal of one lease.
#[derive(Debug, Clone)]
pub(crate) struct LeasePause {
    leases: Arc<RenewedLeases>,
    token: Token,
}

#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, reason = "only a transaction pauses the renewal")
)]
impl LeasePause {
    /// Pauses the renewal until the returned value is dropped. The pause must be shorter than a third
    /// of the lease.
    pub(crate) fn begin(&self) -> PausedLease {
        self.set(true);
        PausedLease(self.clone())
    }

    fn set(&self, is_paused: bool) {
        if let Some(run) = self.leases.lock().by_token.get_mut(&self.token) {
            run.is_paused = is_paused;
        }
    }
}

/// A pause in the renewal of a lease, which ends when the value is dropped.
#[derive(Debug)]
pub(crate) struct PausedLease(LeasePause);

impl Drop for PausedLease {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl LeaseGuard {
    /// Returns a handle that pauses the renewal of the lease.
    pub(crate) fn pause(&self) -> LeasePause {
        LeasePause {
            leases: Arc::clone(&self.leases),
            token: self.lease.token,
        }
    }
}

impl LeaseRenewer {
    /// Starts the thread. The thread renews the leases after each third of a `lease`. It renews the
    /// lease of a run for at most `max_handler_duration`.
    ///
    /// # Errors
    ///
    /// Fails if the operating system refuses the runtime or the thread.
    pub(crate) fn start(
        store: Arc<dyn IdempotencyStore>,
        lease: Duration,
        max_handler_duration: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let leases = Arc::new(RenewedLeases {
            runs: Mutex::default(),
            stop: Notify::new(),
            lease,
            max_handler_duration,
        });
        let renewal = Arc::clone(&leases).renew_until_stopped(store);
        thread::Builder::new()
            .name(String::from("aplomb-heartbeat"))
            .spawn(move || runtime.block_on(renewal))?;
        Ok(Self { leases })
    }

    /// Returns the outcome of a `begin` whose record has an alive run in this process: `InFlight`,
    /// or `Mismatch` if the run belongs to another request.
    pub(crate) fn find(&self, begin: &Begin) -> Option<BeginOutcome> {
        self.leases.lock().find(begin)
    }

    /// Renews the lease of a run until the guard is dropped. If the run exceeds the maximum
    /// duration before that, its record becomes UNKNOWN for `begin.ttl`.
    ///
    /// # Errors
    ///
    /// Fails if another run of the record is alive in this process. The error is the outcome of
    /// this `begin`, as in [`find`](Self::find).
    pub(crate) fn start_renewal(&self, begin: &Begin) -> Result<LeaseGuard, BeginOutcome> {
        let lease = begin.lease();
        let mut runs = self.leases.lock();
        if let Some(found) = runs.find(begin) {
            return Err(found);
        }
        runs.insert(RenewedLease {
            started_at: Instant::now(),
            lease,
            fingerprint: begin.fingerprint,
            is_lost: false,
            is_paused: false,
            transactional: begin.transactional,
            ttl: begin.ttl,
        });
        Ok(LeaseGuard {
            leases: Arc::clone(&self.leases),
            lease,
        })
    }
}

impl Drop for LeaseRenewer {
    fn drop(&mut self) {
        // `notify_one` stores a permit, so the thread stops even if it is not waiting right now.
        self.leases.stop.notify_one();
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.leases.lock().remove(self.lease);
    }
}

impl RenewedLeases {
    /// Renews the leases after each third of a lease, so that a failed renewal can be repeated
    /// before the lease lapses. After a failure, the pause is a third as long, and at most one
    /// second.
    async fn renew_until_stopped(self: Arc<Self>, store: Arc<dyn IdempotencyStore>) {
        let interval = self.lease / 3;
        let mut pause = interval;
        while timeout(pause, self.stop.notified()).await.is_err() {
            pause = if self.renew_once(&*store).await {
                interval
            } else {
                (interval / 3).min(MAX_PAUSE_AFTER_FAILURE)
            };
        }
    }

    /// Renews all leases and marks overdue runs. Returns `false` if the leases could not be
    /// renewed.
    async fn renew_once(&self, store: &dyn IdempotencyStore) -> bool {
        let leases = self.leases();
        let renewed = leases.is_empty()
            || self.handle_renewal(&leases, store.heartbeat(&leases, self.lease).await);
        for run in self.overdue_runs() {
            if run.transactional {
                self.lock().remove(run.lease);
                tracing::warn!(
                    record = %run.lease.key,
                    "a running request exceeded the maximum duration, and a retry may replace it"
                );
                continue;
            }
            match store.mark_unknown(run.lease, run.ttl).await {
                Ok(written) => self.stop_renewal(run.lease, written),
                // The lease stays in the map, so it is still renewed, and the next round tries to
                // mark the record again. If the lease lapsed, `on_crash = rerun` would let a retry
                // start a second run beside this one.
                Err(error) => {
                    tracing::warn!(
                        %error,
                        record = %run.lease.key,
                        "the record of an overdue request could not be marked UNKNOWN"
                    );
                }
            }
        }
        renewed
    }

    // No await happens while the lock is held, so a guard that is dropped by a handler never waits
    // for the store.
    fn lock(&self) -> MutexGuard<'_, AliveRuns> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the runs that exceed the maximum duration.
    fn overdue_runs(&self) -> Vec<RenewedLease> {
        let is_overdue =
            |run: &&RenewedLease| run.started_at.elapsed() >= self.max_handler_duration;
        let runs = self.lock();
        runs.by_token.values().filter(is_overdue).copied().collect()
    }

    /// Stops the renewal of an overdue run. `written` is `false` if the run was settled before its
    /// record could be marked.
    fn stop_renewal(&self, lease: Lease, written: bool) {
        self.lock().remove(lease);
        if written {
            tracing::warn!(
                record = %lease.key,
                "a running request exceeded the maximum duration, and its outcome is unknown"
            );
        }
    }

    /// Returns the leases that are renewed.
    fn leases(&self) -> Vec<Lease> {
        let runs = self.lock();
        let is_renewed = |run: &&RenewedLease| !run.is_lost && !run.is_paused;
        let renewed = runs.by_token.values().filter(is_renewed);
        renewed.map(|run| run.lease).collect()
    }

    /// Stops the renewal of the leases that were lost. Returns `false` if the store failed.
    fn handle_renewal(&self, leases: &[Lease], result: Result<Vec<bool>, StoreError>) -> bool {
        match result {
            Err(error) => {
                tracing::warn!(%error, "the leases of running requests could not be renewed");
                false
            }
            Ok(renewed) => {
                let lost = leases.iter().zip(renewed).filter(|(_, renewed)| !renewed);
                lost.for_each(|(lease, _)| self.mark_lost(*lease));
                true
            }
        }
    }

    /// Stops the renewal of a lost lease. The run stays in the map until it ends or exceeds the
    /// maximum duration: no request of this process may run the handler beside it.
    fn mark_lost(&self, lease: Lease) {
        // A run that ended during the renewal has already removed its lease from the map. Its lease
        // was not lost, so no warning is logged.
        if let Some(run) = self.lock().by_token.get_mut(&lease.token) {
            run.is_lost = true;
            tracing::warn!(record = %lease.key, "the lease of a running request was lost");
        }
    }
}

/// The longest pause between a failed renewal and the next one.
const MAX_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::policies::idempotency::OnCrash;
    use crate::store::MemoryRecords;
    use crate::testing::{Fault, FaultyRecords, StoreOperation};

    const LEASE: Duration = Duration::from_secs(30);
    const TTL: Duration = Duration::from_hours(24);

    /// A clock with the paused time of the test's runtime. The time advances while all tasks sleep.
    #[derive(Debug)]
    struct RuntimeClock(tokio::time::Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> Timestamp {
            Timestamp::default().after(self.0.elapsed())
        }
    }

    type Records = FaultyRecords<Arc<MemoryRecords>>;

    fn records() -> Records {
        let clock = Arc::new(RuntimeClock(tokio::time::Instant::now()));
        FaultyRecords::new(Arc::new(MemoryRecords::with_bounds(10, 1 << 20, clock)))
    }

    /// Starts a renewer in the test's runtime instead of a thread.
    fn start(records: &Records, max_handler_duration: Duration) -> LeaseRenewer {
        let (runs, stop) = (Mutex::default(), Notify::new());
        let renewer = LeaseRenewer {
            leases: Arc::new(RenewedLeases {
                runs,
                stop,
                lease: LEASE,
                max_handler_duration,
            }),
        };
        tokio::spawn(Arc::clone(&renewer.leases).renew_until_stopped(Arc::new(records.clone())));
        renewer
    }

    fn begin(name: u8) -> Begin {
        let (key, fingerprint) = (
            RecordKey::new([1; 16], [name; 16]),
            Fingerprint::new(1, [2; 32]),
        );
        Begin::new(
            key,
            fingerprint,
            Token::random(),
            LEASE,
            OnCrash::Rerun,
            TTL,
        )
    }

    async fn begin_and_renew(records: &Records, renewer: &LeaseRenewer, run: &Begin) -> LeaseGuard {
        assert_eq!(records.begin(run).await, Ok(BeginOutcome::Started));
        renewer.start_renewal(run).expect("no other run")
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_run_with_a_lost_lease_is_alive_until_it_ends() {
        let records = records();
        let renewer = start(&records, TTL);
        let first = begin(1);
        let guard = begin_and_renew(&records, &renewer, &first).await;
        records
            .abort(first.lease(), Duration::ZERO)
            .await
            .expect("an in-memory store does not fail");
        sleep(LEASE * 3).await;
        assert_eq!(renewer.find(&begin(1)), Some(BeginOutcome::InFlight));
        let other_request = Begin {
            fingerprint: Fingerprint::new(1, [3; 32]),
            ..begin(1)
        };
        assert_eq!(renewer.find(&other_request), Some(BeginOutcome::Mismatch));
        let second = renewer.start_renewal(&begin(1));
        assert_eq!(second.err(), Some(BeginOutcome::InFlight));
        assert_eq!(renewer.find(&begin(2)), None);
        drop(guard);
        assert_eq!(renewer.find(&begin(1)), None);
        assert!(renewer.leases.lock().by_token.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_run_over_its_maximum_duration_is_not_alive_even_with_a_lost_lease() {
        for is_lost in [false, true] {
            let records = records();
            let renewer = start(&records, Duration::ZERO);
            let first = begin(1);
            let overdue = begin_and_renew(&records, &renewer, &first).await;
            if is_lost {
                renewer.leases.mark_lost(first.lease());
            }
            sleep(LEASE).await;
            assert_eq!(renewer.find(&begin(1)), None);
            // The guard of the overdue run does not remove a later run of the record.
            let later = renewer.start_renewal(&begin(1)).expect("no alive run");
            drop(overdue);
            assert_eq!(renewer.find(&begin(1)), Some(BeginOutcome::InFlight));
            drop(later);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_failed_renewal_is_repeated_before_the_lease_ends() {
        let records = records();
        let renewer = start(&records, TTL);
        let _guard = begin_and_renew(&records, &renewer, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(StoreOperation::Heartbeat, Fault::Lost));
        sleep(LEASE * 3).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_lost_lease_does_not_stop_the_renewal_of_other_leases() {
        let records = records();
        let renewer = start(&records, TTL);
        let runs = [begin(1), begin(2), begin(3)];
        let mut guards = Vec::new();
        for run in &runs {
            guards.push(begin_and_renew(&records, &renewer, run).await);
        }
        records
            .abort(runs[1].lease(), Duration::ZERO)
            .await
            .expect("an in-memory store does not fail");
        sleep(LEASE * 3).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        assert_eq!(records.begin(&begin(2)).await, Ok(BeginOutcome::Started));
        assert_eq!(records.begin(&begin(3)).await, Ok(BeginOutcome::InFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn a12_an_overdue_run_keeps_its_lease_until_it_is_marked_unknown() {
        let records = records();
        let renewer = start(&records, Duration::ZERO);
        let _guard = begin_and_renew(&records, &renewer, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(StoreOperation::MarkUnknown, Fault::Lost));
        sleep(LEASE * 3 / 2).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        sleep(LEASE * 3).await;
        assert_eq!(
            records.begin(&begin(1)).await,
            Ok(BeginOutcome::Unknown),
            "no retry runs the handler again"
        );
    }
}
