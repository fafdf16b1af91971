//! Idempotency keys: a retry with the same key gets the first response and has no second effect.
//!
//! A client generates one key per operation and sends it with every attempt
//! (`Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324`,
//! draft-ietf-httpapi-idempotency-key-header). The first request with a key runs the handler. While
//! the handler runs, another request with the key gets 409 `IDEMPOTENCY_IN_FLIGHT`. After the run
//! has completed, every other request with the key gets the same response with
//! `Idempotent-Replayed: true`, for 24 hours unless `ttl` sets another time. A key belongs to one
//! caller and one route. A request with the same key and another path, query or body gets 422
//! `IDEMPOTENCY_KEY_REUSED`.
//!
//! A request without a key gets 400, unless the endpoint declares `optional`. A request with a key
//! needs a caller. On a `public` endpoint, the option `anonymous` also accepts keys without a
//! caller. Such keys need at least 22 characters, so that an attacker cannot guess them. Response
//! bodies of up to 1 MiB are stored, unless `max_stored_body` sets another limit. If the response
//! was larger, a retry gets a 303 to the `Location` of the response, or a 410 if the response has
//! no `Location`.
//!
//! The guide (`docs/guide/idempotency.md`) describes each state, each failure, and how clients
//! should retry.
//!
//! # Surprises
//!
//! - The handler always runs to its end. It is not cancelled if the client disconnects or the
//!   response deadline passes, and graceful shutdown waits for it.
//! - A run without its client still counts. A caller may have 100 runs at the same time
//!   (`APLOMB_MAX_RUNS_PER_CALLER`), and the process 1,000 (`APLOMB_MAX_RUNS`). Beyond these bounds
//!   a request with a key gets 503 `OVERLOADED`.
//! - A stored error is never retryable. Every retry gets the same stored response, so the problem
//!   document has `retryable: false` in the first response as well, even if the error declares
//!   `retryable = true`. Declare `effects = none` on a 4xx error if a retry may succeed and the
//!   handler has changed nothing.
//!
//! # Outcomes of the handler
//!
//! | the handler | the record |
//! |---|---|
//! | responds with 2xx, 3xx or 4xx | stores the response |
//! | responds with 408, 425 or 429, or fails without effects (`effects = none`) | is removed: a retry runs the handler |
//! | responds with another 5xx, or panics | is UNKNOWN: a retry gets 500 `IDEMPOTENCY_OUTCOME_UNKNOWN` |
//! | runs longer than 15 min (`APLOMB_MAX_HANDLER_DURATION`) | is UNKNOWN until the handler responds |
//! | ends because its process dies | is UNKNOWN after the lease (30 s) has lapsed; with `on_crash = rerun`, a retry runs the handler |
//!
//! # Which requests are the same
//!
//! Two requests are the same if their path, query, media type, content coding and body are equal.
//! JSON bodies are compared by content: white space, the order of members and escapes do not
//! matter, but numbers must be written identically. Header fields are compared only if the endpoint
//! lists them: `idempotent(headers("x-region"))`.
//!
//! If a handler calls other systems, give it a [`StepKeys`] argument. The argument derives the same
//! keys in every run of the operation.
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
//! The name of a record is a BLAKE3 hash of the API's namespace, the caller, the method, the
//! versioned route with its parameters as `{}`, and the key. The name does not depend on a secret:
//! if `APLOMB_SECRET` changes or is lost, existing records are still found. Renaming a path
//! parameter does not change the name either. A second hash, the fingerprint, shows whether two
//! requests are the same. The fingerprint is a keyed hash: its hash key is derived from the caller
//! and the idempotency key.
//!
//! **Names are pseudonyms.** An attacker who can read the store can test guesses: first of the
//! caller, then of a short key of this caller. If both are right, the attacker can also test a
//! guess of the request. Clients should generate keys randomly, because random keys cannot be
//! guessed. Protect the store as you protect the data.
//!
//! # Encryption at rest
//!
//! A store contains hashes of callers, keys and requests. It contains responses in plain form
//! unless the API has [`EncryptionKeys`]. With these keys, the fields and the body of each response
//! are encrypted before the store gets them, and decrypted for a replay.
//!
//! ```
//! use aplomb::policies::idempotency::EncryptionKeys;
//! use aplomb::prelude::*;
//!
//! # fn api() -> Result<Api<()>, aplomb::StartErrors> {
//! // In production, set `APLOMB_ENCRYPTION_KEYS`. `openssl rand -base64 32` generates a key.
//! let keys = EncryptionKeys::parse("2026-11:3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=")?;
//! let api = Api::new("payments", routes![]).without_auth().encryption_keys(keys);
//! # Ok(api)
//! # }
//! # assert!(api().is_ok());
//! ```
//!
//! Each response is encrypted with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, RFC 8439). The
//! ciphertext is bound to its record and its status: it cannot be decrypted for another record or
//! another status. The status, the length and the id of the encryption key stay readable. A
//! response cannot be decrypted if the key is missing or the data was changed. The request then
//! gets 503: the handler does not run, and the record stays unchanged. Responses that were stored
//! in plain form earlier are still replayed. An attacker who can write to the store can still
//! remove a record, or replace it by a record in plain form. An attacker who can read the memory of
//! the process can read every response.

mod canonical;
mod decide;
mod encoding;
mod encryption;
mod identity;
mod key;
mod lease_renewer;
mod replay;
mod run;
mod run_bounds;
mod spec;
mod stage;
mod step_keys;
mod store;
mod stored_response;

#[cfg(any(test, fuzzing))]
pub(crate) use canonical::canonical;
pub(crate) use decide::{LeaseState, Settlement, lease_state, settle};
pub use encryption::EncryptionKeys;
pub(crate) use identity::RecordNames;
#[cfg(any(test, fuzzing))]
pub(crate) use key::{IDEMPOTENCY_KEY, key_from_headers};
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(unused_imports, reason = "only a transaction pauses the renewal")
)]
pub(crate) use lease_renewer::PausedLease;
pub(crate) use lease_renewer::{LeasePause, LeaseRenewer};
pub(crate) use run::{ActiveRun, EndpointRuns, IdempotencyClient, PendingRun};
pub(crate) use run_bounds::{MaxRuns, RunBounds};
pub use spec::{IdempotencyPolicy, IdempotencySpec, OnCrash};
pub(crate) use stage::{KeyStage, RunBoundsStage};
pub use step_keys::StepKeys;
pub use store::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, IdempotencyStore,
    InvalidRecordKey, Lease, Outcome, RecordHolder, RecordKey, RecordState, Token,
};
pub use stored_response::StoredResponse;
