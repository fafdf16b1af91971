//! What a store has promised by its answers, and whether it keeps to it: known without the model.

use core::time::Duration;
use std::collections::HashMap;

use super::call::{Answer, Call};
use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};

/// What is promised of each key. Of a key that is not here, nothing: its next request runs.
#[derive(Debug, Default)]
pub(super) struct History {
    now: Duration,
    promises: HashMap<RecordKey, Promise>,
    /// Tokens that begin no more, and until when.
    aborted: HashMap<Token, Duration>,
}

#[derive(Debug)]
struct Promise {
    token: Token,
    fingerprint: Fingerprint,
    on_crash: OnCrash,
    answer: Option<StoredResponse>,
    lease_ends: Duration,
    ends: Duration,
}

/// A rule that is broken.
type Broken = &'static str;

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

    /// Whether an answer keeps what was promised; what it promises itself.
    pub(super) fn add(&mut self, call: &Call, answer: &Answer) -> Result<(), Broken> {
        match (call, answer) {
            (Call::Begin(begin), Answer::BeginOutcome(found)) => self.begun(begin, found)?,
            (Call::Complete(complete), Answer::Completed(CompleteOutcome::Written)) => {
                self.written(complete)?;
            }
            (Call::Complete(complete), Answer::Completed(CompleteOutcome::Lost(_))) => {
                self.lost(complete.lease)?;
            }
            (Call::Abort(lease, marker), _) => self.aborted(*lease, *marker),
            (Call::Heartbeat(lease), Answer::Is(true)) => self.renewed(*lease)?,
            (Call::MarkUnknown(lease), Answer::Is(true)) => self.written_off(*lease)?,
            (Call::Resolve(key, response), Answer::Is(true)) => {
                self.resolved(*key, response.as_ref())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begun(&mut self, begin: &Begin, found: &BeginOutcome) -> Result<(), Broken> {
        if self.aborted.contains_key(&begin.token) && *found == BeginOutcome::Started {
            return Err(GHOST);
        }
        let Some(promise) = self.promises.get(&begin.key) else {
            return self.begun_where_free(begin, found);
        };
        let held = self.now < promise.lease_ends;
        match found {
            BeginOutcome::Aborted => Ok(()),
            BeginOutcome::Mismatch if promise.fingerprint != begin.fingerprint => Ok(()),
            _ if promise.fingerprint != begin.fingerprint => Err(MISTAKEN),
            BeginOutcome::Done(replayed) if promise.answer.as_ref() == Some(replayed) => Ok(()),
            _ if promise.answer.is_some() => Err(REPLAYED),
            BeginOutcome::Started if held && promise.token == begin.token => Ok(()),
            BeginOutcome::Started if held || promise.on_crash == OnCrash::Unknown => Err(TWICE),
            BeginOutcome::Started => self.begun_where_free(begin, found),
            BeginOutcome::InFlight | BeginOutcome::Unknown => Ok(()),
            BeginOutcome::Done(_) | BeginOutcome::Mismatch => Err(INVENTED),
        }
    }

    /// Where nothing stands in the way.
    fn begun_where_free(&mut self, begin: &Begin, found: &BeginOutcome) -> Result<(), Broken> {
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
            answer: None,
            lease_ends,
            ends,
        };
        self.promises.insert(begin.key, promise);
        Ok(())
    }

    fn written(&mut self, complete: &Complete) -> Result<(), Broken> {
        let Lease { key, token } = complete.lease;
        match self.promises.get(&key) {
            Some(promise) if promise.token != token => return Err(REPLACED),
            Some(Promise {
                answer: Some(_), ..
            }) => return Ok(()),
            _ => {}
        }
        let answer = match &complete.outcome {
            Outcome::Response(kept) => Some(kept.clone()),
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
                answer,
                lease_ends,
                ends,
            },
        );
        Ok(())
    }

    fn lost(&self, lease: Lease) -> Result<(), Broken> {
        let replaced = self
            .promises
            .get(&lease.key)
            .is_some_and(|promise| promise.token != lease.token);
        if replaced { Ok(()) } else { Err(REFUSED) }
    }

    /// An answer is never taken back.
    fn aborted(&mut self, lease: Lease, marker: Duration) {
        if !marker.is_zero() {
            self.aborted.insert(lease.token, self.now + marker);
        }
        if self
            .own(lease)
            .is_some_and(|promise| promise.answer.is_none())
        {
            self.promises.remove(&lease.key);
        }
    }

    fn renewed(&mut self, lease: Lease) -> Result<(), Broken> {
        let (now, lease_ends) = (self.now, self.now + LEASE);
        let promise = self
            .own(lease)
            .filter(|promise| now < promise.lease_ends)
            .ok_or(RENEWED)?;
        (promise.lease_ends, promise.ends) = (lease_ends, lease_ends + TTL);
        Ok(())
    }

    fn written_off(&mut self, lease: Lease) -> Result<(), Broken> {
        let now = self.now;
        let promise = self
            .own(lease)
            .filter(|promise| promise.answer.is_none())
            .ok_or(SETTLED)?;
        (promise.on_crash, promise.lease_ends, promise.ends) = (OnCrash::Unknown, now, now + TTL);
        Ok(())
    }

    fn resolved(
        &mut self,
        key: RecordKey,
        response: Option<&StoredResponse>,
    ) -> Result<(), Broken> {
        let now = self.now;
        let known = |promise: &&mut Promise| promise.answer.is_none() && promise.lease_ends <= now;
        let promise = self.promises.get_mut(&key).filter(known).ok_or(SETTLED)?;
        match response {
            Some(answer) => (promise.answer, promise.ends) = (Some(answer.clone()), now + TTL),
            None => drop(self.promises.remove(&key)),
        }
        Ok(())
    }

    fn own(&mut self, lease: Lease) -> Option<&mut Promise> {
        self.promises
            .get_mut(&lease.key)
            .filter(|promise| promise.token == lease.token)
    }
}

const BLOCKED: Broken = "A8: a key is blocked by what did not run, or has ended";
const MISTAKEN: Broken = "A9: another request under the key is not told so";
const GHOST: Broken = "A8: a begin that was aborted starts";
const INVENTED: Broken = "A9: a request is told of what was not there";
const RENEWED: Broken = "A12: a lease is renewed that is not held";
const REFUSED: Broken = "A12: a run whose record nobody took cannot complete";
const TWICE: Broken = "A14: a handler starts twice";
const REPLACED: Broken = "A19: a run whose record was taken completes";
const SETTLED: Broken = "A19: what is settled, or has ended, is settled again";
const REPLAYED: Broken = "A22: a replay is not the first answer";
