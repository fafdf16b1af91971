//! A crate that re-exports `aplomb`, and that defines a macro that declares an endpoint.

pub use aplomb;

/// Declares the endpoint `/health` in a crate that need not depend on `aplomb`.
#[macro_export]
macro_rules! health {
    ($name:ident) => {
        /// Reports that the service is up.
        #[$crate::aplomb::endpoint(get = "/health", public, crate = $crate::aplomb)]
        pub async fn $name() -> &'static str {
            "up"
        }
    };
}

/// Lists endpoints in a crate that need not depend on `aplomb`.
#[macro_export]
macro_rules! list {
    ($($entry:path),*) => {
        $crate::aplomb::routes![crate = $crate::aplomb; $($entry),*]
    };
}
