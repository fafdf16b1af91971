//! The business logic: accounts and the payments between them, in one database.
//!
//! Deposits add money, payments and refunds move it, and payouts remove it. A function that writes
//! takes the [`Tx`](aplomb::transaction::Tx) of its request, and the pipeline commits. A function
//! that reads takes a pool, and reads in one transaction, which a PgBouncer needs. An account belongs to the caller who opened it. Other callers can pay to
//! the account, and get [`LedgerError::AccountNotFound`] for every other operation.

mod account;
mod error;
mod health;
pub(crate) mod history;
mod payment;
mod payout;
mod refund;
mod row;
mod statement;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod values;

pub use self::account::{Account, account, deposit, open_account};
pub use self::error::LedgerError;
pub use self::health::HealthCheck;
pub use self::history::{NewestFirst, payments};
pub use self::payment::{NewPayment, Payment, Status, pay, payment};
pub use self::payout::{NewPayout, Payout, pay_out};
pub use self::refund::refund;
pub use self::statement::{Statement, issue_statement};
pub use self::tables::{OpenError, create_tables};
pub use self::values::{Amount, Currency, Iban, InvalidValue, Owner};
