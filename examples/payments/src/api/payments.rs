//! Payments and their refunds.

use aplomb::prelude::*;
use serde::Deserialize;

use super::ledger::{self, Account, LedgerError, NewPayment, NewestFirst, Payment};
use super::{App, Db};

/// The filter of the list of payments.
#[derive(Debug, Deserialize)]
pub struct Filter {
    /// Lists only payments from or to this account, which must belong to the caller.
    pub account: Option<Id<Account>>,
}

/// Pays from an account of the caller to another account in the same currency, of any caller.
#[endpoint(post = "/payments", version = 1.., idempotent, rate_limit("100/min", name = "payments"))]
pub async fn create_payment(
    mut tx: Tx<Db>,
    caller: Caller,
    Json(new): Json<NewPayment>,
) -> Result<Created<Payment>, LedgerError> {
    let payment = ledger::pay(&mut tx, caller.id(), new).await?;
    let location = get_payment::uri(&payment.id);
    Ok(Created::new(payment).with_location(location))
}

/// Lists the payments from and to the caller's accounts, newest first, in pages in both directions.
#[endpoint(get = "/payments", version = 1.., paginate = cursor)]
pub async fn list_payments(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    page: PageRequest<NewestFirst>,
) -> Result<Page<Payment>, LedgerError> {
    let page = page.bidirectional();
    let rows = ledger::payments(&app.pool, caller.id(), filter.account, &page.keyset()).await?;
    Ok(page.page(rows, |payment| NewestFirst { id: payment.id }))
}

/// Returns a payment from or to an account of the caller.
#[endpoint(get = "/payments/{id}", version = 1..)]
pub async fn get_payment(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Payment>>,
) -> Result<Json<Payment>, LedgerError> {
    Ok(Json(ledger::payment(&app.pool, caller.id(), id).await?))
}

/// Refunds a payment once, with its full amount. Only the caller who was paid can refund.
#[endpoint(post = "/payments/{id}/refund", version = 1.., idempotent)]
pub async fn refund_payment(
    mut tx: Tx<Db>,
    caller: Caller,
    Path(id): Path<Id<Payment>>,
) -> Result<Created<Payment>, LedgerError> {
    let payment = ledger::refund(&mut tx, caller.id(), id).await?;
    Ok(Created::new(payment).with_location(get_payment::uri(&id)))
}
