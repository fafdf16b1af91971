//! The store of idempotency records in this process's memory, which is bounded and ends with the
//! process.

mod records;
mod table;

pub use records::MemoryRecords;
