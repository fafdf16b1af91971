//! A crate that re-exports `aplomb`, and a macro of its own that makes an endpoint.

pub use aplomb;

/// Makes the endpoint `/health` in a crate that need not depend on `aplomb`.
#[macro_export]
macro_rules! health {
    ($name:ident) => {
        /// Is up.
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
