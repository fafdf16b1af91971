//! Records that have names in several slots of a cluster: while the secret is changed, a caller has a
//! tag by each of the two, and so a key has names in two slots.
//!
//! No step sees both slots. A run therefore begins under its own name and then looks under the others:
//! of two runs that begin at the same time under different names at least one sees the other, and gives
//! way. Both may, and their clients ask again.

use core::time::Duration;

use redis::Value;

use super::hash_slot::HashSlot;
use super::records::{FIRST_ALIAS, found, started_as};
use super::script::unexpected;
use super::{RedisStore, codec};
use crate::policies::idempotency::{Begin, Begun, Complete, Completed, Lease, OnCrash, RecordKey};
use crate::store::StoreError;

/// What stands under names of another slot.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// A record that may be run again, and keeps its name.
    Lapsed,
    Taken(Begun),
}

impl RedisStore {
    /// Begins a run whose record has names in several slots.
    pub(super) async fn begin_apart(&self, begin: &Begin) -> Result<Begun, StoreError> {
        let [own, others @ ..] = &self.apart(begin)[..] else { return self.begin_under(begin).await };
        for other in others {
            match self.scan(other).await? {
                Seen::Nothing => {}
                Seen::Lapsed => return self.begin_again(other).await,
                Seen::Taken(taken) => return Ok(taken),
            }
        }
        let answer = self.begin_under(own).await?;
        let key = match answer {
            Begun::Started => own.key,
            Begun::StartedAs(alias) => alias,
            _ => return Ok(answer),
        };
        match self.beside(others).await.map_err(unknown)? {
            None => Ok(answer),
            Some(another) => {
                let lease = Lease { key, token: begin.token };
                self.abort_record(lease, Duration::ZERO).await.map_err(unknown).map(|()| another)
            }
        }
    }

    /// Completes a run whose record has names in several slots. Where the record is lost, another run may
    /// have taken it under another name.
    pub(super) async fn complete_apart(&self, complete: &Complete) -> Result<Completed, StoreError> {
        let begin = begin_of(complete);
        let [own, others @ ..] = &self.apart(&begin)[..] else { return Err(unexpected(&Value::Nil)) };
        let names = core::iter::once(&own.key).chain(&own.aliases);
        let keys: Vec<String> = names.map(|name| self.inner.keys.record(name)).collect();
        if let Some(completed) = self.complete_at_once(complete, &keys, false).await? {
            return Ok(completed);
        }
        if let Some(another) = self.beside(others).await? {
            return Ok(Completed::Lost(another));
        }
        let completed = self.complete_at_once(complete, &keys, true).await?;
        completed.ok_or_else(|| unexpected(&Value::Nil))
    }

    /// The same for each slot that has names of the record; that of its own name first.
    fn apart(&self, begin: &Begin) -> Vec<Begin> {
        let slot = |key: &RecordKey| HashSlot::of(&self.inner.keys.record(key));
        let mut apart: Vec<Begin> = vec![Begin { aliases: Vec::new(), ..begin.clone() }];
        for alias in &begin.aliases {
            match apart.iter_mut().find(|one| slot(&one.key) == slot(alias)) {
                Some(one) => one.aliases.push(*alias),
                None => apart.push(Begin { key: *alias, aliases: Vec::new(), ..begin.clone() }),
            }
        }
        apart
    }

    /// Runs a record again that has lapsed in another slot, under the name and with the fingerprint that
    /// it has: as one of the other names of a record that does not exist.
    async fn begin_again(&self, begin: &Begin) -> Result<Begun, StoreError> {
        let nobody = RecordKey::new(*begin.key.caller(), rand::random());
        let aliases = core::iter::once(begin.key).chain(begin.aliases.iter().copied()).collect();
        let begin = Begin { key: nobody, aliases, ..begin.clone() };
        match self.begin_under(&begin).await? {
            // What had lapsed is gone by now.
            Begun::Started => self
                .abort_record(begin.lease(), Duration::ZERO)
                .await
                .map_err(unknown)
                .map(|()| Begun::InFlight),
            answer => Ok(answer),
        }
    }

    async fn begin_under(&self, begin: &Begin) -> Result<Begun, StoreError> {
        self.begin_at_once(begin, &self.begin_keys(begin)).await
    }

    /// What another run has under these names; nothing where what stands there is of the same run.
    async fn beside(&self, others: &[Begin]) -> Result<Option<Begun>, StoreError> {
        for other in others {
            match self.scan(other).await? {
                Seen::Nothing | Seen::Taken(Begun::StartedAs(_) | Begun::Aborted) => {}
                Seen::Lapsed => return Ok(Some(Begun::InFlight)),
                Seen::Taken(taken) => return Ok(Some(taken)),
            }
        }
        Ok(None)
    }

    async fn scan(&self, begin: &Begin) -> Result<Seen, StoreError> {
        let keys = self.begin_keys(begin);
        let fingerprints = codec::fingerprints(core::iter::once(&begin.fingerprint).chain(&begin.earlier));
        let arguments: [&[u8]; 2] = [&codec::running(begin), &fingerprints];
        match self.ask(&self.inner.scripts.scan, &keys, &arguments).await? {
            Value::Int(5) => Ok(Seen::Nothing),
            Value::Int(6) => Ok(Seen::Lapsed),
            Value::Int(0) => Ok(Seen::Taken(Begun::StartedAs(begin.key))),
            Value::Int(at @ FIRST_ALIAS..) => started_as(begin, at).map(Seen::Taken),
            Value::Int(4) => Ok(Seen::Taken(Begun::Aborted)),
            taken => found(taken, &keys[0]).map(Seen::Taken),
        }
    }
}

/// What a run that has ended would have begun with, as far as looking for its record goes.
fn begin_of(complete: &Complete) -> Begin {
    let Complete { lease, fingerprint, ttl, .. } = complete;
    let begin = Begin::new(lease.key, *fingerprint, lease.token, Duration::ZERO, OnCrash::Unknown, *ttl);
    Begin { aliases: complete.aliases.clone(), earlier: complete.earlier.clone(), ..begin }
}

/// The run has begun already, whatever is said of a later step.
fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::Unreachable(why) => StoreError::Unavailable(why),
        StoreError::Unavailable(_) | StoreError::Failed(_) => error,
        error => StoreError::Failed(error.to_string()),
    }
}
