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
        let reply = match self
            .run_or_fail(&self.inner.scripts.begin, &keys, &arguments)
            .await
        {
            // A server that has no memory left refuses the whole script, because the script writes.
            // Existing records can still be read, so that retries get their replays.
            Err(StoreError::Full) => {
                self.run_or_fail(&self.inner.scripts.begin_when_full, &keys, &arguments)
                    .await?
            }
            reply => reply?,
        };
        parse_begin(reply, &keys[0])
    }

    /// Returns the Redis keys of the record and of the run's marker.
    pub(super) fn begin_keys(&self, begin: &Begin) -> [String; 2] {
        [
            self.inner.keys.record(&begin.key),
            self.inner.keys.marker(&begin.key, begin.token),
        ]
    }

    async fn complete_record(&self, complete: &Complete) -> Result<CompleteOutcome, StoreError> {
        let keys = [self.inner.keys.record(&complete.lease.key)];
        let (record, ttl) = (
            codec::encode_completed(complete),
            decimal(codec::millis(complete.ttl).max(1)),
        );
        match self
            .run_or_wait(
                &self.inner.scripts.complete,
                &keys,
                &[&record, ttl.as_bytes()],
            )
            .await?
        {
            Value::Int(0) => Ok(CompleteOutcome::Written),
            other => parse_outcome(other, &keys[0]).map(CompleteOutcome::Lost),
        }
    }

    async fn abort_record(&self, lease: Lease, marker: Duration) -> Result<(), StoreError> {
        let keys = [
            self.inner.keys.record(&lease.key),
            self.inner.keys.marker(&lease.key, lease.token),
        ];
        // If the connection is lost during a `begin`, the `begin` is sent a second time. When one
        // of the two has returned, the other one may still arrive.
        let marker = if marker.is_zero() {
            LATE_BEGIN_MARKER
        } else {
            marker
        };
        let (token, marker) = (
            lease.token.as_u128().to_be_bytes(),
            decimal(codec::millis(marker)),
        );
        match self
            .run_or_wait(
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

    /// Renews leases in batches, so that no call blocks the server for long.
    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        if self.link.is_cluster() {
            return self.renew_in_groups(leases, lease).await;
        }
        let mut renewed = Vec::with_capacity(leases.len());
        for batch in leases.chunks(HEARTBEAT_BATCH) {
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
        let mut arguments = vec![decimal(codec::millis(lease)).into_bytes()];
        arguments.extend(
            leases
                .iter()
                .map(|lease| lease.token.as_u128().to_be_bytes().to_vec()),
        );
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let call = ScriptCall {
            keys: &keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::WaitUntilDeadline,
        };
        // The next renewal is due after a third of the lease, so a longer wait would only delay the
        // next renewal.
        let timeout = self.inner.timeout.min(lease / 3);
        let reply = self
            .inner
            .scripts
            .heartbeat
            .run(&self.link, call, timeout)
            .await?;
        let Value::Array(values) = &reply else {
            return Err(unexpected(&reply));
        };
        if values.len() != leases.len() {
            return Err(unexpected(&reply));
        }
        Ok(values.iter().map(|value| *value == Value::Int(1)).collect())
    }

    async fn mark_record_unknown(&self, lease: Lease, ttl: Duration) -> Result<bool, StoreError> {
        let keys = [self.inner.keys.record(&lease.key)];
        let (token, ttl) = (
            lease.token.as_u128().to_be_bytes(),
            decimal(codec::millis(ttl).max(1)),
        );
        parse_flag(
            self.run_or_fail(
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
            .run_or_fail(&self.inner.scripts.find, &keys, &no_arguments)
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
        let response = response
            .as_ref()
            .map(StoredResponse::to_bytes)
            .unwrap_or_default();
        let ttl = decimal(codec::millis(ttl).max(1));
        parse_flag(
            self.run_or_fail(
                &self.inner.scripts.resolve,
                &keys,
                &[&response[..], ttl.as_bytes()],
            )
            .await?,
        )
    }

    /// Runs a script for a new request. The call fails immediately while there is no connection.
    async fn run_or_fail<A: ToRedisArgs>(
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

    /// Runs a script for a finished run. The call waits for a connection until the timeout.
    ///
    /// The client may send a retry as soon as it has its response. That retry should find the
    /// record settled.
    async fn run_or_wait(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let call = ScriptCall {
            keys,
            arguments,
            when_disconnected: WhenDisconnected::WaitUntilDeadline,
        };
        script.run(&self.link, call, self.inner.timeout).await
    }
}

/// Returns the arguments of the script `begin`.
pub(super) fn begin_arguments(begin: &Begin) -> [Vec<u8>; 3] {
    let fingerprints =
        codec::fingerprints(core::iter::once(&begin.fingerprint).chain(&begin.earlier));
    let life = decimal(codec::millis(begin.lease) + codec::millis(begin.ttl));
    [codec::running(begin), fingerprints, life.into_bytes()]
}

/// Parses the reply of the script `begin`.
pub(super) fn parse_begin(reply: Value, key: &str) -> Result<BeginOutcome, StoreError> {
    match reply {
        Value::Int(0) => Ok(BeginOutcome::Started),
        Value::Int(4) => Ok(BeginOutcome::Aborted),
        Value::Int(5) => Err(StoreError::Full),
        other => parse_outcome(other, key),
    }
}

/// The life of the marker that stops a late duplicate of a `begin`. After this time, a command that
/// was sent over a lost connection no longer arrives.
const LATE_BEGIN_MARKER: Duration = Duration::from_secs(30);

/// The number of leases that one script call renews.
pub(super) const HEARTBEAT_BATCH: usize = 256;

/// Parses the outcome of a `begin` or `complete` that found the record of another run.
fn parse_outcome(reply: Value, key: &str) -> Result<BeginOutcome, StoreError> {
    match reply {
        Value::Int(1) => Ok(BeginOutcome::InFlight),
        Value::Int(2) => Ok(BeginOutcome::Unknown),
        Value::Int(3) => Ok(BeginOutcome::Mismatch),
        Value::BulkString(record) => parse_done(record, key).map(BeginOutcome::Done),
        other => Err(unexpected(&other)),
    }
}

/// Parses the response of a DONE record.
fn parse_done(record: Vec<u8>, key: &str) -> Result<StoredResponse, StoreError> {
    codec::stored_response(record).ok_or_else(|| {
        malformed(
            key.to_owned(),
            "the response is damaged, or another version wrote it",
        )
    })
}

fn parse_flag(reply: Value) -> Result<bool, StoreError> {
    match reply {
        Value::Int(number) => Ok(number == 1),
        other => Err(unexpected(&other)),
    }
}

fn decimal(number: u64) -> String {
    number.to_string()
}
