//! The settings of the service, besides those of Aplomb.

use std::env;
use std::path::PathBuf;

use aplomb::store::Store;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

/// The file of the ledger and of the idempotency records if `APLOMB_STORE` is not set.
const DEFAULT_FILE: &str = "payments.db";

/// The settings of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL of the store in `APLOMB_STORE`, whose database also has the ledger; `None` for the
    /// default.
    store_url: Option<String>,
    /// The directory in `PAYMENTS_BANK` that represents the bank.
    pub bank: PathBuf,
}

/// The error of a store that is not in a database, such as `memory:` or a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "APLOMB_STORE=\"{scheme}:…\": the ledger is in the database of the store: expected \
     sqlite:<path of a file> or postgres://[user[:password]@]host[:port]/database"
)]
pub struct NotADatabase {
    scheme: String,
}

impl Settings {
    /// Reads the environment variables.
    pub fn from_env() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            store_url: variable("APLOMB_STORE").map(|url| url.to_string_lossy().into_owned()),
            bank: variable("PAYMENTS_BANK").map_or_else(|| PathBuf::from("bank"), PathBuf::from),
        }
    }

    /// Returns the store of the idempotency records.
    pub fn store(&self) -> Store {
        if self.store_url.is_some() {
            return Store::from_env();
        }
        let file = SqliteConnectOptions::new().filename(DEFAULT_FILE);
        Store::sqlite(&SqlitePool::connect_lazy_with(file))
    }

    /// Returns `true` if the ledger is in PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        let url = self.store_url.as_deref().unwrap_or_default();
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }

    /// Returns the URL of the database of the ledger.
    ///
    /// # Errors
    ///
    /// [`NotADatabase`] if the store is not in a database.
    pub fn database_url(&self) -> Result<String, NotADatabase> {
        match &self.store_url {
            None => Ok(format!("sqlite:{DEFAULT_FILE}")),
            Some(url) if url.starts_with("sqlite:") || self.is_postgres() => Ok(url.clone()),
            Some(url) => {
                // The rest of the URL may have a password.
                let scheme = url.split(':').next().unwrap_or_default().to_owned();
                Err(NotADatabase { scheme })
            }
        }
    }

    /// Writes a log line if the ledger is in the default file.
    pub fn log_default_file(&self) {
        if self.store_url.is_none() {
            let file = std::path::absolute(DEFAULT_FILE).unwrap_or_else(|_| DEFAULT_FILE.into());
            tracing::info!(
                "APLOMB_STORE is not set: the ledger and the idempotency records are in {}",
                file.display()
            );
        }
    }
}
