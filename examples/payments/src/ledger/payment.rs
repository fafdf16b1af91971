use aplomb::{Id, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::row::wrong;
use super::{Account, Amount, Ledger, LedgerError, account};

/// A payment to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct NewPayment {
    /// The account that pays: one of the caller's.
    pub from: Id<Account>,
    /// The account that is paid: another one, of anybody, in the same currency.
    pub to: Id<Account>,
    /// How much.
    pub amount: Amount,
}

/// A payment that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Resource)]
#[resource(prefix = "pay")]
#[non_exhaustive]
pub struct Payment {
    /// Its identifier; later payments have larger ones.
    pub id: Id<Payment>,
    /// The account that paid.
    pub from: Id<Account>,
    /// The account that was paid.
    pub to: Id<Account>,
    /// How much.
    pub amount: Amount,
    /// Whether the money is still there.
    pub status: Status,
    /// When it was made, as in RFC 3339.
    pub created_at: Timestamp,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The money moved.
    Completed,
    /// The money moved and went back.
    Refunded,
}

impl Ledger {
    /// Pays from an account of the caller into another one.
    ///
    /// # Errors
    ///
    /// In this order: [`LedgerError::SameAccount`]; [`LedgerError::AccountNotFound`] for `from`, also if
    /// it belongs to somebody else, then for `to`; [`LedgerError::CurrencyMismatch`];
    /// [`LedgerError::InsufficientFunds`]; [`LedgerError::BalanceTooLarge`]. Nothing has moved then.
    pub async fn pay(&self, caller: &str, new: NewPayment) -> Result<Payment, LedgerError> {
        if new.from == new.to {
            return Err(LedgerError::SameAccount);
        }
        let mut transaction = self.begin().await?;
        let from = account::owned(&mut transaction, caller, new.from).await?;
        let to = account::find(&mut transaction, new.to).await?;
        if from.currency != to.currency {
            return Err(LedgerError::CurrencyMismatch);
        }
        let id = insert(&mut transaction, &from, &to, new.amount).await?;
        account::transfer(&mut transaction, from, to, new.amount).await?;
        let payment = visible(&mut transaction, caller, id).await?;
        transaction.commit().await?;
        Ok(payment)
    }

    /// A payment from or to an account of the caller.
    ///
    /// # Errors
    ///
    /// [`LedgerError::PaymentNotFound`] also if it is between accounts of others.
    pub async fn payment(&self, caller: &str, id: Id<Payment>) -> Result<Payment, LedgerError> {
        let mut connection = self.readers.acquire().await?;
        visible(&mut connection, caller, id).await
    }
}

impl FromRow<'_, SqliteRow> for Payment {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let id: Id<Self> = row.try_get("id")?;
        Ok(Self {
            id,
            from: row.try_get("from_account")?,
            to: row.try_get("to_account")?,
            amount: Amount::try_from(row.try_get::<i64, _>("amount")?).map_err(wrong("amount"))?,
            status: if row.try_get("refunded")? {
                Status::Refunded
            } else {
                Status::Completed
            },
            created_at: born(id)?,
        })
    }
}

/// When the payment was made: its identifier tells.
fn born(id: Id<Payment>) -> sqlx::Result<Timestamp> {
    let milliseconds = i64::try_from(id.timestamp_ms()).map_err(wrong("id"))?;
    Timestamp::from_millisecond(milliseconds).map_err(wrong("id"))
}

/// The payment, if the caller owns one of its accounts.
pub(super) async fn visible(
    connection: &mut SqliteConnection,
    caller: &str,
    id: Id<Payment>,
) -> Result<Payment, LedgerError> {
    sqlx::query_as(
        "SELECT id, from_account, to_account, amount, refunded FROM payments
         WHERE id = ?1 AND (payer = ?2 OR payee = ?2)",
    )
    .bind(id)
    .bind(caller)
    .fetch_optional(connection)
    .await?
    .ok_or(LedgerError::PaymentNotFound(id))
}

/// Writes the payment down. Its identifier is made under the write lock, so that payments of one
/// process are listed in the order in which they were committed.
async fn insert(
    connection: &mut SqliteConnection,
    from: &Account,
    to: &Account,
    amount: Amount,
) -> Result<Id<Payment>, LedgerError> {
    let id = Id::new();
    sqlx::query(
        "INSERT INTO payments (id, from_account, to_account, payer, payee, amount)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(from.id)
    .bind(to.id)
    .bind(&from.caller)
    .bind(&to.caller)
    .bind(amount.minor_units())
    .execute(connection)
    .await?;
    Ok(id)
}
