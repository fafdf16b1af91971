//! A simple implementation of the rules of idempotency records, without memory limits, encoding and
//! I/O.

use core::time::Duration;
use std::collections::HashMap;

use super::call::{Call, Reply};
use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};

/// The records of a correct store. A key without a record is ABSENT.
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
    /// RUNNING, with a lease that has lapsed.
    Lapsed(OnCrash),
    Done(StoredResponse),
    Unknown,
}

impl Model {
    /// Advances the time: leases lapse, records and markers expire.
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

    /// Loses all records and markers.
    pub(super) fn lose(&mut self) {
        *self = Self {
            now: self.now,
            ..Self::default()
        };
    }

    /// Applies a call, and returns the reply of a correct store.
    pub(super) fn apply(&mut self, call: &Call) -> Reply {
        match call {
            Call::Begin(begin) => Reply::BeginOutcome(self.begin(begin)),
            Call::Heartbeat(lease) => Reply::Flag(self.heartbeat(*lease)),
            Call::Complete(complete) => Reply::Completed(self.complete(complete)),
            Call::Abort(lease, marker) => self.abort(*lease, *marker),
            Call::MarkUnknown(lease) => Reply::Flag(self.mark_unknown(*lease)),
            Call::Resolve(key, response) => Reply::Flag(self.resolve(*key, response.as_ref())),
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
            state => outcome_of(state),
        }
    }

    fn start(&mut self, begin: &Begin) -> BeginOutcome {
        let lease_ends = self.now + LEASE;
        let state = State::Running {
            on_crash: begin.on_crash,
            lease_ends,
        };
        self.insert(
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
        let Some(record) = self.record_of(lease) else {
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
                let is_same_request = record.fingerprint == *fingerprint;
                return CompleteOutcome::Lost(if is_same_request {
                    outcome_of(&record.state)
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
            Outcome::Response(response) => State::Done(response.clone()),
            Outcome::Unknown => State::Unknown,
        };
        self.insert(lease.key, lease.token, *fingerprint, state, self.now + TTL);
        CompleteOutcome::Written
    }

    fn abort(&mut self, lease: Lease, marker: Duration) -> Reply {
        if self
            .record_of(lease)
            .is_some_and(|record| !matches!(record.state, State::Done(_)))
        {
            self.records.remove(&lease.key);
        }
        if !marker.is_zero() {
            self.markers.insert(lease.token, self.now + marker);
        }
        Reply::Aborted
    }

    fn mark_unknown(&mut self, lease: Lease) -> bool {
        let ends = self.now + TTL;
        let Some(record) = self.record_of(lease) else {
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
        if outcome_of(&record.state) != BeginOutcome::Unknown {
            return false;
        }
        match response {
            Some(response) => (record.state, record.ends) = (State::Done(response.clone()), ends),
            None => drop(self.records.remove(&key)),
        }
        true
    }

    fn record_of(&mut self, lease: Lease) -> Option<&mut Record> {
        self.records
            .get_mut(&lease.key)
            .filter(|record| record.token == lease.token)
    }

    fn insert(
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

/// Returns the outcome of a begin of the same request by another run.
fn outcome_of(state: &State) -> BeginOutcome {
    match state {
        // A lapsed run with `Rerun` counts as running until a retry begins. `begin` starts that
        // retry before it calls this function.
        State::Running { .. } | State::Lapsed(OnCrash::Rerun) => BeginOutcome::InFlight,
        State::Lapsed(OnCrash::Unknown) | State::Unknown => BeginOutcome::Unknown,
        State::Done(response) => BeginOutcome::Done(response.clone()),
    }
}
