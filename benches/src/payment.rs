//! The request and the response of all versions: a payment as in the example `payments`, without a
//! ledger.

use aplomb::{Id, Resource};
use serde::{Deserialize, Serialize};

/// The only caller.
pub const CALLER: &str = "alice";
/// The API key of the caller.
pub const API_KEY: &str = "sk_test_alice";

/// The limit: 100 per minute.
pub const PER_MINUTE: u64 = 100;
/// The burst of the limit, which is larger than the number of requests of a run.
pub const BURST: u64 = 10_000_000;

/// An account.
#[derive(Debug, Resource)]
#[resource(prefix = "acc")]
pub struct Account;

/// The body of a request to pay.
#[derive(Debug, Deserialize)]
pub struct NewPayment {
    from: Id<Account>,
    to: Id<Account>,
    amount: u64,
}

/// A payment.
#[derive(Debug, Serialize, Resource)]
#[resource(prefix = "pay")]
pub struct Payment {
    /// The identifier.
    pub id: Id<Payment>,
    from: Id<Account>,
    to: Id<Account>,
    amount: u64,
    status: &'static str,
    created_at: &'static str,
}

impl Payment {
    /// Returns the payment that a business logic would return.
    pub fn make(new: &NewPayment) -> Self {
        let &NewPayment { from, to, amount } = new;
        let (status, created_at) = ("completed", "2026-01-01T12:00:00.000000Z");
        Self {
            id: Id::new(),
            from,
            to,
            amount,
            status,
            created_at,
        }
    }

    /// Returns the account that pays.
    pub const fn from(&self) -> Id<Account> {
        self.from
    }

    /// Returns the account that is paid.
    pub const fn to(&self) -> Id<Account> {
        self.to
    }

    /// Returns the amount.
    pub const fn amount(&self) -> u64 {
        self.amount
    }
}
