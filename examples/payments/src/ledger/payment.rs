use aplomb::prelude::Tx;
use aplomb::{Id, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Executor, FromRow, Pool, Row as _};

use super::super::{Db, FOR_UPDATE, Row};
use super::row::invalid_column;
use super::{Account, Amount, LedgerError, account};

/// The body of a request to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct NewPayment {
    /// The account that pays. It must belong to the caller.
    pub from: Id<Account>,
    /// The account that is paid: another account in the same currency, of any caller.
    pub to: Id<Account>,
    /// The amount in minor units.
    pub amount: Amount,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Resource)]
#[resource(prefix = "pay")]
#[non_exhaustive]
pub struct Payment {
    /// The identifier. Later payments have larger identifiers.
    pub id: Id<Payment>,
    /// The account that paid.
    pub from: Id<Account>,
    /// The account that was paid.
    pub to: Id<Account>,
    /// The amount in minor units.
    pub amount: Amount,
    /// The status.
    pub status: Status,
    /// The time of the payment, in RFC 3339.
    pub created_at: Timestamp,
}

/// The status of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The payee has received the amount.
    Completed,
    /// The payer has received the amount back.
    Refunded,
}

/// Pays from an account of the caller to another account.
///
/// # Errors
///
/// In this order: [`LedgerError::SameAccount`]; [`LedgerError::AccountNotFound`] for `from`, also if
/// it belongs to another caller, then for `to`; [`LedgerError::CurrencyMismatch`];
/// [`LedgerError::InsufficientFunds`]; [`LedgerError::BalanceTooLarge`].
pub async fn pay(tx: &mut Tx<Db>, caller: &str, new: NewPayment) -> Result<Payment, LedgerError> {
    if new.from == new.to {
        return Err(LedgerError::SameAccount);
    }
    let mut accounts = account::lock(tx, [new.from, new.to]).await?;
    let from = accounts.take_owned(caller, new.from)?;
    let to = accounts.take(new.to)?;
    if from.currency != to.currency {
        return Err(LedgerError::CurrencyMismatch);
    }
    let id = insert(tx, &from, &to, new.amount).await?;
    account::transfer(tx, from, to, new.amount).await?;
    select_visible(tx, caller, id, "").await
}

/// Returns a payment from or to an account of the caller.
///
/// # Errors
///
/// [`LedgerError::PaymentNotFound`], also for a payment between accounts of other callers.
pub async fn payment(
    pool: &Pool<Db>,
    caller: &str,
    id: Id<Payment>,
) -> Result<Payment, LedgerError> {
    select_visible(&mut *pool.begin().await?, caller, id, "").await
}

/// Locks a payment from or to an account of the caller, so it can be refunded only once.
pub(super) async fn lock_visible(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Payment>,
) -> Result<Payment, LedgerError> {
    select_visible(tx, caller, id, FOR_UPDATE).await
}

impl FromRow<'_, Row> for Payment {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let id: Id<Self> = row.try_get("id")?;
        Ok(Self {
            id,
            from: row.try_get("from_account")?,
            to: row.try_get("to_account")?,
            amount: Amount::try_from(row.try_get::<i64, _>("amount")?)
                .map_err(invalid_column("amount"))?,
            status: if row.try_get("refunded")? {
                Status::Refunded
            } else {
                Status::Completed
            },
            created_at: created_at_of(id)?,
        })
    }
}

/// Returns the time of a payment from its identifier.
fn created_at_of(id: Id<Payment>) -> sqlx::Result<Timestamp> {
    let milliseconds = i64::try_from(id.timestamp_ms()).map_err(invalid_column("id"))?;
    Timestamp::from_millisecond(milliseconds).map_err(invalid_column("id"))
}

/// Returns the payment with this identifier, if the caller owns one of its accounts.
async fn select_visible<'e>(
    executor: impl Executor<'e, Database = Db>,
    caller: &str,
    id: Id<Payment>,
    lock: &str,
) -> Result<Payment, LedgerError> {
    let query = format!(
        "SELECT id, from_account, to_account, amount, refunded FROM payments
         WHERE id = $1 AND (payer = $2 OR payee = $2) {lock}"
    );
    sqlx::query_as(AssertSqlSafe(query))
        .bind(id)
        .bind(caller)
        .fetch_optional(executor)
        .await?
        .ok_or(LedgerError::PaymentNotFound(id))
}

/// Inserts the payment.
async fn insert(
    tx: &mut Tx<Db>,
    from: &Account,
    to: &Account,
    amount: Amount,
) -> Result<Id<Payment>, LedgerError> {
    let id = Id::new();
    sqlx::query(
        "INSERT INTO payments (id, from_account, to_account, payer, payee, amount)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(from.id)
    .bind(to.id)
    .bind(&from.caller)
    .bind(&to.caller)
    .bind(amount.minor_units())
    .execute(tx)
    .await?;
    Ok(id)
}
