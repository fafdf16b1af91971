mod spec;
pub use spec::{IdempotencyPolicy, IdempotencySpec, OnCrash};
