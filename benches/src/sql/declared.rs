//! The endpoint declared with Aplomb, with a transaction and with a pool of its own.

use aplomb::prelude::*;
use aplomb::{Result, Secret};
use aplomb_benches::Failure;
use aplomb_benches::payment::{API_KEY, CALLER, NewPayment, Payment};
use axum::Router;
use sqlx::{Postgres, Sqlite};

use crate::database::{Database, insert_payment};

mod on_postgres {
    use super::{
        Created, Json, NewPayment, Payment, Postgres, Result, Tx, created, endpoint, insert_payment,
    };

    /// Makes a payment.
    #[endpoint(
        post = "/payments",
        version = 1,
        idempotent,
        rate_limit("100/min", burst = 10_000_000)
    )]
    pub(super) async fn create_payment(
        mut tx: Tx<Postgres>,
        Json(new): Json<NewPayment>,
    ) -> Result<Created<Payment>> {
        let payment = Payment::make(&new);
        insert_payment!(&mut tx, payment)?;
        Ok(created(payment))
    }
}

mod on_sqlite {
    use super::{
        Created, Json, NewPayment, Payment, Result, Sqlite, Tx, created, endpoint, insert_payment,
    };

    /// Makes a payment.
    #[endpoint(
        post = "/payments",
        version = 1,
        idempotent,
        rate_limit("100/min", burst = 10_000_000)
    )]
    pub(super) async fn create_payment(
        mut tx: Tx<Sqlite>,
        Json(new): Json<NewPayment>,
    ) -> Result<Created<Payment>> {
        let payment = Payment::make(&new);
        insert_payment!(&mut tx, payment)?;
        Ok(created(payment))
    }
}

mod without_tx {
    use super::{Created, Database, Json, NewPayment, Payment, Result, State, created, endpoint};

    /// Makes a payment in a transaction of its own.
    #[endpoint(
        post = "/payments",
        version = 1,
        idempotent,
        rate_limit("100/min", burst = 10_000_000)
    )]
    pub(super) async fn create_payment(
        State(database): State<Database>,
        Json(new): Json<NewPayment>,
    ) -> Result<Created<Payment>> {
        let payment = Payment::make(&new);
        database.insert_payment(&payment).await?;
        Ok(created(payment))
    }
}

/// Responds without a body. The `Location` of a payment links to this endpoint, but the benchmark
/// never requests it.
#[endpoint(get = "/payments/{id}", version = 1)]
async fn get_payment(Path(_): Path<Id<Payment>>) -> NoContent {
    NoContent
}

fn created(payment: Payment) -> Created<Payment> {
    let location = get_payment::uri(&payment.id);
    Created::new(payment).with_location(location)
}

/// The endpoint whose handler takes the transaction of the request.
pub(crate) async fn with_tx(database: Database) -> core::result::Result<Router, Failure> {
    let routes = match database {
        Database::Postgres(_) => routes![on_postgres::create_payment, get_payment],
        Database::Sqlite(_) => routes![on_sqlite::create_payment, get_payment],
    };
    router_of(routes, database).await
}

/// The endpoint whose handler commits the payment itself.
pub(crate) async fn without_tx(database: Database) -> core::result::Result<Router, Failure> {
    router_of(routes![without_tx::create_payment, get_payment], database).await
}

async fn router_of(
    routes: Routes<Database>,
    database: Database,
) -> core::result::Result<Router, Failure> {
    let store = match &database {
        Database::Postgres(pool) => Store::postgres(pool),
        Database::Sqlite(pool) => Store::sqlite(pool),
    };
    let keys = ApiKeys::parse(&format!("{CALLER}:{API_KEY}"))?;
    let api = Api::new("payments", routes)
        .store(store)
        .secret(Secret::new(*b"a fixed secret for this benchmark")?)
        .auth(keys);
    Ok(api.into_router(database).await?)
}
