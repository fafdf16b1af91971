//! Parts that the programs with a service share: the payment, the load generator, and the parts of
//! hand-written endpoints that do not depend on a store.

pub mod hand_written;
pub mod load;
pub mod payment;

use std::error::Error;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::load::Plan;

/// An error that ends a program.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Serves a router, and prints its address. All versions of an endpoint are served in the same way.
pub fn serve(router: impl Future<Output = Result<Router, Failure>>) -> Result<(), Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let router = router.await?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            Ok(axum::serve(listener, router).await?)
        })
}

/// Sends the requests of a plan, and prints the summary. `usage` is the error for a plan that cannot
/// be parsed.
pub fn run_load(plan: &[&str], usage: &'static str) -> Result<(), Failure> {
    let plan = Plan::parse(plan).ok_or(usage)?;
    let summary = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load::run(plan))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
