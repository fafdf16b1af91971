//! The state of the endpoints, opened with the settings of the service.

use core::time::Duration;
use std::io;
use std::path::PathBuf;

use sqlx::Pool;
use sqlx::pool::PoolOptions;

use super::Db;
use super::ledger::{self, HealthCheck, OpenError};
use crate::bank::Bank;
use crate::settings::{NotADatabase, Settings};

/// The longest wait of a request for a connection for its reads. It is shorter than the deadline of
/// a request.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the service. Clones share the connections.
#[derive(Debug, Clone)]
pub struct App {
    /// The connections for reads of the ledger. Writes use the transaction of the request.
    pub pool: Pool<Db>,
    /// The check that the ledger can be written.
    pub health: HealthCheck,
    /// The bank that pays out money.
    pub bank: Bank,
}

/// The reason why the state cannot be opened. The text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The store is not in a database.
    #[error(transparent)]
    Store(#[from] NotADatabase),
    /// The ledger cannot be opened.
    #[error("the ledger cannot be opened: {0}")]
    Ledger(#[from] OpenError),
    /// `PAYMENTS_BANK` is not a directory.
    #[error(
        "PAYMENTS_BANK={directory:?} cannot be used: {cause}; set it to a directory, which is created if it is missing"
    )]
    Bank {
        /// The value of the variable.
        directory: PathBuf,
        /// The mistake in the value.
        cause: io::Error,
    },
}

impl App {
    /// Opens the ledger in the database of the store, and the bank.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if one of them cannot be opened.
    pub async fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        let bank = Bank::open(&settings.bank).map_err(|cause| ConnectError::Bank {
            directory: settings.bank.clone(),
            cause,
        })?;
        let options = PoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = super::pool(&settings.database_url()?, options).map_err(OpenError::from)?;
        Ok(Self::open(pool, bank).await?)
    }

    /// Creates the tables of the ledger if they are missing, and returns the state.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the database has no ledger of this version, and cannot get one.
    pub async fn open(pool: Pool<Db>, bank: Bank) -> Result<Self, OpenError> {
        ledger::create_tables(&pool).await?;
        Ok(Self {
            pool,
            health: HealthCheck::default(),
            bank,
        })
    }
}
