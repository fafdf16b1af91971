//! Checks, without the model, that the replies of a store do not contradict each other. A reply can
//! promise something for later replies, such as the replay of a stored response.

use core::time::Duration;
use std::collections::HashMap;

use super::call::{Call, Reply};
use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};

/// The promises for each key. A key without a promise is free, so its next request must run.
#[derive(Debug, Default)]
pub(super) struct History {
    now: Duration,
    promises: HashMap<RecordKey, Promise>,
    /// The tokens with an abort marker, and the end of each marker.
    aborted: HashMap<Token, Duration>,
}

#[derive(Debug)]
struct Promise {
    token: Token,
    fingerprint: Fingerprint,
    on_crash: OnCrash,
    response: Option<StoredResponse>,
    lease_ends: Duration,
    ends: Duration,
}

/// The text of a broken rule.
type BrokenRule = &'static str;

impl History {
    pub(super) fn elapse(&mut self, by: Duration) {
        self.now += by;
        self.promises.retain(|_, promise| self.now < promise.ends);
        self.aborted.retain(|_, ends| self.now < *ends);
    }

    pub(super) fn lose(&mut self) {
        self.promises.clear();
        self.aborted.clear();
    }

    /// Checks a reply against the promises, and adds the promises of this reply.
    pub(super) fn check(&mut self, call: &Call, reply: &Reply) -> Result<(), BrokenRule> {
        match (call, reply) {
            (Call::Begin(begin), Reply::BeginOutcome(found)) => self.check_begin(begin, found)?,
            (Call::Complete(complete), Reply::Completed(CompleteOutcome::Written)) => {
                self.check_written(complete)?;
            }
            (Call::Complete(complete), Reply::Completed(CompleteOutcome::Lost(_))) => {
                self.check_lost(complete.lease)?;
            }
            (Call::Abort(lease, marker), _) => self.record_abort(*lease, *marker),
            (Call::Heartbeat(lease), Reply::Flag(true)) => self.check_renewed(*lease)?,
            (Call::MarkUnknown(lease), Reply::Flag(true)) => self.check_marked_unknown(*lease)?,
            (Call::Resolve(key, response), Reply::Flag(true)) => {
                self.check_resolved(*key, response.as_ref())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_begin(&mut self, begin: &Begin, found: &BeginOutcome) -> Result<(), BrokenRule> {
        if self.aborted.contains_key(&begin.token) && *found == BeginOutcome::Started {
            return Err(ABORTED_BEGIN_STARTED);
        }
        let Some(promise) = self.promises.get(&begin.key) else {
            return self.check_begin_of_free_key(begin, found);
        };
        let is_leased = self.now < promise.lease_ends;
        match found {
            BeginOutcome::Aborted => Ok(()),
            BeginOutcome::Mismatch if promise.fingerprint != begin.fingerprint => Ok(()),
            _ if promise.fingerprint != begin.fingerprint => Err(MISMATCH_MISSED),
            BeginOutcome::Done(replayed) if promise.response.as_ref() == Some(replayed) => Ok(()),
            _ if promise.response.is_some() => Err(WRONG_REPLAY),
            BeginOutcome::Started if is_leased && promise.token == begin.token => Ok(()),
            BeginOutcome::Started if is_leased || promise.on_crash == OnCrash::Unknown => {
                Err(STARTED_TWICE)
            }
            BeginOutcome::Started => self.check_begin_of_free_key(begin, found),
            BeginOutcome::InFlight | BeginOutcome::Unknown => Ok(()),
            BeginOutcome::Done(_) | BeginOutcome::Mismatch | BeginOutcome::QuotaExceeded { .. } => {
                Err(OUTCOME_INVENTED)
            }
        }
    }

    /// Checks the begin of a key without a promise. It must start, unless its token was aborted.
    fn check_begin_of_free_key(
        &mut self,
        begin: &Begin,
        found: &BeginOutcome,
    ) -> Result<(), BrokenRule> {
        if *found != BeginOutcome::Started {
            return if *found == BeginOutcome::Aborted {
                Ok(())
            } else {
                Err(BLOCKED)
            };
        }
        let (token, fingerprint, on_crash) = (begin.token, begin.fingerprint, begin.on_crash);
        let lease_ends = self.now + LEASE;
        let ends = lease_ends + TTL;
        let promise = Promise {
            token,
            fingerprint,
            on_crash,
            response: None,
            lease_ends,
            ends,
        };
        self.promises.insert(begin.key, promise);
        Ok(())
    }

    fn check_written(&mut self, complete: &Complete) -> Result<(), BrokenRule> {
        let Lease { key, token } = complete.lease;
        match self.promises.get(&key) {
            Some(promise) if promise.token != token => return Err(REPLACED_RUN_COMPLETED),
            Some(Promise {
                response: Some(_), ..
            }) => return Ok(()),
            _ => {}
        }
        let response = match &complete.outcome {
            Outcome::Response(response) => Some(response.clone()),
            Outcome::Unknown => None,
        };
        let (on_crash, lease_ends, ends) = (OnCrash::Unknown, self.now, self.now + TTL);
        let fingerprint = complete.fingerprint;
        self.promises.insert(
            key,
            Promise {
                token,
                fingerprint,
                on_crash,
                response,
                lease_ends,
                ends,
            },
        );
        Ok(())
    }

    fn check_lost(&self, lease: Lease) -> Result<(), BrokenRule> {
        let replaced = self
            .promises
            .get(&lease.key)
            .is_some_and(|promise| promise.token != lease.token);
        if replaced {
            Ok(())
        } else {
            Err(COMPLETE_REJECTED)
        }
    }

    /// Removes the promise of an aborted run, unless the run has stored its response.
    fn record_abort(&mut self, lease: Lease, marker: Duration) {
        if !marker.is_zero() {
            self.aborted.insert(lease.token, self.now + marker);
        }
        if self
            .promise_of(lease)
            .is_some_and(|promise| promise.response.is_none())
        {
            self.promises.remove(&lease.key);
        }
    }

    fn check_renewed(&mut self, lease: Lease) -> Result<(), BrokenRule> {
        let (now, lease_ends) = (self.now, self.now + LEASE);
        let promise = self
            .promise_of(lease)
            .filter(|promise| now < promise.lease_ends)
            .ok_or(LOST_LEASE_RENEWED)?;
        (promise.lease_ends, promise.ends) = (lease_ends, lease_ends + TTL);
        Ok(())
    }

    fn check_marked_unknown(&mut self, lease: Lease) -> Result<(), BrokenRule> {
        let now = self.now;
        let promise = self
            .promise_of(lease)
            .filter(|promise| promise.response.is_none())
            .ok_or(SETTLED_TWICE)?;
        (promise.on_crash, promise.lease_ends, promise.ends) = (OnCrash::Unknown, now, now + TTL);
        Ok(())
    }

    fn check_resolved(
        &mut self,
        key: RecordKey,
        response: Option<&StoredResponse>,
    ) -> Result<(), BrokenRule> {
        let now = self.now;
        let is_unknown =
            |promise: &&mut Promise| promise.response.is_none() && promise.lease_ends <= now;
        let promise = self
            .promises
            .get_mut(&key)
            .filter(is_unknown)
            .ok_or(SETTLED_TWICE)?;
        match response {
            Some(response) => {
                (promise.response, promise.ends) = (Some(response.clone()), now + TTL);
            }
            None => drop(self.promises.remove(&key)),
        }
        Ok(())
    }

    fn promise_of(&mut self, lease: Lease) -> Option<&mut Promise> {
        self.promises
            .get_mut(&lease.key)
            .filter(|promise| promise.token == lease.token)
    }
}

const BLOCKED: BrokenRule = "A8: a begin of a free key did not start";
const MISMATCH_MISSED: BrokenRule = "A9: a different request with the same key was not a mismatch";
const ABORTED_BEGIN_STARTED: BrokenRule = "A8: an aborted begin started";
const OUTCOME_INVENTED: BrokenRule = "A9: a begin got an outcome that the store never had";
const LOST_LEASE_RENEWED: BrokenRule = "A12: a lease was renewed after it had lapsed or was lost";
const COMPLETE_REJECTED: BrokenRule =
    "A12: a run could not complete although no other run had taken its record";
const STARTED_TWICE: BrokenRule = "A14: a handler started twice";
const REPLACED_RUN_COMPLETED: BrokenRule =
    "A19: a run completed although another run had taken its record";
const SETTLED_TWICE: BrokenRule = "A19: a settled or expired record was settled again";
const WRONG_REPLAY: BrokenRule = "A22: a replay differed from the first response";
