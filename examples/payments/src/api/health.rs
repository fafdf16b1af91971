//! The health check for load balancers.

use aplomb::prelude::*;
use serde::Serialize;

use super::App;
use super::ledger::LedgerError;

/// The health of the service.
#[derive(Debug, Serialize)]
pub struct Health {
    /// Always `ok`. If the ledger cannot be written, the response is a problem instead.
    pub status: &'static str,
}

/// Checks that the service can write to its ledger.
#[endpoint(get = "/health", version = 1.., public)]
pub async fn health(State(app): State<App>) -> Result<Json<Health>, LedgerError> {
    app.health.run(&app.pool).await?;
    Ok(Json(Health { status: "ok" }))
}
