//! The app before Aplomb, unchanged: its state, errors, users, routes, layer and fallback.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::orders::Orders;

/// The state of the app.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    orders: Orders,
}

/// Lets handlers extract the orders from the state.
impl FromRef<Shop> for Orders {
    fn from_ref(shop: &Shop) -> Self {
        shop.orders.clone()
    }
}

/// An error of the app, with a status and a text.
pub(crate) struct AppError(pub(crate) StatusCode, pub(crate) &'static str);

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: self.1 })).into_response()
    }
}

/// The user of a request.
pub(crate) struct User(pub(crate) &'static str);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        match credentials(&parts.headers) {
            Credentials::Of(name) => Ok(Self(name)),
            Credentials::Missing => Err(AppError(StatusCode::UNAUTHORIZED, "sign in first")),
            Credentials::Wrong => Err(AppError(StatusCode::UNAUTHORIZED, "no user has this token")),
        }
    }
}

/// The result of looking up the token of a request.
pub(crate) enum Credentials {
    Of(&'static str),
    Missing,
    Wrong,
}

/// Looks up the user of the request's token.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials {
    match headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) {
        Some(b"Bearer token-of-ada") => Credentials::Of("ada"),
        Some(b"Bearer token-of-ben") => Credentials::Of("ben"),
        Some(_) => Credentials::Wrong,
        None => Credentials::Missing,
    }
}

#[derive(Clone, Copy, Serialize)]
struct Book {
    isbn: &'static str,
    title: &'static str,
}

const BOOKS: [Book; 2] = [
    Book {
        isbn: "9780441172719",
        title: "Dune",
    },
    Book {
        isbn: "9780262510875",
        title: "Structure and Interpretation of Computer Programs",
    },
];

/// Returns whether the shop sells the book.
pub(crate) fn sells(isbn: &str) -> bool {
    BOOKS.iter().any(|book| book.isbn == isbn)
}

/// The routes of the shop, without those of orders.
pub(crate) fn router() -> Router<Shop> {
    Router::new()
        .route("/", get(home))
        .route("/books", get(books))
        .route("/books/{isbn}", get(book))
        .route("/whoami", get(whoami))
}

/// Adds the app's fallback and its layer to all routes, including those of Aplomb.
pub(crate) fn with_fallback_and_layer(routes: Router) -> Router {
    let not_found = async || AppError(StatusCode::NOT_FOUND, "there is no such page");
    routes
        .fallback(not_found)
        .layer(map_response(add_served_by))
}

async fn add_served_by(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert("x-served-by", HeaderValue::from_static("bookshop"));
    response
}

async fn home() -> Html<&'static str> {
    Html("<h1>The bookshop</h1>")
}

async fn books() -> Json<[Book; 2]> {
    Json(BOOKS)
}

async fn book(Path(isbn): Path<String>) -> Result<Json<Book>, AppError> {
    let book = BOOKS.into_iter().find(|book| book.isbn == isbn);
    book.map(Json).ok_or(AppError(
        StatusCode::NOT_FOUND,
        "the shop does not sell this book",
    ))
}

async fn whoami(User(name): User, ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
    format!("{name} from {}", address.ip())
}
