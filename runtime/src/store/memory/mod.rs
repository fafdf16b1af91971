//! The store of idempotency records in this process's memory. Its size is limited, and its records
//! are lost when the process ends.

mod records;
mod shares;
mod table;

pub use records::MemoryRecords;
