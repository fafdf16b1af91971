//! The request and the response of both versions: a payment as in the example `payments`, without a
//! ledger.

use aplomb::{Id, Resource};
use serde::{Deserialize, Serialize};

/// The only caller, and its API key.
pub(crate) const CALLER: &str = "alice";
pub(crate) const API_KEY: &str = "sk_test_alice";

/// The limit: 100 per minute, with a burst that is larger than the number of requests of a run.
pub(crate) const PER_MINUTE: u64 = 100;
pub(crate) const BURST: u64 = 10_000_000;

#[derive(Resource)]
#[resource(prefix = "acc")]
pub(crate) struct Account;

/// The body of a request to pay.
#[derive(Deserialize)]
pub(crate) struct NewPayment {
    from: Id<Account>,
    to: Id<Account>,
    amount: u64,
}

/// A payment.
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
    /// Returns the payment that a business logic would return.
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
