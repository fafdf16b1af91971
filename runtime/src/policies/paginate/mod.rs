mod spec;
pub use spec::{PageLimits, PaginationPolicy};
/// x
#[derive(Debug)]
pub struct Page<T>(T);
/// x
#[derive(Debug)]
pub struct PageRequest<K>(K);
