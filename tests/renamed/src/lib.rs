//! Endpoints of a crate in which `aplomb` has other names, because the dependency is renamed and
//! another crate re-exports it.

#![allow(clippy::unused_async, reason = "the tests compile only the signatures")]

/// The dependency under another name.
pub mod dependency {
    use core::fmt;

    use renamed::policies::paginate::{Page, PageRequest};
    use renamed::{ApiError, CursorKey, Id, Path, Resource, Routes, endpoint, routes};

    /// A resource.
    #[derive(Debug, Resource)]
    #[resource(prefix = "order", crate = renamed)]
    pub struct Order;

    /// The columns of a list.
    #[derive(Debug, CursorKey)]
    #[cursor(crate = ::renamed)]
    pub struct Newest {
        /// The only column.
        #[cursor(unique)]
        pub id: Id<Order>,
    }

    /// An enum with the path of the crate in a separate attribute.
    #[derive(Debug, ApiError)]
    #[problem(crate = renamed)]
    pub enum Refused {
        /// The order is sold.
        #[problem(conflict, code = "SOLD_OUT")]
        SoldOut,
        /// The order is missing.
        #[problem(transparent)]
        Missing(Missing),
    }

    /// A struct with the path of the crate beside its category.
    #[derive(Debug, ApiError)]
    #[problem(not_found, code = "ORDER_MISSING", crate = renamed)]
    pub struct Missing;

    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("refused")
        }
    }

    impl fmt::Display for Missing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("missing")
        }
    }

    impl core::error::Error for Refused {}
    impl core::error::Error for Missing {}

    /// Reads an order.
    ///
    /// # Errors
    ///
    /// Every order is sold out.
    #[endpoint(
        get = "/orders/{id}",
        version = 1,
        rate_limit("5/s", by = caller),
        deprecated = "2026-06-30",
        successor = list_orders,
        crate = renamed
    )]
    pub async fn get_order(Path(_): Path<Id<Order>>) -> Result<(), Refused> {
        Err(Refused::SoldOut)
    }

    /// Lists orders.
    #[endpoint(get = "/orders", version = 1, paginate = cursor, crate = ::renamed)]
    pub async fn list_orders(page: PageRequest<Newest>) -> Page<u64> {
        page.page(Vec::new(), |_| Newest { id: Id::new() })
    }

    /// Lists the endpoints.
    #[must_use]
    pub fn routes() -> Routes<()> {
        routes![crate = renamed; get_order, list_orders]
    }
}

/// Uses `aplomb` through the re-export of another crate.
pub mod reexport {
    use aplomb_framework::aplomb::{Json, Routes, endpoint};
    use aplomb_framework::{aplomb, health, list};

    health!(is_up);

    /// Creates an order.
    #[endpoint(post = "/orders", version = 1, idempotent, crate = aplomb)]
    pub async fn create_order(Json(_): Json<u64>) {}

    /// Lists the endpoints.
    #[must_use]
    pub fn routes() -> Routes<()> {
        list![is_up, create_order]
    }
}
