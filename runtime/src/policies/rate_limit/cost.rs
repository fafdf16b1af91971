use core::fmt;
use core::ptr;

use http::request::Parts;

/// How many tokens a request takes.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Cost {
    /// As many as any other.
    Fixed(u64),
    /// As many as this function says of the request's head, and at most the burst.
    Of(fn(&Parts) -> u64),
}

impl Cost {
    /// What is known of it before there is a request; nothing of a function.
    pub const fn known(self) -> Option<u64> {
        match self {
            Self::Fixed(tokens) => Some(tokens),
            Self::Of(_) => None,
        }
    }

    pub(super) fn describe(self) -> String {
        self.known()
            .map_or_else(|| String::from("function"), |tokens| tokens.to_string())
    }

    /// What a request takes from a bucket that holds so many: all that it holds at most. More could never
    /// be had, and whoever asks for it would be told to wait for nothing.
    pub(crate) fn of(self, head: &Parts, burst: u64) -> u64 {
        match self {
            Self::Fixed(tokens) => tokens,
            Self::Of(cost) => cost(head).min(burst),
        }
    }
}

/// Functions are the same if they have the same address.
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
    fn b08_more_than_the_burst_is_the_whole_bucket() {
        assert_eq!(Cost::Of(|_| 3).of(&head(), 10), 3);
        assert_eq!(Cost::Of(|_| 0).of(&head(), 10), 0);
        assert_eq!(Cost::Of(|_| u64::MAX).of(&head(), 10), 10);
    }

    #[test]
    fn costs_are_compared() {
        fn one(_: &Parts) -> u64 {
            1
        }
        assert_eq!(Cost::Of(one), Cost::Of(one));
        assert_ne!(Cost::Of(one), Cost::Fixed(1));
        assert_ne!(Cost::Fixed(2), Cost::Fixed(1));
    }
}
