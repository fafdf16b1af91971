//! Payments and their refunds.

use aplomb::prelude::*;
use serde::Deserialize;

use crate::app::App;
use crate::ledger::{Account, LedgerError, NewPayment, NewestFirst, Payment};

/// Which payments to list.
#[derive(Debug, Deserialize)]
pub struct Filter {
    /// Only those from or to this account, which must be the caller's.
    pub account: Option<Id<Account>>,
}

/// Pays from an account of the caller into another one, of anybody, in the same currency.
#[endpoint(post = "/payments", version = 1.., idempotent, rate_limit("100/min", name = "payments"))]
pub async fn create_payment(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewPayment>,
) -> Result<Created<Payment>, LedgerError> {
    let payment = app.ledger.pay(caller.id(), new).await?;
    let location = get_payment::uri(&payment.id);
    Ok(Created::new(payment).with_location(location))
}

/// The payments from and to the caller's accounts, newest first; pages lead both ways.
#[endpoint(get = "/payments", version = 1.., paginate = cursor)]
pub async fn list_payments(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    page: PageRequest<NewestFirst>,
) -> Result<Page<Payment>, LedgerError> {
    let page = page.bidirectional();
    let rows = app
        .ledger
        .payments(caller.id(), filter.account, &page.keyset())
        .await?;
    Ok(page.page(rows, |payment| NewestFirst { id: payment.id }))
}

/// A payment from or to an account of the caller.
#[endpoint(get = "/payments/{id}", version = 1..)]
pub async fn get_payment(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Payment>>,
) -> Result<Json<Payment>, LedgerError> {
    Ok(Json(app.ledger.payment(caller.id(), id).await?))
}

/// Gives a payment back, once and whole. Only the caller who was paid can do this.
#[endpoint(post = "/payments/{id}/refund", version = 1.., idempotent)]
pub async fn refund_payment(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Payment>>,
) -> Result<Created<Payment>, LedgerError> {
    Ok(
        Created::new(app.ledger.refund(caller.id(), id).await?)
            .with_location(get_payment::uri(&id)),
    )
}
