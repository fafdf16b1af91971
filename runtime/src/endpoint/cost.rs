//! The function that `cost = …` names, which the compiler compares with what a cost is.

use http::request::Parts;

/// What says how many tokens a request takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a request costs",
    label = "this is no function from a request's head to a number of tokens",
    note = "a cost is a number, or a function such as `fn weigh(head: &http::request::Parts) -> u64`"
)]
pub trait CostFunction<M> {
    /// The tokens.
    fn weigh(self, head: &Parts) -> u64;
}

/// Marks a function.
#[derive(Debug)]
pub enum OfHead {}

/// Marks nothing.
#[derive(Debug)]
pub enum OfNothing {}

#[diagnostic::do_not_recommend]
impl<F: FnOnce(&Parts) -> u64> CostFunction<OfHead> for F {
    fn weigh(self, head: &Parts) -> u64 {
        self(head)
    }
}

/// Never implemented. With a second candidate the compiler reports [`CostFunction`] itself, in its
/// own words, instead of the bound of its only implementation.
trait UnreachableCaller {}

#[diagnostic::do_not_recommend]
impl<F: UnreachableCaller> CostFunction<OfNothing> for F {
    fn weigh(self, _: &Parts) -> u64 {
        unreachable!("`UnreachableCaller` has no implementation")
    }
}

/// What the request costs by this function.
pub fn weigh<F: CostFunction<M>, M>(cost: F, head: &Parts) -> u64 {
    cost.weigh(head)
}
