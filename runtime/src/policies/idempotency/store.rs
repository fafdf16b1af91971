use core::error::Error;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::spec::OnCrash;
use super::stored_response::StoredResponse;
use crate::facet::StoreFuture;

/// The records of idempotency keys.
///
/// A record goes `ABSENT → RUNNING → DONE → ABSENT`. It is RUNNING under a lease, which the process
/// that runs the request renews; a lease that lapsed means that this process is gone. Every write
/// names the token that the runner drew, which fences off a runner that lost its record. Time is
/// the store's own.
///
/// | state | `begin`, same request | `begin`, other request |
/// |---|---|---|
/// | ABSENT | `Started` | `Started` |
/// | RUNNING | `InFlightBody` (`Started` for its own token) | `Mismatch` |
/// | lapsed, rerun | `Started` | `Mismatch` |
/// | lapsed, else | `Unknown` | `Mismatch` |
/// | DONE | `Done` | `Mismatch` |
/// | UNKNOWN | `Unknown` | `Mismatch` |
pub trait IdempotencyStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the record for a run, or tells what is there.
    ///
    /// **Atomic**: of several calls for one ABSENT record exactly one is `Started`. **Idempotent**
    /// for its own token: asked again it is `Started` again. After an `abort` of the token it is
    /// `Aborted` for one lease, so that a call that was late in the network leaves no ghost.
    ///
    /// **Expiry**: the lease ends `lease` after the store's now.
    ///
    /// **Crash** before: nothing is there. After, with the answer lost: the record is RUNNING until
    /// its lease ends; the caller therefore repeats `abort` until that is confirmed.
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome>;

    /// Renews leases; the answer says of each whether it was still held. A lapsed lease is not
    /// renewed.
    ///
    /// **Atomic** per lease. **Expiry**: a renewed lease ends `lease` after the store's now. **Crash**
    /// before: the leases end as they were. After: renewed.
    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>>;

    /// Writes the outcome of a run, to be kept for `ttl` from now.
    ///
    /// Compares the token and never the lease: RUNNING, lapsed or UNKNOWN with this token becomes
    /// DONE, and so does an ABSENT record (the store lost it); DONE with this token stays. With
    /// another token nothing is written and the answer is what is there.
    ///
    /// **Atomic**. **Expiry**: never before `ttl` has passed. **Crash** before: the lease lapses,
    /// and the record becomes UNKNOWN or is run again. After: DONE, for whoever asks.
    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome>;

    /// Removes the record if it is RUNNING, or UNKNOWN, with this token, and leaves a marker that makes a late
    /// `begin` of the same token do nothing.
    ///
    /// **Atomic**, and harmless when repeated. **Expiry**: the marker ends after `marker`; for a
    /// token whose `begin` was answered it is zero, and none is left unless the store itself may have
    /// asked twice. **Crash** before: the lease lapses. After: ABSENT.
    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()>;

    /// Makes a RUNNING record with this token, lapsed or not, UNKNOWN for `ttl` from now. `false`,
    /// and nothing written, where it is no more: the run has just been settled.
    ///
    /// **Atomic**. **Expiry**: as of an answer. **Crash** before: the lease lapses. After: UNKNOWN,
    /// until the run completes after all.
    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool>;

    /// Reads a record and changes nothing; `None` if it is ABSENT. For operators, who see what a request
    /// of whatever fingerprint would meet.
    ///
    /// **Atomic**. **Expiry** and **crash**: nothing is written.
    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>>;

    /// Decides an UNKNOWN record by hand: with a response it is DONE for `ttl`, without it is
    /// ABSENT, so that the next request runs. `false` if the record is not UNKNOWN.
    ///
    /// **Atomic**. **Expiry**: as of an answer. **Crash** before: still UNKNOWN. After: decided.
    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool>;

    /// The same records by a way of their own for the thread that renews leases, where this one's
    /// calls need the runtime of the requests: a handler that blocks it must not stop the renewal.
    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        None
    }
}

impl<R: IdempotencyStore + ?Sized> IdempotencyStore for Arc<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        (**self).begin(begin)
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        (**self).heartbeat(leases, lease)
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        (**self).complete(complete)
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        (**self).abort(lease, marker)
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        (**self).mark_unknown(lease, ttl)
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        (**self).find(key)
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        (**self).resolve(key, response, ttl)
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        (**self).for_heartbeat()
    }
}

/// The name of a record: a hash of its caller, and one of caller, route and key. Of a caller without
/// identity the first is the record's own, so that such records are not all in one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    caller: [u8; 16],
    name: [u8; 16],
}

impl RecordKey {
    /// The record of this caller with this name.
    pub const fn new(caller: [u8; 16], name: [u8; 16]) -> Self {
        Self { caller, name }
    }

    /// The caller's hash, so that what belongs to one caller can be kept in one place; without a caller
    /// the record's own.
    pub const fn caller(&self) -> &[u8; 16] {
        &self.caller
    }

    /// The hash that no other record has.
    pub const fn name(&self) -> &[u8; 16] {
        &self.name
    }
}

/// Hashes the name alone, which no other record has: a table looks up every request.
impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.name);
    }
}

/// Both hashes in base64url, with a point between.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            URL_SAFE_NO_PAD.encode(self.caller),
            URL_SAFE_NO_PAD.encode(self.name)
        )
    }
}

/// As the log shows it.
impl FromStr for RecordKey {
    type Err = InvalidRecordKey;

    fn from_str(text: &str) -> Result<Self, InvalidRecordKey> {
        let hash = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            <[u8; 16]>::try_from(bytes).ok()
        };
        let (caller, name) = text.split_once('.').ok_or(InvalidRecordKey)?;
        hash(caller)
            .zip(hash(name))
            .map(|(caller, name)| Self { caller, name })
            .ok_or(InvalidRecordKey)
    }
}

/// A text that is not the name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRecordKey;

impl fmt::Display for InvalidRecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not the name of a record: two hashes of 22 characters with a point between, as in the log",
        )
    }
}

impl Error for InvalidRecordKey {}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({self})")
    }
}

/// What a request is, so that another request under its key is found out: a keyed BLAKE3, with
/// the version of the rule by which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// A fingerprint by this version of the rule.
    pub const fn new(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// The version of the rule.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The digest.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// The fencing token of a run: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u128);

impl Token {
    /// A token that no other run has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The token with these bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The token's bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// A request that wants to run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Begin {
    /// The record.
    pub key: RecordKey,
    /// What the request is.
    pub fingerprint: Fingerprint,
    /// What the request is by earlier versions of the rule: a record that was made by one of them
    /// is compared with that one.
    pub earlier: Vec<Fingerprint>,
    /// The run's token.
    pub token: Token,
    /// How long the record stays RUNNING without a heartbeat.
    pub lease: Duration,
    /// What a retry meets when the lease lapsed.
    pub on_crash: OnCrash,
    /// How long an UNKNOWN record stays.
    pub ttl: Duration,
}

impl Begin {
    /// A request that wants to run under this key.
    pub const fn new(
        key: RecordKey,
        fingerprint: Fingerprint,
        token: Token,
        lease: Duration,
        on_crash: OnCrash,
        ttl: Duration,
    ) -> Self {
        Self {
            key,
            fingerprint,
            earlier: Vec::new(),
            token,
            lease,
            on_crash,
            ttl,
        }
    }

    /// The same request, known by these fingerprints, too.
    #[must_use]
    pub fn with_earlier(mut self, earlier: Vec<Fingerprint>) -> Self {
        self.earlier = earlier;
        self
    }

    /// The hold that the run gets on its record.
    pub const fn lease(&self) -> Lease {
        Lease {
            key: self.key,
            token: self.token,
        }
    }

    /// Whether a record with this fingerprint is of the same request.
    pub fn is_same(&self, recorded: &Fingerprint) -> bool {
        self.fingerprint == *recorded || self.earlier.contains(recorded)
    }
}

/// A run's hold on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The record.
    pub key: RecordKey,
    /// The run's token.
    pub token: Token,
}

/// The outcome of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Complete {
    /// The run.
    pub lease: Lease,
    /// What the request was, for a record that the store lost.
    pub fingerprint: Fingerprint,
    /// What is kept.
    pub outcome: Outcome,
    /// How long.
    pub ttl: Duration,
}

impl Complete {
    /// The outcome of a run, to be kept for `ttl`.
    pub const fn new(
        lease: Lease,
        fingerprint: Fingerprint,
        outcome: Outcome,
        ttl: Duration,
    ) -> Self {
        Self {
            lease,
            fingerprint,
            outcome,
            ttl,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With a response.
    Response(StoredResponse),
    /// Nobody knows.
    Unknown,
}

/// What `begin` found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeginOutcome {
    /// Nothing, or a run that may be replaced: the record is RUNNING with this token.
    Started,
    /// Another run.
    InFlight,
    /// A response.
    Done(StoredResponse),
    /// A run whose outcome nobody knows.
    Unknown,
    /// A record of another request under the same key.
    Mismatch,
    /// The marker that this very token was aborted.
    Aborted,
}

/// What `complete` did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteOutcome {
    /// The outcome is written.
    Written,
    /// Another run has the record: nothing was written; this is what is there.
    Lost(BeginOutcome),
}

/// The state of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordState {
    /// A run holds it.
    Running,
    /// The lease of its run lapsed, and the next request runs again.
    Lapsed,
    /// A response is kept.
    Done(StoredResponse),
    /// Nobody knows the outcome of its run.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_record_is_read_as_it_is_shown() {
        let key = RecordKey::new([0xfe; 16], [1; 16]);
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in [
            "",
            ".",
            "AQEBAQEBAQEBAQEBAQEBAQ",
            "AQEBAQEBAQEBAQEBAQEBAQ.AQEB",
            "a b.c d",
        ] {
            assert_eq!(wrong.parse::<RecordKey>(), Err(InvalidRecordKey), "{wrong}");
        }
    }
}
