//! For load balancers.

use aplomb::prelude::*;
use serde::Serialize;

use crate::app::App;
use crate::ledger::LedgerError;

/// How the service is.
#[derive(Debug, Serialize)]
pub struct Health {
    /// Always `ok`: a service that is not answers with a problem.
    pub status: &'static str,
}

/// Whether the service can read its ledger.
#[endpoint(get = "/health", version = 1.., public)]
pub async fn health(State(app): State<App>) -> Result<Json<Health>, LedgerError> {
    app.ledger.check().await?;
    Ok(Json(Health { status: "ok" }))
}
