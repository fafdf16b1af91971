//! Serves the bookshop. `README.md` shows its endpoints.

mod callers;
mod orders;
mod shop;

use std::env;
use std::error::Error;
use std::net::SocketAddr;

use aplomb::Api;
use tokio::net::TcpListener;

use crate::callers::Users;
use crate::shop::Shop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::default();
    let api = Api::new("bookshop", orders::routes()).auth(Users);
    let tracker = api.tracker();
    let orders = api.into_router(shop.clone()).await?;
    let app = shop::with_fallback_and_layer(shop::router().with_state(shop).merge(orders));

    let listener =
        TcpListener::bind(env::var("ADDR").as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
    .await?;
    tracker.close();
    tracker.wait().await;
    Ok(())
}
