//! A bank: a system outside of the database, with effects that no rollback reverts.
//!
//! A directory represents the HTTP API of a bank. A [transfer](Bank::transfer) has an idempotency
//! key, as in the APIs of most payment providers: the bank executes the transfers with one key only
//! once. Each transfer is a file with the name of its key. A [letter](Bank::send_letter) has no key,
//! so each call sends a letter. The letters are lines of the file `letters.txt`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use aplomb::ApiError;
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// The bank. Clones share the directory.
#[derive(Debug, Clone)]
pub struct Bank {
    directory: Arc<Path>,
}

/// An error of the bank.
#[derive(Debug, thiserror::Error, ApiError)]
#[non_exhaustive]
pub enum BankError {
    /// The bank has executed another transfer with this key.
    #[problem(conflict, code = "TRANSFER_KEY_REUSED")]
    #[error("the bank has executed another transfer with the key {0}")]
    KeyReused(String),
    /// The bank has not replied. It may or may not have executed the request.
    #[problem(dependency, code = "BANK_UNAVAILABLE", retry_after = "1s")]
    #[error("the bank has not replied")]
    Unavailable(#[from] io::Error),
}

impl Bank {
    /// Opens the bank in this directory, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// Fails if the directory is missing and cannot be created.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.into();
        Ok(Self { directory })
    }

    /// Transfers money. Repeats of a transfer with the same key have no effect.
    ///
    /// # Errors
    ///
    /// [`BankError::KeyReused`] if the key belongs to another transfer; [`BankError::Unavailable`].
    pub async fn transfer(&self, key: &str, transfer: &impl Serialize) -> Result<(), BankError> {
        let (directory, key) = (Arc::clone(&self.directory), key.to_owned());
        let transfer = serde_json::to_string(transfer).map_err(io::Error::from)?;
        in_background(move || {
            let path = directory.join(format!("{key}.json"));
            if write_new(&directory, &path, &transfer)? || fs::read_to_string(path)? == transfer {
                Ok(())
            } else {
                Err(BankError::KeyReused(key))
            }
        })
        .await
    }

    /// Prints a letter and sends it by mail.
    ///
    /// # Errors
    ///
    /// [`BankError::Unavailable`].
    pub async fn send_letter(&self, text: &str) -> Result<(), BankError> {
        let (path, line) = (self.directory.join("letters.txt"), format!("{text}\n"));
        in_background(move || {
            let mut letters = File::options().create(true).append(true).open(path)?;
            letters.write_all(line.as_bytes())?;
            Ok(letters.sync_all()?)
        })
        .await
    }
}

/// Creates a file with this text. Returns `false` if the file exists. A crash leaves no incomplete
/// file.
fn write_new(directory: &Path, path: &Path, text: &str) -> io::Result<bool> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            File::open(directory)?.sync_all()?;
            Ok(true)
        }
        Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(failure) => Err(failure.error),
    }
}

/// Runs a function that blocks its thread.
async fn in_background<T: Send + 'static>(
    function: impl FnOnce() -> Result<T, BankError> + Send + 'static,
) -> Result<T, BankError> {
    spawn_blocking(function)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfers(directory: &Path) -> usize {
        fs::read_dir(directory).expect("a directory").count()
    }

    #[tokio::test]
    async fn a_transfer_with_the_same_key_is_executed_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let bank = Bank::open(directory.path()).expect("a bank");
        for _ in 0..2 {
            bank.transfer("k", &"5 to Bob").await.expect("done");
        }
        let error = bank.transfer("k", &"6 to Bob").await;
        assert!(matches!(error, Err(BankError::KeyReused(key)) if key == "k"));
        assert_eq!(transfers(directory.path()), 1);
        bank.transfer("other", &"5 to Bob").await.expect("done");
        assert_eq!(transfers(directory.path()), 2);
    }

    #[tokio::test]
    async fn each_call_sends_a_letter() {
        let directory = tempfile::tempdir().expect("a directory");
        let bank = Bank::open(directory.path()).expect("a bank");
        for _ in 0..2 {
            bank.send_letter("Dear Bob").await.expect("sent");
        }
        let letters = fs::read_to_string(directory.path().join("letters.txt"));
        assert_eq!(letters.expect("letters"), "Dear Bob\nDear Bob\n");
    }

    #[tokio::test]
    async fn a_bank_without_a_directory_is_unavailable() {
        let directory = tempfile::tempdir().expect("a directory");
        let bank = Bank::open(&directory.path().join("bank")).expect("a bank");
        drop(directory);
        let error = bank.transfer("k", &"5 to Bob").await;
        assert!(matches!(error, Err(BankError::Unavailable(_))));
    }
}
