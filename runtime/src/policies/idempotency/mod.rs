//! Idempotency keys: a retry with the same key gets the first response and has no second effect.
//!
//! A client generates one key per operation and sends it with every attempt
//! (`Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324`,
//! draft-ietf-httpapi-idempotency-key-header). The first request with a key runs the handler. While
//! it runs, another request with the key gets 409 `IDEMPOTENCY_IN_FLIGHT`. After it has completed,
//! every other request gets the same response with `Idempotent-Replayed: true`, for 24 hours unless
//! `ttl` sets another time. A key belongs to one caller and one route. A request with the same key
//! and another path, query or body gets 422 `IDEMPOTENCY_KEY_REUSED`.
//!
//! A request without a key gets 400, unless the endpoint declares `optional`. A key needs a caller.
//! On a `public` endpoint, `anonymous` also accepts keys without a caller. They need at least 22
//! characters, so that an attacker cannot guess them. Response bodies of up to 1 MiB are stored,
//! unless `max_stored_body` sets another limit. The replay of a larger response is a 303 to its
//! `Location`, or a 410 if it has no `Location`.
//!
//! The guide (`docs/guide/idempotency.md`) describes each state, each failure, and how clients
//! should retry.
//!
//! # Surprises
//!
//! - The handler always runs to its end. Neither a client that disconnects nor a response deadline
//!   cancels it, and graceful shutdown waits for it.
//! - A stored error is never retryable. Every retry gets the same stored response, so the problem
//!   document has `retryable: false` for the first caller as well, even if the error declares
//!   `retryable = true`. An error with a 4xx that a retry may overcome declares `effects = none`.
//!
//! # Outcomes of the handler
//!
//! | the handler | the record |
//! |---|---|
//! | responds with 2xx, 3xx or 4xx | stores the response |
//! | responds with 408, 425 or 429, or fails without effects (`effects = none`) | is removed: a retry runs the handler |
//! | responds with another 5xx, or panics | is UNKNOWN: a retry gets 500 `IDEMPOTENCY_OUTCOME_UNKNOWN` |
//! | runs longer than 15 min (`APLOMB_MAX_HANDLER_DURATION`) | is UNKNOWN until the handler responds |
//! | dies with its process | is UNKNOWN when the lease (30 s) lapses; with `on_crash = rerun` a retry runs the handler |
//!
//! # Which requests are the same
//!
//! Two requests are the same if their path, query, media type, content coding and body are equal.
//! JSON bodies are compared by content: white space, the order of members and escapes do not
//! matter, but numbers must be written identically. Header fields are compared only if the endpoint
//! lists them: `idempotent(headers("x-region"))`.
//!
//! A handler that calls other systems takes a [`StepKeys`] argument, which derives the same keys
//! for every run of the operation.
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
//! versioned route with its parameters as `{}`, and the key. The name depends on no secret, so a
//! changed or lost secret does not make a used key new. Renaming a path parameter does not change
//! the name either. A second hash, the fingerprint, compares requests. The key of that hash is
//! derived from the caller and the idempotency key.
//!
//! **Names are pseudonyms.** A reader of the store can confirm a guessed caller, and a guessed
//! caller together with a guessed short key. With both, the reader can confirm a guessed request.
//! Randomly generated keys, as clients should use, cannot be guessed. Protect the store as you
//! protect the data.
//!
//! # Encryption at rest
//!
//! A store contains hashes of callers, keys and requests. It contains responses in plain form
//! unless the API has [`EncryptionKeys`]. With keys, the fields and the body of each response are
//! encrypted before the store gets them, and decrypted for a replay.
//!
//! ```
//! use aplomb::policies::idempotency::EncryptionKeys;
//! use aplomb::prelude::*;
//!
//! # fn api() -> Result<Api<()>, aplomb::StartErrors> {
//! // The value of `APLOMB_ENCRYPTION_KEYS` in production; `openssl rand -base64 32` makes a key.
//! let keys = EncryptionKeys::parse("2026-11:3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=")?;
//! let api = Api::new("payments", routes![]).without_auth().encryption_keys(keys);
//! # Ok(api)
//! # }
//! # assert!(api().is_ok());
//! ```
//!
//! Each response is encrypted with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, RFC 8439). The
//! ciphertext is bound to its record and its status: it decrypts nowhere else. The status, the
//! length and the id of the encryption key stay readable. A response cannot be decrypted if the key
//! is missing or the data was changed. The request then gets 503: the handler does not run, and the
//! record stays unchanged. Responses that were stored in plain form earlier are still replayed. An
//! attacker who can write to the store can still remove a record, or replace it by one in plain
//! form. An attacker who can read the memory of the process can read every response.

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
pub(crate) use decide::{LeaseState, Settlement, lease_state, settle};
pub use encryption::EncryptionKeys;
pub(crate) use identity::RecordNames;
#[cfg(any(test, fuzzing))]
pub(crate) use key::{IDEMPOTENCY_KEY, key_from_headers};
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
