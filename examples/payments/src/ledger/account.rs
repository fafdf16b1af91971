use aplomb::{Id, Resource};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::row::parse_column;
use super::{Amount, Currency, Ledger, LedgerError, Owner};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Resource)]
#[resource(prefix = "acc")]
#[non_exhaustive]
pub struct Account {
    /// The identifier.
    pub id: Id<Account>,
    /// The name of the owner.
    pub owner: Owner,
    /// The only currency of the account.
    pub currency: Currency,
    /// The balance in minor units, at least zero.
    pub balance: i64,
    /// The caller who opened the account. Only this caller can see and debit it.
    #[serde(skip)]
    pub(super) caller: String,
}

impl Ledger {
    /// Opens an empty account for the caller.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Busy`], [`LedgerError::Database`].
    pub async fn open_account(
        &self,
        caller: &str,
        owner: Owner,
        currency: Currency,
    ) -> Result<Account, LedgerError> {
        let mut transaction = self.begin().await?;
        let account = Account {
            id: Id::new(),
            owner,
            currency,
            balance: 0,
            caller: caller.to_owned(),
        };
        insert(&mut transaction, &account).await?;
        transaction.commit().await?;
        Ok(account)
    }

    /// Returns an account of the caller.
    ///
    /// # Errors
    ///
    /// [`LedgerError::AccountNotFound`], also for an account of another caller.
    pub async fn account(&self, caller: &str, id: Id<Account>) -> Result<Account, LedgerError> {
        let mut connection = self.readers.acquire().await?;
        find_owned(&mut connection, caller, id).await
    }

    /// Deposits money from outside the ledger into an account of the caller. Returns the account
    /// after the deposit.
    ///
    /// # Errors
    ///
    /// [`LedgerError::AccountNotFound`], also for an account of another caller;
    /// [`LedgerError::BalanceTooLarge`].
    pub async fn deposit(
        &self,
        caller: &str,
        id: Id<Account>,
        amount: Amount,
    ) -> Result<Account, LedgerError> {
        let mut transaction = self.begin().await?;
        let account = find_owned(&mut transaction, caller, id)
            .await?
            .credit(amount)?;
        save_balance(&mut transaction, &account).await?;
        sqlx::query("INSERT INTO deposits (account, amount) VALUES (?, ?)")
            .bind(id.to_string())
            .bind(amount.minor_units())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(account)
    }
}

impl Account {
    /// Adds `amount` to the balance.
    pub(super) fn credit(mut self, amount: Amount) -> Result<Self, LedgerError> {
        self.balance = self
            .balance
            .checked_add(amount.minor_units())
            .ok_or(LedgerError::BalanceTooLarge)?;
        Ok(self)
    }

    /// Subtracts `amount` from the balance.
    pub(super) fn debit(mut self, amount: Amount) -> Result<Self, LedgerError> {
        let available = self.balance;
        if available < amount.minor_units() {
            return Err(LedgerError::InsufficientFunds { available });
        }
        self.balance -= amount.minor_units();
        Ok(self)
    }
}

impl FromRow<'_, SqliteRow> for Account {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: parse_column(row, "id")?,
            owner: parse_column(row, "owner")?,
            currency: parse_column(row, "currency")?,
            balance: row.try_get("balance")?,
            caller: row.try_get("caller")?,
        })
    }
}

/// Returns the account with this identifier, of any caller.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: Id<Account>,
) -> Result<Account, LedgerError> {
    sqlx::query_as("SELECT id, caller, owner, currency, balance FROM accounts WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?
        .ok_or(LedgerError::AccountNotFound(id))
}

/// Returns the account with this identifier, if it belongs to the caller.
pub(super) async fn find_owned(
    connection: &mut SqliteConnection,
    caller: &str,
    id: Id<Account>,
) -> Result<Account, LedgerError> {
    let account = find(connection, id).await?;
    if account.caller == caller {
        Ok(account)
    } else {
        Err(LedgerError::AccountNotFound(id))
    }
}

/// Moves `amount` from one account to the other. If there is an error, neither balance changes.
pub(super) async fn transfer(
    connection: &mut SqliteConnection,
    from: Account,
    to: Account,
    amount: Amount,
) -> Result<(), LedgerError> {
    let (from, to) = (from.debit(amount)?, to.credit(amount)?);
    save_balance(connection, &from).await?;
    save_balance(connection, &to).await
}

async fn save_balance(
    connection: &mut SqliteConnection,
    account: &Account,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE accounts SET balance = ? WHERE id = ?")
        .bind(account.balance)
        .bind(account.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, account: &Account) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO accounts (id, caller, owner, currency, balance) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(account.id.to_string())
    .bind(&account.caller)
    .bind(account.owner.as_str())
    .bind(account.currency.as_str())
    .bind(account.balance)
    .execute(connection)
    .await?;
    Ok(())
}
