use core::fmt;
use core::ptr;

use http::request::Parts;

/// The number of tokens that a request takes.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Cost {
    /// The same number for every request.
    Fixed(u64),
    /// The result of this function, which gets the request's head. A result above the burst is
    /// lowered to the burst.
    Of(fn(&Parts) -> u64),
}

impl Cost {
    /// Returns the cost if it does not depend on the request.
    pub const fn fixed(self) -> Option<u64> {
        match self {
            Self::Fixed(tokens) => Some(tokens),
            Self::Of(_) => None,
        }
    }

    pub(super) fn describe(self) -> String {
        self.fixed()
            .map_or_else(|| String::from("function"), |tokens| tokens.to_string())
    }

    /// Returns the tokens that a request takes from a bucket with this burst.
    ///
    /// The result of a function is lowered to the burst: the bucket never holds more, so a request
    /// with a higher cost would wait forever.
    pub(crate) fn tokens(self, head: &Parts, burst: u64) -> u64 {
        match self {
            Self::Fixed(tokens) => tokens,
            Self::Of(cost) => cost(head).min(burst),
        }
    }
}

/// Two functions are equal if they have the same address.
impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one == other,
            (Self::Of(one), Self::Of(other)) => ptr::fn_addr_eq(*one, *other),
            _ => false,
        }
    }
}

impl Eq for Cost {}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(tokens) => f.debug_tuple("Fixed").field(tokens).finish(),
            Self::Of(_) => f.write_str("Of(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Parts {
        http::Request::new(()).into_parts().0
    }

    #[test]
    fn b08_a_cost_above_the_burst_is_lowered_to_the_burst() {
        assert_eq!(Cost::Of(|_| 3).tokens(&head(), 10), 3);
        assert_eq!(Cost::Of(|_| 0).tokens(&head(), 10), 0);
        assert_eq!(Cost::Of(|_| u64::MAX).tokens(&head(), 10), 10);
    }

    #[test]
    fn equal_costs_have_the_same_number_or_function() {
        fn one(_: &Parts) -> u64 {
            1
        }
        assert_eq!(Cost::Of(one), Cost::Of(one));
        assert_ne!(Cost::Of(one), Cost::Fixed(1));
        assert_ne!(Cost::Fixed(2), Cost::Fixed(1));
    }
}
