//! The state of the endpoints, opened from environment variables.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::ledger::Ledger;

/// The environment variable with the path of the ledger's file.
const DB_VARIABLE: &str = "PAYMENTS_DB";

/// The cause of an error.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The state of the service. Clones share the ledger.
#[derive(Debug, Clone)]
pub struct App {
    /// The accounts and the payments.
    pub ledger: Ledger,
    /// Removes the temporary ledger when the last clone is dropped.
    _temporary: Option<Arc<TempDir>>,
}

/// The reason why the state cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// `PAYMENTS_DB` is not the path of a ledger.
    #[error(
        "{DB_VARIABLE}={value:?} cannot be used: {reason}; set it to the path of a SQLite file, which is created if it is missing, or unset it for a temporary one"
    )]
    Setting {
        /// The value of the variable.
        value: OsString,
        /// The mistake in the value.
        reason: Cause,
    },
    /// The temporary file cannot be created.
    #[error(
        "a temporary ledger cannot be created: {0}; set {DB_VARIABLE} to the path of a SQLite file"
    )]
    Temporary(Cause),
}

impl App {
    /// Creates the state with this ledger.
    pub const fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            _temporary: None,
        }
    }

    /// Opens the ledger at the path in `PAYMENTS_DB`, or a temporary ledger if the variable is not
    /// set.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the file cannot be opened. Its text is one line.
    pub async fn connect() -> Result<Self, ConnectError> {
        match env::var_os(DB_VARIABLE) {
            Some(value) => Self::open(value).await,
            None => Self::temporary(TempDir::with_prefix("payments-"))
                .await
                .map_err(ConnectError::Temporary),
        }
    }

    async fn open(value: OsString) -> Result<Self, ConnectError> {
        match Self::open_file(&value).await {
            Ok(ledger) => Ok(Self::new(ledger)),
            Err(reason) => Err(ConnectError::Setting { value, reason }),
        }
    }

    async fn open_file(value: &OsStr) -> Result<Ledger, Cause> {
        Ok(Ledger::open(&parse_path(value)?).await?)
    }

    async fn temporary(directory: io::Result<TempDir>) -> Result<Self, Cause> {
        let directory = directory?;
        let ledger = Ledger::open(&directory.path().join("ledger.sqlite")).await?;
        tracing::warn!(
            "{DB_VARIABLE} is not set: the ledger is stored in {} until the service stops",
            directory.path().display()
        );
        Ok(Self {
            ledger,
            _temporary: Some(Arc::new(directory)),
        })
    }
}

/// Returns the absolute path of the setting. Rejects two forms that `SQLite` accepts: `:memory:`,
/// because each connection of a pool would have a separate database, and a URL, because it is not a
/// path.
fn parse_path(value: &OsStr) -> Result<PathBuf, Cause> {
    let is_url_or_memory = value.to_str().is_some_and(|text| {
        [":memory:", "sqlite:", "file:"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
    });
    if is_url_or_memory {
        Err("it is not a path".into())
    } else {
        Ok(std::path::absolute(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open_error(value: impl Into<OsString>) -> String {
        App::open(value.into())
            .await
            .expect_err("not a ledger")
            .to_string()
    }

    #[tokio::test]
    async fn an_invalid_setting_is_one_line_with_the_variable_the_value_and_the_accepted_values() {
        let directory = TempDir::new().expect("a directory");
        let text = directory.path().join("notes.txt");
        std::fs::write(
            &text,
            // The text is longer than the header of a database, which has 100 bytes.
            "a text, and not a database. ".repeat(20),
        )
        .expect("written");
        let missing = directory.path().join("missing").join("ledger.sqlite");
        for value in [
            text.as_os_str(),
            missing.as_os_str(),
            directory.path().as_os_str(),
        ] {
            let message = open_error(value).await;
            let start = format!("PAYMENTS_DB={value:?} cannot be used: ");
            assert!(message.starts_with(&start), "{message}");
            assert!(
                message.contains("set it to the path of a SQLite file"),
                "{message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[tokio::test]
    async fn a_value_that_is_not_a_path_is_rejected() {
        for value in ["", ":memory:", "sqlite:ledger.sqlite", "file:ledger.sqlite"] {
            assert!(open_error(value).await.contains("PAYMENTS_DB"), "{value}");
        }
    }

    #[tokio::test]
    async fn the_temporary_ledger_is_removed_with_the_app() {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().to_owned();
        let app = App::temporary(Ok(directory))
            .await
            .expect("a temporary ledger");
        app.ledger.check().await.expect("readable");
        drop(app);
        assert!(!path.exists());
    }
}
