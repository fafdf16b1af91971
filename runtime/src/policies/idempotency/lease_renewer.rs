//! Renewing the leases of running requests, from a thread of its own: handlers that block the
//! runtime do not stop it. A run that takes longer than the longest is written off as UNKNOWN.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::store::{IdempotencyStore, Lease, Token};
use crate::facet::StoreError;
use crate::uniform_map::UniformMap;

/// Beats for every run that is held, until it is dropped.
#[derive(Debug)]
pub(crate) struct LeaseRenewer {
    leases: Arc<RenewedLeases>,
}

#[derive(Debug)]
struct RenewedLeases {
    held: Mutex<UniformMap<Token, RenewedLease>>,
    stop: Notify,
    lease: Duration,
    max_handler_duration: Duration,
}

#[derive(Debug, Clone, Copy)]
struct RenewedLease {
    since: Instant,
    lease: Lease,
    /// How long the record stays UNKNOWN if the run takes too long.
    ttl: Duration,
}

/// Keeps one run's lease renewed while it lives.
#[derive(Debug)]
pub(crate) struct LeaseGuard {
    beats: Arc<RenewedLeases>,
    token: Token,
}

impl LeaseRenewer {
    /// Starts the thread. It beats every third of a `lease`, for each run up to `max_handler_duration`.
    pub(crate) fn start(
        store: Arc<dyn IdempotencyStore>,
        lease: Duration,
        max_handler_duration: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let beats = Arc::new(RenewedLeases {
            held: Mutex::default(),
            stop: Notify::new(),
            lease,
            max_handler_duration,
        });
        let beating = Arc::clone(&beats).renew_until_stopped(store);
        thread::Builder::new()
            .name(String::from("aplomb-heartbeat"))
            .spawn(move || runtime.block_on(beating))?;
        Ok(Self { leases: beats })
    }

    /// Beats for a run until the guard is dropped; if that takes too long, the record is UNKNOWN
    /// for `ttl`.
    pub(crate) fn hold(&self, lease: Lease, ttl: Duration) -> LeaseGuard {
        self.leases.renewable().insert(
            lease.token,
            RenewedLease {
                since: Instant::now(),
                lease,
                ttl,
            },
        );
        LeaseGuard {
            beats: Arc::clone(&self.leases),
            token: lease.token,
        }
    }
}

impl Drop for LeaseRenewer {
    fn drop(&mut self) {
        self.leases.stop.notify_one();
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.beats.renewable().remove(&self.token);
    }
}

impl RenewedLeases {
    /// Beats every third of a lease; after a beat that failed sooner, as long as there is a lease to
    /// save.
    async fn renew_until_stopped(self: Arc<Self>, store: Arc<dyn IdempotencyStore>) {
        let calm = self.lease / 3;
        let mut pause = calm;
        while timeout(pause, self.stop.notified()).await.is_err() {
            pause = if self.renew_once(&*store).await {
                calm
            } else {
                (calm / 3).min(LOG_INTERVAL)
            };
        }
    }

    /// `false` if the leases could not be renewed.
    async fn renew_once(&self, store: &dyn IdempotencyStore) -> bool {
        let leases = self.leases();
        let renewed = leases.is_empty()
            || self.log_failure(&leases, store.heartbeat(&leases, self.lease).await);
        for hung in self.overdue() {
            match store.mark_unknown(hung.lease, hung.ttl).await {
                Ok(written) => self.log_marked_unknown(hung.lease, written),
                // It beats on, so that nobody runs beside it, and is written off later.
                Err(error) => tracing::warn!(%error, "a hung request could not be written off"),
            }
        }
        renewed
    }

    fn renewable(&self) -> MutexGuard<'_, UniformMap<Token, RenewedLease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs that take too long.
    fn overdue(&self) -> Vec<RenewedLease> {
        let hung = |beat: &&RenewedLease| beat.since.elapsed() >= self.max_handler_duration;
        self.renewable().values().filter(hung).copied().collect()
    }

    /// A run that was settled meanwhile is not written off.
    fn log_marked_unknown(&self, lease: Lease, written: bool) {
        self.renewable().remove(&lease.token);
        if written {
            tracing::warn!(record = %lease.key, "a request runs for too long: its outcome is unknown");
        }
    }

    fn leases(&self) -> Vec<Lease> {
        self.renewable().values().map(|beat| beat.lease).collect()
    }

    fn log_failure(&self, leases: &[Lease], answer: Result<Vec<bool>, StoreError>) -> bool {
        match answer {
            Err(error) => {
                tracing::warn!(%error, "leases of running requests could not be renewed");
                false
            }
            Ok(renewed) => {
                let lost = leases.iter().zip(renewed).filter(|(_, renewed)| !renewed);
                lost.for_each(|(lease, _)| self.log_lost(*lease));
                true
            }
        }
    }

    /// A run that has ended since the beat began has no lease to lose.
    fn log_lost(&self, lease: Lease) {
        if self.renewable().remove(&lease.token).is_some() {
            tracing::warn!(record = %lease.key, "the lease of a running request is lost");
        }
    }
}

/// After a beat that failed the next comes at the latest so soon.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::policies::idempotency::{Begin, BeginOutcome, Fingerprint, OnCrash, RecordKey};
    use crate::store::MemoryRecords;
    use crate::testing::{Fault, FaultyRecords, StoreOperation};

    const LEASE: Duration = Duration::from_secs(30);
    const TTL: Duration = Duration::from_hours(24);

    /// The time of the test's runtime, which passes where everybody sleeps.
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

    /// A heart that beats in the test's runtime.
    fn start(records: &Records, max_handler_duration: Duration) -> LeaseRenewer {
        let (held, stop) = (Mutex::default(), Notify::new());
        let heart = LeaseRenewer {
            leases: Arc::new(RenewedLeases {
                held,
                stop,
                lease: LEASE,
                max_handler_duration,
            }),
        };
        tokio::spawn(Arc::clone(&heart.leases).renew_until_stopped(Arc::new(records.clone())));
        heart
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

    async fn hold(records: &Records, heart: &LeaseRenewer, run: &Begin) -> LeaseGuard {
        assert_eq!(records.begin(run).await, Ok(BeginOutcome::Started));
        heart.hold(run.lease(), TTL)
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_beat_that_failed_is_repeated_before_its_lease_ends() {
        let records = records();
        let heart = start(&records, TTL);
        let _guard = hold(&records, &heart, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(StoreOperation::Heartbeat, Fault::Lost));
        sleep(LEASE * 3).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_lease_that_is_lost_costs_no_other() {
        let records = records();
        let heart = start(&records, TTL);
        let runs = [begin(1), begin(2), begin(3)];
        let mut guards = Vec::new();
        for run in &runs {
            guards.push(hold(&records, &heart, run).await);
        }
        records
            .abort(runs[1].lease(), Duration::ZERO)
            .await
            .expect("memory answers");
        sleep(LEASE * 3).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        assert_eq!(records.begin(&begin(2)).await, Ok(BeginOutcome::Started));
        assert_eq!(records.begin(&begin(3)).await, Ok(BeginOutcome::InFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_hung_run_keeps_its_lease_until_it_is_written_off() {
        let records = records();
        let heart = start(&records, Duration::ZERO);
        let _guard = hold(&records, &heart, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(StoreOperation::MarkUnknown, Fault::Lost));
        sleep(LEASE * 3 / 2).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        sleep(LEASE * 3).await;
        assert_eq!(
            records.begin(&begin(1)).await,
            Ok(BeginOutcome::Unknown),
            "and never run again"
        );
    }
}
