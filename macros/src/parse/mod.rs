//! Parsers for the parts of a macro call: arguments, the function, path templates and units.

mod argument;
mod date;
mod field;
mod function;
mod options;
mod path;
mod syntax;
pub(crate) mod units;

pub(crate) use argument::{Argument, Form, Item, Kind, Value};
pub(crate) use date::Date;
pub(crate) use field::field_name;
pub(crate) use function::Function;
pub(crate) use options::Options;
pub(crate) use path::PathTemplate;
pub(crate) use syntax::{arguments, items, split};
