mod spec;
pub use spec::{Algorithm, LimitBy, RateLimitSpec};
