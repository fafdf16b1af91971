use core::error::Error;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::spec::OnCrash;
use super::stored_response::StoredResponse;
use crate::facet::StoreFuture;

/// A store of the records of idempotency keys.
///
/// A record goes `ABSENT → RUNNING → DONE → ABSENT`. A RUNNING record has a lease, which the
/// process that runs the handler renews. A lapsed lease means that this process has died or could
/// not renew the lease. Every write carries the token of its run. The token is a fencing token: a
/// run that lost its record cannot change the record any more. All times are measured by the
/// store's own clock.
///
/// Each method documents the state after a **crash** before and after its write. The process or the
/// store may crash.
///
/// | state | `begin`, same request | `begin`, other request |
/// |---|---|---|
/// | ABSENT | `Started`, or `QuotaExceeded` | `Started`, or `QuotaExceeded` |
/// | RUNNING | `InFlight` (`Started` for its own token) | `Mismatch` |
/// | RUNNING, lease lapsed, `on_crash = rerun` | `Started` | `Mismatch` |
/// | RUNNING, lease lapsed, otherwise | `Unknown` | `Mismatch` |
/// | DONE | `Done` | `Mismatch` |
/// | UNKNOWN | `Unknown` | `Mismatch` |
pub trait IdempotencyStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the record for a run, or returns the state that prevents this.
    ///
    /// **Atomic**: of several calls for one ABSENT record exactly one returns `Started`, unless the
    /// store refuses new records of their holder.
    ///
    /// **Idempotent**: a repeated call with the same token returns `Started` again. After an
    /// `abort` of the token, `begin` returns `Aborted` for the time of one lease. So a `begin` that
    /// the network delivers after its `abort` does not leave a RUNNING record without a run.
    ///
    /// **Expiry**: the lease ends `begin.lease` after the store's current time.
    ///
    /// **Crash** before the write: the record is unchanged. After the write, if the result is lost:
    /// the record is RUNNING until its lease ends. A caller that is still alive therefore repeats
    /// `abort` until the store confirms it.
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome>;

    /// Renews leases. Returns one `bool` per lease, in order: `true` if the lease was held and is
    /// renewed. A lapsed lease is not renewed.
    ///
    /// **Atomic** per lease.
    ///
    /// **Expiry**: a renewed lease ends `lease` after the store's current time.
    ///
    /// **Crash** before the write: the leases are not renewed. After the write: they are renewed.
    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>>;

    /// Writes the outcome of a run. The store keeps the outcome for `ttl` from the store's current
    /// time.
    ///
    /// The token decides, not the lease:
    ///
    /// - A RUNNING record (lapsed or not) or an UNKNOWN record with this token becomes DONE.
    /// - An ABSENT record becomes DONE: the store has lost it, so it is created again.
    /// - A DONE record with this token is unchanged.
    /// - A record with another token is unchanged: the result is `Lost` with the state of the
    ///   record.
    ///
    /// **Atomic**.
    ///
    /// **Expiry**: not before `ttl` has passed.
    ///
    /// **Crash** before the write: the lease lapses. The record then becomes UNKNOWN, or a retry
    /// runs the handler again. After the write: the record is DONE.
    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome>;

    /// Removes the record if it is RUNNING or UNKNOWN with this token. Writes a marker, so that a
    /// late `begin` with the same token does nothing.
    ///
    /// **Atomic**, and harmless if repeated.
    ///
    /// **Expiry**: the store keeps the marker for the duration `marker`. A run that has received
    /// the result of `begin` passes zero. With zero, the store writes no marker, except if the
    /// store itself may have sent `begin` twice.
    ///
    /// **Crash** before the write: the lease lapses. After the write: the record is ABSENT.
    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()>;

    /// Changes a RUNNING record with this token to UNKNOWN, even if its lease has lapsed. The
    /// record stays UNKNOWN for `ttl` from the store's current time. Returns `false` and writes
    /// nothing if no RUNNING record has this token, because the run was settled in the meantime.
    ///
    /// **Atomic**.
    ///
    /// **Expiry**: not before `ttl` has passed.
    ///
    /// **Crash** before the write: the lease lapses. After the write: the record is UNKNOWN until
    /// the run completes.
    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool>;

    /// Returns the state of a record for operators, or `None` if the record is ABSENT. The
    /// fingerprint is not compared.
    ///
    /// **Atomic**. **Expiry** and **crash**: nothing is written.
    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>>;

    /// Resolves an UNKNOWN record as an operator has decided. With a response, the record becomes
    /// DONE for `ttl`. Without a response, it becomes ABSENT, so that the next request runs the
    /// handler. Returns `false` if the record is not UNKNOWN.
    ///
    /// **Atomic**.
    ///
    /// **Expiry**: not before `ttl` has passed.
    ///
    /// **Crash** before the write: the record is UNKNOWN. After the write: the record is resolved.
    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool>;

    /// Returns a second handle to the same records, with separate connections, for the thread that
    /// renews leases.
    ///
    /// A store returns a handle if its calls depend on the runtime that runs the requests: a
    /// handler that blocks that runtime must not stop the renewal. Other stores return `None`.
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

/// The name of a record: a hash of its caller, and a hash of caller, route and key.
///
/// In the record of a request without a caller, the first hash equals the second, so that these
/// records are spread over all slots of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    caller: [u8; 16],
    name: [u8; 16],
}

impl RecordKey {
    /// Creates the key from the caller's hash and the record's hash.
    pub const fn new(caller: [u8; 16], name: [u8; 16]) -> Self {
        Self { caller, name }
    }

    /// Returns the caller's hash. A store can use it to keep all records of one caller on one node.
    /// Without a caller, it equals [`name`](Self::name).
    pub const fn caller(&self) -> &[u8; 16] {
        &self.caller
    }

    /// Returns the hash of the record, which is unique.
    pub const fn name(&self) -> &[u8; 16] {
        &self.name
    }
}

/// Hashes only the name. The name is unique, and hashing less is faster: a table in memory hashes
/// the key of every request.
impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.name);
    }
}

/// Writes both hashes in base64url with a dot between them.
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

/// Parses the text that `Display` writes. Log lines contain the names of records in this form.
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

/// The error for a text that is not the name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRecordKey;

impl fmt::Display for InvalidRecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not the name of a record; \
             expected two hashes of 22 characters with a dot between them, as in the log",
        )
    }
}

impl Error for InvalidRecordKey {}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({self})")
    }
}

/// The fingerprint of a request: a keyed BLAKE3 hash. It detects a different request with the same
/// key.
///
/// The version identifies the comparison rule. This rule defines the parts of a request that are
/// hashed, and the form in which they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// Creates a fingerprint that was made by this version of the comparison rule.
    pub const fn new(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// Returns the version of the comparison rule that made the fingerprint.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Returns the hash.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// The fencing token of a run: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u128);

impl Token {
    /// Creates a random token. No other run has the same token.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Creates the token with these bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the token's bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// The client whose share of a store a record counts towards.
///
/// A store can bound this share ([`BeginOutcome::QuotaExceeded`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordHolder {
    /// The authenticated caller with this hash, which is [`RecordKey::caller`].
    Caller([u8; 16]),
    /// All anonymous clients with this IPv4 address, or in this /64 network of IPv6.
    Address(IpAddr),
    /// All anonymous clients, if the server does not provide their addresses.
    Unknown,
}

/// The arguments of [`IdempotencyStore::begin`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Begin {
    /// The name of the record.
    pub key: RecordKey,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The fingerprints of the request by earlier versions of the comparison rule. A record from an
    /// earlier version is compared with the fingerprint of that version.
    pub earlier: Vec<Fingerprint>,
    /// The token of the run.
    pub token: Token,
    /// The time for which the record is held without a heartbeat.
    pub lease: Duration,
    /// The state of the record after its lease has lapsed.
    pub on_crash: OnCrash,
    /// The time for which the record stays UNKNOWN after its lease has lapsed.
    pub ttl: Duration,
    /// The client whose share of the store the record counts towards. A store that does not bound
    /// shares ignores this field.
    pub holder: RecordHolder,
    /// Set if the handler writes in a database transaction that also completes the record. A crash
    /// that loses the record then rolls back the handler's writes, so a store in a database does
    /// not have to wait for the disk here. Other stores ignore this field.
    pub transactional: bool,
}

impl Begin {
    /// Creates the arguments for a run of the record `key`, without earlier fingerprints. The
    /// holder is the caller of the key.
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
            holder: RecordHolder::Caller(*key.caller()),
            transactional: false,
        }
    }

    /// Sets whether the handler's database transaction completes the record.
    #[must_use]
    pub const fn with_transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// Sets the client whose share of the store the record counts towards.
    #[must_use]
    pub const fn with_holder(mut self, holder: RecordHolder) -> Self {
        self.holder = holder;
        self
    }

    /// Sets the fingerprints of the request by earlier versions of the comparison rule.
    #[must_use]
    pub fn with_earlier(mut self, earlier: Vec<Fingerprint>) -> Self {
        self.earlier = earlier;
        self
    }

    /// Returns the lease that the run gets.
    pub const fn lease(&self) -> Lease {
        Lease {
            key: self.key,
            token: self.token,
        }
    }

    /// Returns `true` if a record with this fingerprint belongs to the same request.
    pub fn is_same(&self, recorded: &Fingerprint) -> bool {
        self.fingerprint == *recorded || self.earlier.contains(recorded)
    }
}

/// The lease of a run: the name of its record and its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The name of the record.
    pub key: RecordKey,
    /// The token of the run.
    pub token: Token,
}

/// The arguments of [`IdempotencyStore::complete`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Complete {
    /// The lease of the run.
    pub lease: Lease,
    /// The fingerprint of the request. If the store has lost the record, it creates the record
    /// again with this fingerprint.
    pub fingerprint: Fingerprint,
    /// The outcome to store.
    pub outcome: Outcome,
    /// The time for which the outcome is stored.
    pub ttl: Duration,
}

impl Complete {
    /// Creates the arguments that store an outcome for `ttl`.
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

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The run produced a response to store.
    Response(StoredResponse),
    /// The run may or may not have had its effect.
    Unknown,
}

/// The result of [`IdempotencyStore::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeginOutcome {
    /// The record is RUNNING with this token: it was ABSENT, or its previous run could be replaced.
    Started,
    /// Another run holds the record.
    InFlight,
    /// The record is DONE with this response.
    Done(StoredResponse),
    /// The record is UNKNOWN.
    Unknown,
    /// The record belongs to another request with the same key.
    Mismatch,
    /// The token was aborted earlier; the record is unchanged.
    Aborted,
    /// The record is ABSENT, and the store refuses new records of this
    /// [holder](Begin::holder), because the store is almost full and the holder has a large share
    /// of it. Nothing was written.
    ///
    /// A store returns this outcome only for an ABSENT record. A store without a bound for each
    /// holder never returns it.
    QuotaExceeded {
        /// The time after which the holder can begin a new record at the earliest.
        retry_after: Duration,
    },
}

/// The result of [`IdempotencyStore::complete`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteOutcome {
    /// The outcome is stored.
    Written,
    /// Another run has taken the record. The record is unchanged, and it is in this state.
    Lost(BeginOutcome),
}

/// The state of a record, as [`IdempotencyStore::find`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordState {
    /// A run holds the record.
    Running,
    /// The lease of the run has lapsed, and the next request runs the handler again.
    Lapsed,
    /// The record contains a response.
    Done(StoredResponse),
    /// The outcome of the run is unknown.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_displayed_name_of_a_record_can_be_parsed() {
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
