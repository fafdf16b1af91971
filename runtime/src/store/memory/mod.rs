//! Everything in this process's memory, within bounds. Gone with the process.

mod limits;
mod logs;
mod records;
mod table;

pub use limits::MemoryLimits;
pub use records::MemoryRecords;
