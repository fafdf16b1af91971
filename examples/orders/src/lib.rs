//! A service of orders.

use std::env;

use aplomb::StartError;
use aplomb::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use sqlx::{QueryBuilder, Sqlite};

/// The state that all endpoints share. Clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct App {
    database: SqlitePool,
    max_quantity: u32,
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (
        id TEXT PRIMARY KEY,
        caller TEXT NOT NULL,
        item TEXT NOT NULL,
        quantity INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS orders_by_caller ON orders (caller, id);
";

impl App {
    /// Reads the settings of this service from the environment, and opens the database.
    pub async fn connect() -> Result<Self, StartError> {
        let max_quantity = env::var("ORDERS_MAX_QUANTITY").unwrap_or_else(|_| "100".into());
        let max_quantity = max_quantity.parse().map_err(|_| {
            let accepted = "expected a whole number, such as 100";
            StartError::variable("ORDERS_MAX_QUANTITY", &max_quantity, accepted)
        })?;
        let path = env::var("ORDERS_DB").unwrap_or_else(|_| "orders.sqlite".into());
        let file = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        Self::open(file, max_quantity).await.map_err(|error| {
            let accepted = "expected the path of a SQLite file";
            StartError::variable("ORDERS_DB", &path, format!("{error}; {accepted}"))
        })
    }

    /// Opens a database, and creates its tables if they are missing.
    pub async fn open(options: SqliteConnectOptions, max_quantity: u32) -> sqlx::Result<Self> {
        let database = SqlitePool::connect_with(options).await?;
        sqlx::raw_sql(TABLES).execute(&database).await?;
        Ok(Self {
            database,
            max_quantity,
        })
    }
}

/// The errors of the endpoints.
#[derive(Debug, thiserror::Error, ApiError)]
pub enum OrderError {
    /// The order does not exist, or belongs to another caller.
    #[error("there is no order {0}")]
    #[problem(not_found, code = "ORDER_NOT_FOUND")]
    NotFound(Id<Order>),
    /// The quantity is 0, or above `ORDERS_MAX_QUANTITY`.
    #[error("expected a quantity from 1 to {max}")]
    #[problem(validation, code = "QUANTITY_OUT_OF_RANGE", pointer = "#/quantity")]
    QuantityOutOfRange {
        /// The largest quantity of an order.
        max: u32,
    },
    /// The database failed.
    #[error("the database failed")]
    #[problem(internal)]
    Database(#[from] sqlx::Error),
}

/// The body of a request that places an order.
#[derive(Debug, Deserialize)]
pub struct NewOrder {
    item: String,
    quantity: u32,
}

/// An order, as it is stored and as clients see it.
#[derive(Debug, Serialize, sqlx::FromRow, Resource)]
#[resource(prefix = "ord")]
pub struct Order {
    id: Id<Order>,
    item: String,
    quantity: u32,
}

/// The sort order of the list: identifiers ascend with time.
#[derive(Debug, CursorKey)]
pub struct NewestFirst {
    #[cursor(desc, unique)]
    id: Id<Order>,
}

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent, rate_limit = "100/min")]
pub async fn place_order(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewOrder>,
) -> Result<Created<Order>, OrderError> {
    let max = app.max_quantity;
    if !(1..=max).contains(&new.quantity) {
        return Err(OrderError::QuantityOutOfRange { max });
    }
    let order = Order {
        id: Id::new(),
        item: new.item,
        quantity: new.quantity,
    };
    sqlx::query("INSERT INTO orders (id, caller, item, quantity) VALUES (?, ?, ?, ?)")
        .bind(order.id)
        .bind(caller.id())
        .bind(&order.item)
        .bind(order.quantity)
        .execute(&app.database)
        .await?;
    let location = get_order::uri(&order.id);
    Ok(Created::new(order).with_location(location))
}

/// Returns an order of the caller.
#[endpoint(get = "/orders/{id}", version = 1)]
pub async fn get_order(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Order>>,
) -> Result<Json<Order>, OrderError> {
    let order = sqlx::query_as("SELECT id, item, quantity FROM orders WHERE id = ? AND caller = ?")
        .bind(id)
        .bind(caller.id())
        .fetch_optional(&app.database)
        .await?;
    Ok(Json(order.ok_or(OrderError::NotFound(id))?))
}

/// Lists the orders of the caller, newest first.
#[endpoint(get = "/orders", version = 1, paginate = cursor)]
pub async fn list_orders(
    State(app): State<App>,
    caller: Caller,
    page: PageRequest<NewestFirst>,
) -> Result<Page<Order>, OrderError> {
    let page = page.bidirectional();
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT id, item, quantity FROM orders WHERE caller = ");
    query.push_bind(caller.id()).push(" AND ");
    page.keyset().push_onto(&mut query);
    let orders = query.build_query_as().fetch_all(&app.database).await?;
    Ok(page.page(orders, |order: &Order| NewestFirst { id: order.id }))
}

/// Returns 200 while the database can be read.
#[endpoint(get = "/health", public)]
pub async fn health(State(app): State<App>) -> Result<&'static str, OrderError> {
    sqlx::query("SELECT 1").execute(&app.database).await?;
    Ok("ok")
}

/// Returns all endpoints of the service.
pub fn routes() -> Routes<App> {
    routes![place_order, get_order, list_orders, health]
}
