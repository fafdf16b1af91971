//! The endpoints. Each declares its policies, and calls one function of the ledger.

pub mod accounts;
pub mod health;
pub mod payments;
pub mod payouts;
pub mod statements;

use aplomb::prelude::*;

use super::app::App;
use super::{Db, ledger};

/// Returns all endpoints of the service.
pub fn routes() -> Routes<App> {
    aplomb::routes![
        accounts::open_account,
        accounts::get_account,
        accounts::deposit,
        accounts::v1::open_account,
        accounts::v1::get_account,
        accounts::v1::deposit,
        payments::create_payment,
        payments::list_payments,
        payments::get_payment,
        payments::refund_payment,
        payouts::pay_out,
        statements::send_statement,
        health::health,
    ]
}
