//! The type check of the function in `cost = …`.

use http::request::Parts;

use super::adapt::UnreachableCaller;

/// A function that returns the number of tokens that a request takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a request costs",
    label = "this is no function from a request's head to a number of tokens",
    note = "a cost is a number, or a function such as `fn weigh(head: &http::request::Parts) -> u64`"
)]
pub trait CostFunction<M> {
    /// Returns the number of tokens.
    fn weigh(self, head: &Parts) -> u64;
}

/// The marker of a function from a request's head.
#[derive(Debug)]
pub enum OfHead {}

/// The marker of no type. It gives the trait a second implementation, so that the compiler reports
/// the trait's own message.
#[derive(Debug)]
pub enum OfNothing {}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(&Parts) -> u64> CostFunction<OfHead> for F {
    fn weigh(self, head: &Parts) -> u64 {
        self(head)
    }
}

#[diagnostic::do_not_recommend]
impl<F: UnreachableCaller> CostFunction<OfNothing> for F {
    fn weigh(self, _: &Parts) -> u64 {
        unreachable!("`Nobody` has no implementation")
    }
}

/// Returns the number of tokens that a request takes by this function.
pub fn weigh<F: CostFunction<M>, M>(cost: F, head: &Parts) -> u64 {
    cost.weigh(head)
}
