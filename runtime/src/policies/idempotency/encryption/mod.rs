//! Answers that only who has the key can read: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, on
//! RFC 8439) over the fields and the body.
//!
//! | bytes | |
//! |---|---|
//! | 1 | format, 2 |
//! | 1 + | the length of the key's id, and the id |
//! | 24 | nonce, random: of so many bits that none is drawn twice |
//! | | ciphertext of what an answer has after its status |
//! | 16 | tag |
//!
//! The tag holds for one record and one status: the associated data are the format, the status (2),
//! the two hashes that name the record (16 each), and the key's id behind its length.

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

const NONCE: usize = 24;
const TAG: usize = 16;

/// The fields and the body of an answer, sealed. Whether it opens, only the key tells.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EncryptedResponse {
    id: KeyId,
    nonce: [u8; NONCE],
    /// With the tag.
    ciphertext: Bytes,
}

impl EncryptedResponse {
    pub(super) const FORMAT: u8 = 2;

    /// `None` for bytes that cannot come from a seal.
    pub(super) fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        bytes
            .try_get_u8()
            .ok()
            .filter(|format| *format == Self::FORMAT)?;
        let length = usize::from(bytes.try_get_u8().ok()?);
        let id = (length <= bytes.len()).then(|| bytes.split_to(length))?;
        let id = KeyId::new(core::str::from_utf8(&id).ok()?)?;
        let mut nonce = [0; NONCE];
        bytes.try_copy_to_slice(&mut nonce).ok()?;
        (bytes.len() >= TAG).then_some(Self {
            id,
            nonce,
            ciphertext: bytes,
        })
    }

    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(Self::FORMAT);
        put_id(bytes, &self.id);
        bytes.extend(self.nonce);
        bytes.extend(&self.ciphertext);
    }

    pub(super) fn key_id(&self) -> &str {
        self.id.as_str()
    }

    /// In bytes, as it is written.
    pub(super) fn size(&self) -> usize {
        2 + self.key_id().len() + NONCE + self.ciphertext.len()
    }
}

impl fmt::Debug for EncryptedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}

impl EncryptionKeys {
    /// The answer for this record, sealed with the key that does so; as it is if none does.
    pub(crate) fn encrypt(&self, record: &RecordKey, kept: &StoredResponse) -> StoredResponse {
        let Some((id, cipher)) = self.encrypting() else {
            return kept.clone();
        };
        StoredResponse::from_encrypted(kept.status(), seal(id, cipher, record, kept))
    }

    /// The answer of this record as it was before it was sealed. What is not sealed stays as it is.
    pub(crate) fn decrypt(
        &self,
        kept: StoredResponse,
        record: &RecordKey,
    ) -> Result<StoredResponse, StoreError> {
        let Some(sealed) = kept.encrypted() else {
            return Ok(kept);
        };
        let id = sealed.key_id();
        let Some(cipher) = self.find(&sealed.id) else {
            return Err(without_key(record, id));
        };
        let opened = open(sealed, cipher, record, kept.status());
        opened.and_then(|content| read_content(kept.status(), content)).ok_or_else(|| {
            let why = format!(
                "an answer sealed with the key `{id}` does not open: it was changed, is of another record, or that \
                 id has another key here"
            );
            malformed(record, why)
        })
    }
}

/// What a store found of a record, unless it is sealed and nobody has opened it.
pub(crate) fn readable(
    found: BeginOutcome,
    record: &RecordKey,
) -> Result<BeginOutcome, StoreError> {
    match &found {
        BeginOutcome::Done(kept) => match kept.encrypted_with() {
            Some(id) => Err(without_key(record, id)),
            None => Ok(found),
        },
        _ => Ok(found),
    }
}

fn without_key(record: &RecordKey, id: &str) -> StoreError {
    malformed(
        record,
        format!("an answer is sealed with the key `{id}`, which this instance does not have"),
    )
}

fn malformed(record: &RecordKey, why: String) -> StoreError {
    StoreError::Malformed {
        key: record.to_string(),
        why,
    }
}

fn seal(
    id: &KeyId,
    cipher: &XChaCha20Poly1305,
    record: &RecordKey,
    kept: &StoredResponse,
) -> EncryptedResponse {
    let nonce = nonce();
    let mut content = Vec::with_capacity(kept.size() + TAG);
    put_content(&mut content, kept);
    cipher
        .encrypt_in_place(
            &XNonce::from(nonce),
            &bound_to(record, kept.status(), id),
            &mut content,
        )
        .expect("an answer is far shorter than the 256 GiB that ChaCha20 takes");
    EncryptedResponse {
        id: id.clone(),
        nonce,
        ciphertext: Bytes::from(content),
    }
}

/// From the operating system, which, unlike a generator in memory, does not repeat itself in two machines
/// that were started from one snapshot.
fn nonce() -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    SysRng
        .try_fill_bytes(&mut nonce)
        .expect("the operating system has random bytes");
    nonce
}

fn open(
    sealed: &EncryptedResponse,
    cipher: &XChaCha20Poly1305,
    record: &RecordKey,
    status: StatusCode,
) -> Option<Bytes> {
    let associated = bound_to(record, status, &sealed.id);
    let payload = Payload {
        msg: &sealed.ciphertext,
        aad: &associated,
    };
    cipher
        .decrypt(&XNonce::from(sealed.nonce), payload)
        .ok()
        .map(Bytes::from)
}

/// What a sealed answer belongs to.
fn bound_to(record: &RecordKey, status: StatusCode, id: &KeyId) -> Vec<u8> {
    let mut bytes = vec![EncryptedResponse::FORMAT];
    bytes.put_u16(status.as_u16());
    bytes.extend(record.caller());
    bytes.extend(record.name());
    put_id(&mut bytes, id);
    bytes
}

fn put_id(bytes: &mut Vec<u8>, id: &KeyId) {
    bytes.push(id.length());
    bytes.extend(id.as_str().as_bytes());
}

#[cfg(test)]
mod tests;
