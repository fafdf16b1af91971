//! The rules of the records as a program that is meant to be read: no bounds, no bytes, no I/O.

use core::time::Duration;
use std::collections::HashMap;

use super::call::{Answer, Call};
use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};

/// What a right store has. A key without a record is ABSENT.
#[derive(Debug, Default)]
pub(super) struct Model {
    now: Duration,
    records: HashMap<RecordKey, Record>,
    markers: HashMap<Token, Duration>,
}

#[derive(Debug)]
struct Record {
    token: Token,
    fingerprint: Fingerprint,
    state: State,
    ends: Duration,
}

#[derive(Debug)]
enum State {
    Running {
        on_crash: OnCrash,
        lease_ends: Duration,
    },
    /// RUNNING, and its lease has ended.
    Lapsed(OnCrash),
    Done(StoredResponse),
    Unknown,
}

impl Model {
    /// Time passes: leases lapse, records and markers end.
    pub(super) fn elapse(&mut self, by: Duration) {
        let now = self.now + by;
        self.now = now;
        self.records.retain(|_, record| now < record.ends);
        self.markers.retain(|_, ends| now < *ends);
        for record in self.records.values_mut() {
            match record.state {
                State::Running {
                    on_crash,
                    lease_ends,
                } if lease_ends <= now => {
                    record.state = State::Lapsed(on_crash);
                }
                _ => {}
            }
        }
    }

    /// All is lost.
    pub(super) fn lose(&mut self) {
        *self = Self {
            now: self.now,
            ..Self::default()
        };
    }

    pub(super) fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Begin(begin) => Answer::BeginOutcome(self.begin(begin)),
            Call::Heartbeat(lease) => Answer::Is(self.heartbeat(*lease)),
            Call::Complete(complete) => Answer::Completed(self.complete(complete)),
            Call::Abort(lease, marker) => self.abort(*lease, *marker),
            Call::MarkUnknown(lease) => Answer::Is(self.mark_unknown(*lease)),
            Call::Resolve(key, response) => Answer::Is(self.resolve(*key, response.as_ref())),
        }
    }

    fn begin(&mut self, begin: &Begin) -> BeginOutcome {
        if self.markers.contains_key(&begin.token) {
            return BeginOutcome::Aborted;
        }
        let Some(record) = self.records.get(&begin.key) else {
            return self.start(begin);
        };
        match &record.state {
            _ if record.fingerprint != begin.fingerprint => BeginOutcome::Mismatch,
            State::Running { .. } if record.token == begin.token => BeginOutcome::Started,
            State::Lapsed(OnCrash::Rerun) => self.start(begin),
            state => met(state),
        }
    }

    fn start(&mut self, begin: &Begin) -> BeginOutcome {
        let lease_ends = self.now + LEASE;
        let state = State::Running {
            on_crash: begin.on_crash,
            lease_ends,
        };
        self.put(
            begin.key,
            begin.token,
            begin.fingerprint,
            state,
            lease_ends + TTL,
        );
        BeginOutcome::Started
    }

    fn heartbeat(&mut self, lease: Lease) -> bool {
        let renewed = self.now + LEASE;
        let Some(record) = self.own(lease) else {
            return false;
        };
        let State::Running { lease_ends, .. } = &mut record.state else {
            return false;
        };
        *lease_ends = renewed;
        record.ends = renewed + TTL;
        true
    }

    fn complete(&mut self, complete: &Complete) -> CompleteOutcome {
        let Complete {
            lease,
            fingerprint,
            outcome,
            ..
        } = complete;
        match self.records.get(&lease.key) {
            Some(record) if record.token != lease.token => {
                let same = record.fingerprint == *fingerprint;
                return CompleteOutcome::Lost(if same {
                    met(&record.state)
                } else {
                    BeginOutcome::Mismatch
                });
            }
            Some(Record {
                state: State::Done(_),
                ..
            }) => return CompleteOutcome::Written,
            _ => {}
        }
        let state = match outcome {
            Outcome::Response(kept) => State::Done(kept.clone()),
            Outcome::Unknown => State::Unknown,
        };
        self.put(lease.key, lease.token, *fingerprint, state, self.now + TTL);
        CompleteOutcome::Written
    }

    fn abort(&mut self, lease: Lease, marker: Duration) -> Answer {
        if self
            .own(lease)
            .is_some_and(|record| !matches!(record.state, State::Done(_)))
        {
            self.records.remove(&lease.key);
        }
        if !marker.is_zero() {
            self.markers.insert(lease.token, self.now + marker);
        }
        Answer::Aborted
    }

    fn mark_unknown(&mut self, lease: Lease) -> bool {
        let ends = self.now + TTL;
        let Some(record) = self.own(lease) else {
            return false;
        };
        if matches!(record.state, State::Done(_) | State::Unknown) {
            return false;
        }
        (record.state, record.ends) = (State::Unknown, ends);
        true
    }

    fn resolve(&mut self, key: RecordKey, response: Option<&StoredResponse>) -> bool {
        let ends = self.now + TTL;
        let Some(record) = self.records.get_mut(&key) else {
            return false;
        };
        if met(&record.state) != BeginOutcome::Unknown {
            return false;
        }
        match response {
            Some(kept) => (record.state, record.ends) = (State::Done(kept.clone()), ends),
            None => drop(self.records.remove(&key)),
        }
        true
    }

    fn own(&mut self, lease: Lease) -> Option<&mut Record> {
        self.records
            .get_mut(&lease.key)
            .filter(|record| record.token == lease.token)
    }

    fn put(
        &mut self,
        key: RecordKey,
        token: Token,
        fingerprint: Fingerprint,
        state: State,
        ends: Duration,
    ) {
        self.records.insert(
            key,
            Record {
                token,
                fingerprint,
                state,
                ends,
            },
        );
    }
}

/// What another run of the same request meets.
fn met(state: &State) -> BeginOutcome {
    match state {
        // A lapsed run that may be run again, and is not yet.
        State::Running { .. } | State::Lapsed(OnCrash::Rerun) => BeginOutcome::InFlight,
        State::Lapsed(OnCrash::Unknown) | State::Unknown => BeginOutcome::Unknown,
        State::Done(kept) => BeginOutcome::Done(kept.clone()),
    }
}
