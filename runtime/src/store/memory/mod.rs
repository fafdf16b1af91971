//! Everything in this process's memory, within bounds. Gone with the process.

mod records;
mod table;

pub use records::MemoryRecords;
