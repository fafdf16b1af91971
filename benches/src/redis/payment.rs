//! What both versions take and answer: a payment, as in the example, without a ledger behind it.

use aplomb::{Id, Resource};
use serde::{Deserialize, Serialize};

/// Who may ask, and with which API key.
pub(crate) const CALLER: &str = "alice";
pub(crate) const API_KEY: &str = "sk_test_alice";

/// 100 a minute, from a bucket that no run empties.
pub(crate) const PER_MINUTE: u64 = 100;
pub(crate) const BURST: u64 = 10_000_000;

#[derive(Resource)]
#[resource(prefix = "acc")]
pub(crate) struct Account;

/// A payment to make.
#[derive(Deserialize)]
pub(crate) struct NewPayment {
    from: Id<Account>,
    to: Id<Account>,
    amount: u64,
}

/// A payment that was made.
#[derive(Serialize, Resource)]
#[resource(prefix = "pay")]
pub(crate) struct Payment {
    pub(crate) id: Id<Payment>,
    from: Id<Account>,
    to: Id<Account>,
    amount: u64,
    status: &'static str,
    created_at: &'static str,
}

impl Payment {
    /// The answer of the business, without the business.
    pub(crate) fn make(new: &NewPayment) -> Self {
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
}
