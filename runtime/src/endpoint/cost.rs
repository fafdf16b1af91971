//! The function in `cost = …`, whose signature the compiler checks.

use http::request::Parts;

/// A function that computes the cost of a request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the cost of a request",
    label = "not a function `fn(&http::request::Parts) -> u64`",
    note = "write a number, or a function such as `fn weigh(head: &http::request::Parts) -> u64`"
)]
pub trait CostFunction<M> {
    /// Returns the cost in tokens.
    fn weigh(self, head: &Parts) -> u64;
}

/// The marker of the implementation for functions.
#[derive(Debug)]
pub enum OfHead {}

/// The marker of a second implementation, which applies to no type. Because there are two
/// implementations, the compiler reports the message of [`CostFunction`].
#[derive(Debug)]
pub enum OfNothing {}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(&Parts) -> u64> CostFunction<OfHead> for F {
    fn weigh(self, head: &Parts) -> u64 {
        self(head)
    }
}

/// A trait without implementations. With only one implementation of [`CostFunction`], the compiler
/// would report the bound of that implementation instead of the message of the trait.
trait UnreachableCaller {}

#[diagnostic::do_not_recommend]
impl<F: UnreachableCaller> CostFunction<OfNothing> for F {
    fn weigh(self, _: &Parts) -> u64 {
        unreachable!("`UnreachableCaller` has no implementation")
    }
}

/// Returns the cost of a request, computed by this function.
pub fn weigh<F: CostFunction<M>, M>(cost: F, head: &Parts) -> u64 {
    cost.weigh(head)
}
