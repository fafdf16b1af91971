use core::time::Duration;
use std::sync::Arc;

use redis::{ToRedisArgs, Value};

use super::link::WhenDisconnected;
use super::script::{Script, ScriptCall, malformed, unexpected};
use super::{RedisStore, codec};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    RecordState, StoredResponse,
};
use crate::store::{StoreError, StoreFuture};

impl IdempotencyStore for RedisStore {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(self.begin_record(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        StoreFuture::later(self.renew(leases, lease))
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        StoreFuture::later(self.complete_record(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        StoreFuture::later(self.abort_record(lease, marker))
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        StoreFuture::later(self.mark_record_unknown(lease, ttl))
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(self.find_record(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        StoreFuture::later(self.resolve_record(key, response, ttl))
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        Some(Arc::new(Self {
            inner: Arc::clone(&self.inner),
            link: self.link.with_own_connections(),
        }))
    }
}

impl RedisStore {
    async fn begin_record(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let (keys, arguments) = (self.begin_keys(begin), begin_arguments(begin));
        let answer = match self.ask(&self.inner.scripts.begin, &keys, &arguments).await {
            // A full server still knows what it has.
            Err(StoreError::Full) => {
                self.ask(&self.inner.scripts.look, &keys, &arguments)
                    .await?
            }
            answer => answer?,
        };
        parse_begin(answer, &keys[0])
    }

    /// The keys of the record and of the marker of the run.
    pub(super) fn begin_keys(&self, begin: &Begin) -> [String; 2] {
        [
            self.inner.keys.record(&begin.key),
            self.inner.keys.marker(&begin.key, begin.token),
        ]
    }

    async fn complete_record(&self, complete: &Complete) -> Result<CompleteOutcome, StoreError> {
        let keys = [self.inner.keys.record(&complete.lease.key)];
        let (record, ttl) = (
            codec::ended(complete),
            text(codec::millis(complete.ttl).max(1)),
        );
        match self
            .send(
                &self.inner.scripts.complete,
                &keys,
                &[&record, ttl.as_bytes()],
            )
            .await?
        {
            Value::Int(0) => Ok(CompleteOutcome::Written),
            found => parse_found(found, &keys[0]).map(CompleteOutcome::Lost),
        }
    }

    async fn abort_record(&self, lease: Lease, marker: Duration) -> Result<(), StoreError> {
        let keys = [
            self.inner.keys.record(&lease.key),
            self.inner.keys.marker(&lease.key, lease.token),
        ];
        // A `begin` whose connection was cut was sent twice: one of them may be late although the
        // other was answered.
        let marker = if marker.is_zero() {
            MAX_LEASE_MILLIS
        } else {
            marker
        };
        let (token, marker) = (
            lease.token.as_u128().to_be_bytes(),
            text(codec::millis(marker)),
        );
        match self
            .send(
                &self.inner.scripts.abort,
                &keys,
                &[&token, marker.as_bytes()],
            )
            .await?
        {
            Value::Int(0) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// In batches, so that no call holds the server up.
    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        if self.link.is_cluster() {
            return self.renew_in_groups(leases, lease).await;
        }
        let mut renewed = Vec::with_capacity(leases.len());
        for batch in leases.chunks(BATCH) {
            renewed.extend(self.renew_batch(batch, lease).await?);
        }
        Ok(renewed)
    }

    pub(super) async fn renew_batch(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<String> = leases
            .iter()
            .map(|lease| self.inner.keys.record(&lease.key))
            .collect();
        let mut arguments = vec![text(codec::millis(lease)).into_bytes()];
        arguments.extend(
            leases
                .iter()
                .map(|lease| lease.token.as_u128().to_be_bytes().to_vec()),
        );
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let run = ScriptCall {
            keys: &keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::WaitUntilDeadline,
        };
        // A beat that comes too late for its lease is of no use.
        let within = self.inner.timeout.min(lease / 3);
        let answer = self
            .inner
            .scripts
            .heartbeat
            .run(&self.link, run, within)
            .await?;
        let Value::Array(values) = &answer else {
            return Err(unexpected(&answer));
        };
        if values.len() != leases.len() {
            return Err(unexpected(&answer));
        }
        Ok(values.iter().map(|value| *value == Value::Int(1)).collect())
    }

    async fn mark_record_unknown(&self, lease: Lease, ttl: Duration) -> Result<bool, StoreError> {
        let keys = [self.inner.keys.record(&lease.key)];
        let (token, ttl) = (
            lease.token.as_u128().to_be_bytes(),
            text(codec::millis(ttl).max(1)),
        );
        parse_flag(
            self.ask(
                &self.inner.scripts.mark_unknown,
                &keys,
                &[&token[..], ttl.as_bytes()],
            )
            .await?,
        )
    }

    async fn find_record(&self, key: RecordKey) -> Result<Option<RecordState>, StoreError> {
        let keys = [self.inner.keys.record(&key)];
        let no_arguments: [&[u8]; 0] = [];
        match self
            .ask(&self.inner.scripts.find, &keys, &no_arguments)
            .await?
        {
            Value::Int(0) => Ok(None),
            Value::Int(1) => Ok(Some(RecordState::Running)),
            Value::Int(2) => Ok(Some(RecordState::Unknown)),
            Value::Int(3) => Ok(Some(RecordState::Lapsed)),
            Value::BulkString(record) => parse_done(record, &keys[0])
                .map(RecordState::Done)
                .map(Some),
            other => Err(unexpected(&other)),
        }
    }

    async fn resolve_record(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let keys = [self.inner.keys.record(&key)];
        let answer = response
            .as_ref()
            .map(StoredResponse::to_bytes)
            .unwrap_or_default();
        let ttl = text(codec::millis(ttl).max(1));
        parse_flag(
            self.ask(
                &self.inner.scripts.resolve,
                &keys,
                &[&answer[..], ttl.as_bytes()],
            )
            .await?,
        )
    }

    async fn ask<A: ToRedisArgs>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[A],
    ) -> Result<Value, StoreError> {
        script
            .run(
                &self.link,
                ScriptCall {
                    keys,
                    arguments,
                    when_disconnected: WhenDisconnected::Fail,
                },
                self.inner.timeout,
            )
            .await
    }

    /// Tells how a run ended: a client may ask again as soon as it has its answer.
    async fn send(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let run = ScriptCall {
            keys,
            arguments,
            when_disconnected: WhenDisconnected::WaitUntilDeadline,
        };
        script.run(&self.link, run, self.inner.timeout).await
    }
}

/// What the script is told of a run that wants to begin.
pub(super) fn begin_arguments(begin: &Begin) -> [Vec<u8>; 3] {
    let fingerprints =
        codec::fingerprints(core::iter::once(&begin.fingerprint).chain(&begin.earlier));
    let life = text(codec::millis(begin.lease) + codec::millis(begin.ttl));
    [codec::running(begin), fingerprints, life.into_bytes()]
}

/// What the script gives.
pub(super) fn parse_begin(answer: Value, key: &str) -> Result<BeginOutcome, StoreError> {
    match answer {
        Value::Int(0) => Ok(BeginOutcome::Started),
        Value::Int(4) => Ok(BeginOutcome::Aborted),
        Value::Int(5) => Err(StoreError::Full),
        found => parse_found(found, key),
    }
}

/// How late a request of a connection that was cut can be.
const MAX_LEASE_MILLIS: Duration = Duration::from_secs(30);

/// Leases renewed by one call.
pub(super) const BATCH: usize = 256;

/// What a request meets where another run has the record.
fn parse_found(answer: Value, key: &str) -> Result<BeginOutcome, StoreError> {
    match answer {
        Value::Int(1) => Ok(BeginOutcome::InFlight),
        Value::Int(2) => Ok(BeginOutcome::Unknown),
        Value::Int(3) => Ok(BeginOutcome::Mismatch),
        Value::BulkString(record) => parse_done(record, key).map(BeginOutcome::Done),
        other => Err(unexpected(&other)),
    }
}

/// The answer of a record that is done.
fn parse_done(record: Vec<u8>, key: &str) -> Result<StoredResponse, StoreError> {
    codec::kept(record).ok_or_else(|| {
        malformed(
            key.to_owned(),
            "the answer is damaged, or of another version",
        )
    })
}

fn parse_flag(answer: Value) -> Result<bool, StoreError> {
    match answer {
        Value::Int(number) => Ok(number == 1),
        other => Err(unexpected(&other)),
    }
}

fn text(number: u64) -> String {
    number.to_string()
}
