use aplomb::prelude::Tx;
use aplomb::{Id, Resource};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Executor, FromRow, Pool, Row as _};

use super::super::{Db, FOR_UPDATE, Row};
use super::row::parse_column;
use super::{Amount, Currency, LedgerError, Owner};

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

/// Opens an empty account for the caller.
///
/// # Errors
///
/// [`LedgerError::Unavailable`], [`LedgerError::Database`].
pub async fn open_account(
    tx: &mut Tx<Db>,
    caller: &str,
    owner: Owner,
    currency: Currency,
) -> Result<Account, LedgerError> {
    let account = Account {
        id: Id::new(),
        owner,
        currency,
        balance: 0,
        caller: caller.to_owned(),
    };
    sqlx::query(
        "INSERT INTO accounts (id, caller, owner, currency, balance) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(account.id)
    .bind(&account.caller)
    .bind(account.owner.as_str())
    .bind(account.currency.as_str())
    .bind(account.balance)
    .execute(tx)
    .await?;
    Ok(account)
}

/// Returns an account of the caller.
///
/// # Errors
///
/// [`LedgerError::AccountNotFound`], also for an account of another caller.
pub async fn account(
    pool: &Pool<Db>,
    caller: &str,
    id: Id<Account>,
) -> Result<Account, LedgerError> {
    select_owned(&mut *pool.begin().await?, caller, id).await
}

/// Deposits money from outside the ledger into an account of the caller. Returns the account after
/// the deposit.
///
/// # Errors
///
/// [`LedgerError::AccountNotFound`], also for an account of another caller;
/// [`LedgerError::BalanceTooLarge`].
pub async fn deposit(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Account>,
    amount: Amount,
) -> Result<Account, LedgerError> {
    let account = lock_owned(tx, caller, id).await?.credit(amount)?;
    save_balance(tx, &account).await?;
    sqlx::query("INSERT INTO deposits (account, amount) VALUES ($1, $2)")
        .bind(id)
        .bind(amount.minor_units())
        .execute(tx)
        .await?;
    Ok(account)
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

impl FromRow<'_, Row> for Account {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            owner: parse_column(row, "owner")?,
            currency: parse_column(row, "currency")?,
            balance: row.try_get("balance")?,
            caller: row.try_get("caller")?,
        })
    }
}

/// Accounts that a query has found.
pub(super) struct Accounts(Vec<Account>);

impl Accounts {
    /// Removes the account with this identifier, of any caller.
    pub(super) fn take(&mut self, id: Id<Account>) -> Result<Account, LedgerError> {
        let index = self.0.iter().position(|account| account.id == id);
        match index {
            Some(index) => Ok(self.0.swap_remove(index)),
            None => Err(LedgerError::AccountNotFound(id)),
        }
    }

    /// Removes the account with this identifier, if it belongs to the caller.
    pub(super) fn take_owned(
        &mut self,
        caller: &str,
        id: Id<Account>,
    ) -> Result<Account, LedgerError> {
        let account = self.take(id)?;
        if account.caller == caller {
            Ok(account)
        } else {
            Err(LedgerError::AccountNotFound(id))
        }
    }
}

/// Locks both accounts until the transaction ends, so their balances cannot change. Every
/// transaction locks accounts in the order of their identifiers. Two payments in opposite directions
/// therefore never wait for each other.
pub(super) async fn lock(tx: &mut Tx<Db>, ids: [Id<Account>; 2]) -> Result<Accounts, LedgerError> {
    select(tx, ids, FOR_UPDATE).await
}

/// Locks an account, and returns it if it belongs to the caller.
pub(super) async fn lock_owned(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Account>,
) -> Result<Account, LedgerError> {
    lock(tx, [id, id]).await?.take_owned(caller, id)
}

/// Returns the account with this identifier, if it belongs to the caller.
pub(super) async fn select_owned<'e>(
    executor: impl Executor<'e, Database = Db>,
    caller: &str,
    id: Id<Account>,
) -> Result<Account, LedgerError> {
    let mut accounts = select(executor, [id, id], "").await?;
    accounts.take_owned(caller, id)
}

/// Selects the accounts with these identifiers.
async fn select<'e>(
    executor: impl Executor<'e, Database = Db>,
    ids: [Id<Account>; 2],
    lock: &str,
) -> Result<Accounts, LedgerError> {
    let query = format!(
        "SELECT id, caller, owner, currency, balance FROM accounts WHERE id IN ($1, $2)
         ORDER BY id {lock}"
    );
    let query = sqlx::query_as(AssertSqlSafe(query));
    let accounts = query.bind(ids[0]).bind(ids[1]).fetch_all(executor).await?;
    Ok(Accounts(accounts))
}

/// Moves `amount` from one account to the other. If there is an error, neither balance changes.
pub(super) async fn transfer(
    tx: &mut Tx<Db>,
    from: Account,
    to: Account,
    amount: Amount,
) -> Result<(), LedgerError> {
    let (from, to) = (from.debit(amount)?, to.credit(amount)?);
    save_balance(tx, &from).await?;
    save_balance(tx, &to).await
}

pub(super) async fn save_balance(tx: &mut Tx<Db>, account: &Account) -> Result<(), LedgerError> {
    sqlx::query("UPDATE accounts SET balance = $1 WHERE id = $2")
        .bind(account.balance)
        .bind(account.id)
        .execute(tx)
        .await?;
    Ok(())
}
