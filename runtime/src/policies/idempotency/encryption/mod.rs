//! The encryption of stored responses: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, based on RFC
//! 8439) over the fields and the body.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format, 2 |
//! | 1 + n | length of the key's id; then the id |
//! | 24 | nonce, random |
//! | | ciphertext of the part of the [encoding](super::encoding) after the status |
//! | 16 | authentication tag |
//!
//! A nonce must never repeat with the same key. 24 random bytes make a repetition practically
//! impossible.
//!
//! The tag binds the ciphertext to one record and one status. The associated data are the format
//! (1), the status (2), the two hashes of the record's name (16 each), and the id of the key after
//! its length (1).

mod keys;

use core::fmt;

use bytes::{Buf, BufMut, Bytes};
use chacha20poly1305::aead::{Aead, AeadInOut, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use http::StatusCode;
use rand::TryRng;
use rand::rngs::SysRng;

pub use self::keys::EncryptionKeys;
use self::keys::KeyId;
use super::encoding::{put_content, read_content};
use super::store::{BeginOutcome, RecordKey};
use super::stored_response::StoredResponse;
use crate::facet::StoreError;

const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;

/// The encrypted fields and body of a response. Only decryption verifies that they are authentic.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EncryptedResponse {
    id: KeyId,
    nonce: [u8; NONCE_LENGTH],
    /// The ciphertext and the tag.
    ciphertext: Bytes,
}

impl EncryptedResponse {
    pub(super) const FORMAT: u8 = 2;

    /// Parses the result of [`write_to`](Self::write_to). Returns `None` for any other bytes.
    pub(super) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        bytes
            .try_get_u8()
            .ok()
            .filter(|format| *format == Self::FORMAT)?;
        let length = usize::from(bytes.try_get_u8().ok()?);
        let id = (length <= bytes.len()).then(|| bytes.split_to(length))?;
        let id = KeyId::new(core::str::from_utf8(&id).ok()?)?;
        let mut nonce = [0; NONCE_LENGTH];
        bytes.try_copy_to_slice(&mut nonce).ok()?;
        (bytes.len() >= TAG_LENGTH).then_some(Self {
            id,
            nonce,
            ciphertext: bytes,
        })
    }

    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(Self::FORMAT);
        put_key_id(bytes, &self.id);
        bytes.extend(self.nonce);
        bytes.extend(&self.ciphertext);
    }

    pub(super) fn key_id(&self) -> &str {
        self.id.as_str()
    }

    /// Returns the number of bytes that [`write_to`](Self::write_to) writes.
    pub(super) fn size(&self) -> usize {
        2 + self.key_id().len() + NONCE_LENGTH + self.ciphertext.len()
    }
}

impl fmt::Debug for EncryptedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedResponse")
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}

impl EncryptionKeys {
    /// Encrypts the response of this record with the encrypting key. If the keys only decrypt,
    /// returns the response in plain form.
    pub(crate) fn encrypt(&self, record: &RecordKey, stored: &StoredResponse) -> StoredResponse {
        let Some((id, cipher)) = self.encryption_key() else {
            return stored.clone();
        };
        StoredResponse::from_encrypted(
            stored.status(),
            encrypt_response(id, cipher, record, stored),
        )
    }

    /// Decrypts the response of this record. Returns a response in plain form unchanged.
    ///
    /// # Errors
    ///
    /// [`StoreError::Malformed`] if the encryption key is missing, or if the data is not authentic.
    pub(crate) fn decrypt(
        &self,
        stored: StoredResponse,
        record: &RecordKey,
    ) -> Result<StoredResponse, StoreError> {
        let Some(encrypted) = stored.encrypted() else {
            return Ok(stored);
        };
        let id = encrypted.key_id();
        let Some(cipher) = self.find_cipher(&encrypted.id) else {
            return Err(missing_key(record, id));
        };
        decrypt_content(encrypted, cipher, record, stored.status())
            .and_then(|content| read_content(stored.status(), content))
            .ok_or_else(|| {
                let reason = format!(
                    "the response cannot be decrypted with the key `{id}`: it was changed, \
                     it belongs to another record, or this instance has another key with that id"
                );
                malformed(record, reason)
            })
    }
}

/// Returns the outcome of a `begin`. Fails if its response is still encrypted, because this
/// instance has no keys.
pub(crate) fn require_decrypted(
    outcome: BeginOutcome,
    record: &RecordKey,
) -> Result<BeginOutcome, StoreError> {
    match &outcome {
        BeginOutcome::Done(stored) => match stored.encrypted_with() {
            Some(id) => Err(missing_key(record, id)),
            None => Ok(outcome),
        },
        _ => Ok(outcome),
    }
}

fn missing_key(record: &RecordKey, id: &str) -> StoreError {
    malformed(
        record,
        format!("the response is encrypted with the key `{id}`, which this instance does not have"),
    )
}

fn malformed(record: &RecordKey, why: String) -> StoreError {
    StoreError::Malformed {
        key: record.to_string(),
        why,
    }
}

fn encrypt_response(
    id: &KeyId,
    cipher: &XChaCha20Poly1305,
    record: &RecordKey,
    stored: &StoredResponse,
) -> EncryptedResponse {
    let nonce = random_nonce();
    let mut content = Vec::with_capacity(stored.size() + TAG_LENGTH);
    put_content(&mut content, stored);
    cipher
        .encrypt_in_place(
            &XNonce::from(nonce),
            &associated_data(record, stored.status(), id),
            &mut content,
        )
        .expect("a response is far shorter than the 256 GiB that ChaCha20 encrypts");
    EncryptedResponse {
        id: id.clone(),
        nonce,
        ciphertext: Bytes::from(content),
    }
}

/// Returns a nonce from the operating system. A generator in memory would return the same nonces in
/// two virtual machines that were started from one snapshot.
fn random_nonce() -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    SysRng
        .try_fill_bytes(&mut nonce)
        .expect("the operating system has random bytes");
    nonce
}

fn decrypt_content(
    encrypted: &EncryptedResponse,
    cipher: &XChaCha20Poly1305,
    record: &RecordKey,
    status: StatusCode,
) -> Option<Bytes> {
    let associated = associated_data(record, status, &encrypted.id);
    let payload = Payload {
        msg: &encrypted.ciphertext,
        aad: &associated,
    };
    cipher
        .decrypt(&XNonce::from(encrypted.nonce), payload)
        .ok()
        .map(Bytes::from)
}

/// Returns the associated data, which bind a ciphertext to its record, its status and its key.
fn associated_data(record: &RecordKey, status: StatusCode, id: &KeyId) -> Vec<u8> {
    let mut bytes = vec![EncryptedResponse::FORMAT];
    bytes.put_u16(status.as_u16());
    bytes.extend(record.caller());
    bytes.extend(record.name());
    put_key_id(&mut bytes, id);
    bytes
}

fn put_key_id(bytes: &mut Vec<u8>, id: &KeyId) {
    bytes.push(id.length());
    bytes.extend(id.as_str().as_bytes());
}

#[cfg(test)]
mod tests;
