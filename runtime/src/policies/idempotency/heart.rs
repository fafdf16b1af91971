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
use crate::uniform::UniformMap;

/// Beats for every run that is held, until it is dropped.
#[derive(Debug)]
pub(crate) struct Heart {
    beats: Arc<Beats>,
}

#[derive(Debug)]
struct Beats {
    held: Mutex<UniformMap<Token, Beat>>,
    stop: Notify,
    lease: Duration,
    max_run: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    since: Instant,
    lease: Lease,
    /// How long the record stays UNKNOWN if the run takes too long.
    ttl: Duration,
}

/// Keeps one run's lease renewed while it lives.
#[derive(Debug)]
pub(crate) struct Guard {
    beats: Arc<Beats>,
    token: Token,
}

impl Heart {
    /// Starts the thread. It beats every third of a `lease`, for each run up to `max_run`.
    pub(crate) fn start(
        store: Arc<dyn IdempotencyStore>,
        lease: Duration,
        max_run: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let beats = Arc::new(Beats {
            held: Mutex::default(),
            stop: Notify::new(),
            lease,
            max_run,
        });
        let beating = Arc::clone(&beats).beat_until_stopped(store);
        thread::Builder::new()
            .name(String::from("aplomb-heartbeat"))
            .spawn(move || runtime.block_on(beating))?;
        Ok(Self { beats })
    }

    /// Beats for a run until the guard is dropped; if that takes too long, the record is UNKNOWN
    /// for `ttl`.
    pub(crate) fn hold(&self, lease: Lease, ttl: Duration) -> Guard {
        self.beats.held().insert(
            lease.token,
            Beat {
                since: Instant::now(),
                lease,
                ttl,
            },
        );
        Guard {
            beats: Arc::clone(&self.beats),
            token: lease.token,
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.beats.stop.notify_one();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.beats.held().remove(&self.token);
    }
}

impl Beats {
    /// Beats every third of a lease; after a beat that failed sooner, as long as there is a lease to
    /// save.
    async fn beat_until_stopped(self: Arc<Self>, store: Arc<dyn IdempotencyStore>) {
        let calm = self.lease / 3;
        let mut pause = calm;
        while timeout(pause, self.stop.notified()).await.is_err() {
            pause = if self.beat(&*store).await {
                calm
            } else {
                (calm / 3).min(AGAIN)
            };
        }
    }

    /// `false` if the leases could not be renewed.
    async fn beat(&self, store: &dyn IdempotencyStore) -> bool {
        let leases = self.leases();
        let renewed =
            leases.is_empty() || self.note(&leases, store.heartbeat(&leases, self.lease).await);
        for hung in self.hung() {
            match store.write_off(hung.lease, hung.ttl).await {
                Ok(written) => self.write_off(hung.lease, written),
                // It beats on, so that nobody runs beside it, and is written off later.
                Err(error) => tracing::warn!(%error, "a hung request could not be written off"),
            }
        }
        renewed
    }

    fn held(&self) -> MutexGuard<'_, UniformMap<Token, Beat>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs that take too long.
    fn hung(&self) -> Vec<Beat> {
        let hung = |beat: &&Beat| beat.since.elapsed() >= self.max_run;
        self.held().values().filter(hung).copied().collect()
    }

    /// A run that was settled meanwhile is not written off.
    fn write_off(&self, lease: Lease, written: bool) {
        self.held().remove(&lease.token);
        if written {
            tracing::warn!(record = %lease.key, "a request runs for too long: its outcome is unknown");
        }
    }

    fn leases(&self) -> Vec<Lease> {
        self.held().values().map(|beat| beat.lease).collect()
    }

    fn note(&self, leases: &[Lease], answer: Result<Vec<bool>, StoreError>) -> bool {
        match answer {
            Err(error) => {
                tracing::warn!(%error, "leases of running requests could not be renewed");
                false
            }
            Ok(renewed) => {
                let lost = leases.iter().zip(renewed).filter(|(_, renewed)| !renewed);
                lost.for_each(|(lease, _)| self.lose(*lease));
                true
            }
        }
    }

    /// A run that has ended since the beat began has no lease to lose.
    fn lose(&self, lease: Lease) {
        if self.held().remove(&lease.token).is_some() {
            tracing::warn!(record = %lease.key, "the lease of a running request is lost");
        }
    }
}

/// After a beat that failed the next comes at the latest so soon.
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::policies::idempotency::{Begin, Begun, Fingerprint, OnCrash, RecordKey};
    use crate::store::MemoryRecords;
    use crate::testing::{Fault, FaultyRecords, Operation};

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
    fn start(records: &Records, max_run: Duration) -> Heart {
        let (held, stop) = (Mutex::default(), Notify::new());
        let heart = Heart {
            beats: Arc::new(Beats {
                held,
                stop,
                lease: LEASE,
                max_run,
            }),
        };
        tokio::spawn(Arc::clone(&heart.beats).beat_until_stopped(Arc::new(records.clone())));
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

    async fn hold(records: &Records, heart: &Heart, run: &Begin) -> Guard {
        assert_eq!(records.begin(run).await, Ok(Begun::Started));
        heart.hold(run.lease(), TTL)
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_beat_that_failed_is_repeated_before_its_lease_ends() {
        let records = records();
        let heart = start(&records, TTL);
        let _guard = hold(&records, &heart, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(Operation::Heartbeat, Fault::Lost));
        sleep(LEASE * 3).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(Begun::InFlight));
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
        assert_eq!(records.begin(&begin(1)).await, Ok(Begun::InFlight));
        assert_eq!(records.begin(&begin(2)).await, Ok(Begun::Started));
        assert_eq!(records.begin(&begin(3)).await, Ok(Begun::InFlight));
    }

    #[tokio::test(start_paused = true)]
    async fn a12_a_hung_run_keeps_its_lease_until_it_is_written_off() {
        let records = records();
        let heart = start(&records, Duration::ZERO);
        let _guard = hold(&records, &heart, &begin(1)).await;
        (0..5).for_each(|_| records.fail_next(Operation::WriteOff, Fault::Lost));
        sleep(LEASE * 3 / 2).await;
        assert_eq!(records.begin(&begin(1)).await, Ok(Begun::InFlight));
        sleep(LEASE * 3).await;
        assert_eq!(
            records.begin(&begin(1)).await,
            Ok(Begun::Unknown),
            "and never run again"
        );
    }
}
