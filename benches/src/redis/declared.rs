//! The endpoint declared with Aplomb.

use aplomb::Routes;
use aplomb::Secret;
use aplomb::prelude::*;
use aplomb::store::RedisConfig;
use aplomb_benches::Failure;
use aplomb_benches::payment::{API_KEY, CALLER, NewPayment, Payment};
use axum::Router;

/// Makes a payment.
#[endpoint(
    post = "/payments",
    version = 1,
    idempotent,
    rate_limit("100/min", burst = 10_000_000)
)]
async fn create_payment(Json(new): Json<NewPayment>) -> Created<Payment> {
    make_payment(&new)
}

/// The same endpoint with prefetched tokens.
mod prefetching {
    use aplomb::prelude::*;

    use super::{NewPayment, Payment, make_payment};

    /// Makes a payment.
    #[endpoint(
        post = "/payments",
        version = 1,
        idempotent,
        rate_limit("100/min", burst = 10_000_000, prefetch = 50)
    )]
    pub(super) async fn create_payment(Json(new): Json<NewPayment>) -> Created<Payment> {
        make_payment(&new)
    }
}

fn make_payment(new: &NewPayment) -> Created<Payment> {
    let payment = Payment::make(new);
    let location = get_payment::uri(&payment.id);
    Created::new(payment).with_location(location)
}

/// Responds without a body. The `Location` of a payment links to this endpoint, but the benchmark
/// never requests it.
#[endpoint(get = "/payments/{id}", version = 1)]
async fn get_payment(Path(_): Path<Id<Payment>>) -> NoContent {
    NoContent
}

pub(crate) async fn router(url: &str) -> Result<Router, Failure> {
    router_of(url, routes![create_payment, get_payment]).await
}

pub(crate) async fn router_with_prefetch(url: &str) -> Result<Router, Failure> {
    router_of(url, routes![prefetching::create_payment, get_payment]).await
}

async fn router_of(url: &str, routes: Routes<()>) -> Result<Router, Failure> {
    let keys = ApiKeys::parse(&format!("{CALLER}:{API_KEY}"))?;
    let api = Api::new("payments", routes)
        .store(Store::redis(RedisConfig::new(url)?))
        .secret(Secret::new(*b"a fixed secret for this benchmark")?)
        .auth(keys);
    Ok(api.into_router(()).await?)
}
