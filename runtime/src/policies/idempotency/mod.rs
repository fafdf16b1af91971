//! Idempotency keys: `idempotent` makes a retry return the first answer, and have one effect.
//!
//! A client draws a key for each operation and sends it with every try
//! (`Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324`,
//! draft-ietf-httpapi-idempotency-key-header). The first request with a key runs; while it runs,
//! another is a 409 `IDEMPOTENCY_IN_FLIGHT`; when it has answered, every other gets the same answer
//! with `Idempotent-Replayed: true`, for 24 hours unless `ttl` says otherwise. A key belongs to one
//! caller and one route; with another path, query or body it is a 422 `IDEMPOTENCY_KEY_REUSED`.
//!
//! A request without a key is a 400 unless the endpoint says `optional`. Keys belong to callers; where
//! nobody need say who they are (`public`), `anonymous` lets others use them, too, if they cannot be
//! guessed (22 characters). Bodies up to 1 MiB are kept, unless `keep` says otherwise; a replay of a
//! larger one is a 303 to its `Location`, else a 410.
//!
//! The guide (`docs/guide/idempotency.md`) says all of it: each state, each failure, how clients should retry.
//!
//! The handler runs to its end: a client that hangs up, or a deadline, does not cancel
//! it, and graceful shutdown waits for it.
//!
//! | the handler | the record |
//! |---|---|
//! | answers 2xx, 3xx, 4xx | keeps the answer |
//! | answers 408, 425, 429, or an error without effects (`effects = none`) | is removed: a retry runs |
//! | answers another 5xx, or panics | is UNKNOWN: a retry gets 500 `IDEMPOTENCY_OUTCOME_UNKNOWN` |
//! | takes longer than 15 min (`APLOMB_MAX_HANDLER_DURATION`) | is UNKNOWN, until the handler answers after all |
//! | dies with its process | is UNKNOWN when the lease (30 s) lapses; with `on_crash = rerun` a retry runs |
//!
//! What is kept is what a retry gets, and its problem document says so to the first caller, too: it is
//! `retryable: false` whatever the error declares. A 4xx that a retry may overcome declares
//! `effects = none`.
//!
//! A request is the same as the first one if its path, query, media type, content coding and body are; JSON bodies
//! are compared by what they say (white space, the order of members and escapes do not matter, numbers
//! must be written alike). Fields are compared where the endpoint names them:
//! `idempotent(headers("x-region"))`.
//!
//! A handler that calls other systems takes an [`StepKeys`], whose keys are the same for every run.
//!
//! ```
//! use core::time::Duration;
//! use aplomb::policies::idempotency::IdempotencySpec;
//!
//! // `idempotent(ttl = "48h", optional)`
//! let spec = IdempotencySpec::new().with_ttl(Duration::from_hours(48)).optional();
//! assert!(spec.optional);
//! ```
//!
//! # Names of records
//!
//! The name of a record is a BLAKE3 hash of the API's namespace, the caller, the method, the versioned route
//! with its parameters as `{}`, and the key. It depends on no secret, so that a key stays known whatever
//! becomes of a secret; renaming a path parameter keeps it, too. Requests are compared by a hash of their
//! own, keyed by a value that is derived from the caller and the key.
//!
//! **Names are pseudonyms.** Whoever reads the store can confirm a guess of a caller, of a caller and a short
//! key, and with both of a request. Keys that are drawn at random, as clients should, cannot be guessed.
//! Protect the store as you protect the data.
//!
//! # Sealed answers
//!
//! A store holds hashes of callers, keys and requests, and answers as they are, unless the API
//! has [`EncryptionKeys`]: then it seals the fields and the body of each answer, and opens them for replays.
//!
//! ```
//! use aplomb::policies::idempotency::EncryptionKeys;
//! use aplomb::prelude::*;
//!
//! # fn api() -> Result<Api<()>, aplomb::StartErrors> {
//! // What `APLOMB_ENCRYPTION_KEYS` holds in production; `openssl rand -base64 32` makes a key.
//! let keys = EncryptionKeys::parse("2026-11:3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=")?;
//! let api = Api::new("payments", routes![]).without_auth().encryption_keys(keys);
//! # Ok(api)
//! # }
//! # assert!(api().is_ok());
//! ```
//!
//! Each answer is sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, RFC 8439) for its record and
//! its status, so that it opens nowhere else. Its status, its length and the id of its key can be read.
//! An answer that does not open, because its key is not there or because it was changed, is a 503: the
//! handler does not run, and the record stays as it is. Answers that were kept before in the clear are
//! replayed. Who can write to the store can still remove records, or replace them by some in the clear;
//! who can read the memory of the process sees everything.

mod canonical;
mod decide;
mod encoding;
mod encryption;
mod identity;
mod key;
mod lease_renewer;
mod replay;
mod run;
mod spec;
mod stage;
mod step_keys;
mod store;
mod stored_response;

#[cfg(any(test, fuzzing))]
pub(crate) use canonical::canonical;
pub(crate) use decide::{OtherRun, Settlement, other_run, settle};
pub use encryption::EncryptionKeys;
pub(crate) use identity::RecordNames;
#[cfg(any(test, fuzzing))]
pub(crate) use key::{IDEMPOTENCY_KEY, key_of};
pub(crate) use lease_renewer::LeaseRenewer;
pub(crate) use run::{ActiveRun, EndpointRuns, IdempotencyClient, PendingRun};
pub use spec::{IdempotencyPolicy, IdempotencySpec, OnCrash};
pub(crate) use stage::KeyStage;
pub use step_keys::StepKeys;
pub use store::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, IdempotencyStore,
    InvalidRecordKey, Lease, Outcome, RecordKey, RecordState, Token,
};
pub use stored_response::StoredResponse;
