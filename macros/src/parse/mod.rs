//! From tokens to things that are valid: arguments, the function, paths, units.

mod argument;
mod function;
mod path;
pub(crate) mod units;

pub(crate) use argument::{Argument, Form, Item, Kind, Options, Value, arguments, items};
pub(crate) use function::Function;
pub(crate) use path::PathTemplate;
