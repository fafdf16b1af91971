//! What the endpoints share, opened from the environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::ledger::Ledger;

/// The variable that names the ledger's file.
const VARIABLE: &str = "PAYMENTS_DB";

/// Any error underneath.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The state of the service. Clones share it.
#[derive(Debug, Clone)]
pub struct App {
    /// Accounts and payments.
    pub ledger: Ledger,
    /// Removes the temporary ledger with the last clone.
    _temporary: Option<Arc<TempDir>>,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// `PAYMENTS_DB` names something that cannot be the ledger.
    #[error(
        "{VARIABLE}={value:?} cannot be used: {why}; set it to the path of a SQLite file, which is made if it is not there, or unset it for a temporary one"
    )]
    Setting {
        /// What it says.
        value: OsString,
        /// What is wrong with it.
        why: Cause,
    },
    /// The temporary file cannot be made.
    #[error("no temporary ledger can be made ({0}); set {VARIABLE} to the path of a SQLite file")]
    Temporary(Cause),
}

impl App {
    /// A service over this ledger.
    pub const fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            _temporary: None,
        }
    }

    /// Opens the ledger that `PAYMENTS_DB` names, or a temporary one.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which is one line.
    pub async fn connect() -> Result<Self, ConnectError> {
        match env::var_os(VARIABLE) {
            Some(value) => Self::open(value).await,
            None => Self::temporary(TempDir::with_prefix("payments-"))
                .await
                .map_err(ConnectError::Temporary),
        }
    }

    async fn open(value: OsString) -> Result<Self, ConnectError> {
        match Self::open_file(&value).await {
            Ok(ledger) => Ok(Self::new(ledger)),
            Err(why) => Err(ConnectError::Setting { value, why }),
        }
    }

    async fn open_file(value: &OsStr) -> Result<Ledger, Cause> {
        Ok(Ledger::open(&file(value)?).await?)
    }

    async fn temporary(directory: io::Result<TempDir>) -> Result<Self, Cause> {
        let directory = directory?;
        let ledger = Ledger::open(&directory.path().join("ledger.sqlite")).await?;
        tracing::warn!(
            "{VARIABLE} is not set: the ledger is kept in {} until the service stops",
            directory.path().display()
        );
        Ok(Self {
            ledger,
            _temporary: Some(Arc::new(directory)),
        })
    }
}

/// The file that the setting means. What the database would take for one in memory or for a URL is
/// refused: the connections of a pool would not share the one, and the other is no path.
fn file(value: &OsStr) -> Result<PathBuf, Cause> {
    let url = value.to_str().is_some_and(|text| {
        [":memory:", "sqlite:", "file:"]
            .iter()
            .any(|url| text.starts_with(url))
    });
    if url {
        Err("it is not a path".into())
    } else {
        Ok(std::path::absolute(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(value: impl Into<OsString>) -> String {
        App::open(value.into())
            .await
            .expect_err("not a ledger")
            .to_string()
    }

    #[tokio::test]
    async fn a_wrong_setting_is_one_line_with_the_variable_the_value_and_what_is_accepted() {
        let directory = TempDir::new().expect("a directory");
        let text = directory.path().join("notes.txt");
        std::fs::write(
            &text,
            "no database, only a text of more than a hundred bytes. ".repeat(20),
        )
        .expect("written");
        let missing = directory.path().join("missing").join("ledger.sqlite");
        for value in [
            text.as_os_str(),
            missing.as_os_str(),
            directory.path().as_os_str(),
        ] {
            let message = refusal(value).await;
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
    async fn what_is_no_path_is_refused() {
        for value in ["", ":memory:", "sqlite:ledger.sqlite", "file:ledger.sqlite"] {
            assert!(refusal(value).await.contains("PAYMENTS_DB"), "{value}");
        }
    }

    #[tokio::test]
    async fn the_temporary_ledger_goes_with_the_app() {
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
