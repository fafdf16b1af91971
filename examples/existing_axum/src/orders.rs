//! Orders of books.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aplomb::{Routes, endpoint, routes};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::shop::{AppError, Shop, User, sells};

/// An order of a user.
#[derive(Clone, Serialize)]
pub(crate) struct Order {
    id: usize,
    user: &'static str,
    isbn: String,
}

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    isbn: String,
}

/// All orders. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Mutex<Vec<Order>>>);

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoints of orders.
pub(crate) fn routes() -> Routes<Shop> {
    routes![create_order, get_order, list_orders]
}

/// Orders a book.
#[endpoint(post = "/orders", idempotent, rate_limit = "30/min", timeout = "5s")]
async fn create_order(
    State(orders): State<Orders>,
    User(user): User,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), AppError> {
    if !sells(&new.isbn) {
        return Err(AppError(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the shop does not sell this book",
        ));
    }
    let mut orders = orders.lock();
    let order = Order {
        id: orders.len() + 1,
        user,
        isbn: new.isbn,
    };
    orders.push(order.clone());
    Ok((StatusCode::CREATED, Json(order)))
}

/// Returns an order of the user.
#[endpoint(get = "/orders/{id}")]
async fn get_order(
    State(orders): State<Orders>,
    User(user): User,
    Path(id): Path<usize>,
) -> Result<Json<Order>, AppError> {
    let orders = orders.lock();
    let found = orders
        .iter()
        .find(|order| order.id == id && order.user == user);
    found
        .cloned()
        .map(Json)
        .ok_or(AppError(StatusCode::NOT_FOUND, "you have no such order"))
}

/// Lists the orders of the user.
#[endpoint(get = "/orders", unpaginated = "a user has few orders")]
async fn list_orders(State(orders): State<Orders>, User(user): User) -> Json<Vec<Order>> {
    Json(
        orders
            .lock()
            .iter()
            .filter(|order| order.user == user)
            .cloned()
            .collect(),
    )
}
