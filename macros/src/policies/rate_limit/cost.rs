//! `cost = 3`, `cost = weigh`: the tokens that a request takes.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use crate::errors::Sink;
use crate::parse::{Argument, Kind, Value};

/// The cost of a request in tokens.
pub(super) enum Cost {
    /// A number.
    Tokens(u64),
    /// The result of a function. The tokens are the path of the function.
    Function(TokenStream),
}

impl Cost {
    /// Parses `cost = 3` or `cost = weigh`.
    pub(super) fn parse<'a>(option: &'a Argument, sink: &Sink<'_>) -> Option<(Self, &'a Value)> {
        // The caller adds a backtick before and after this text, so the text has only the inner
        // backticks.
        const EXAMPLE: &str = "cost = 1`, or `cost = weigh";
        let value = option.value("cost = 1", sink)?;
        match value.kind {
            Kind::Integer(Some(tokens)) if tokens > 0 => {
                return Some((Self::Tokens(tokens), value));
            }
            _ => {}
        }
        if syn::parse2::<syn::ExprPath>(value.tokens.clone()).is_ok() {
            return Some((Self::Function(value.tokens.clone()), value));
        }
        option.report_wrong_value(
            value,
            "an integer of at least 1, or the name of a function",
            EXAMPLE,
            sink,
        )
    }

    /// Returns the smallest cost above zero that a request can have. For a function, this is 1.
    pub(super) const fn minimum(&self) -> u64 {
        match self {
            Self::Tokens(tokens) => *tokens,
            Self::Function(_) => 1,
        }
    }

    /// Generates the builder call on the runtime's `RateLimitSpec`. A function is called through
    /// the runtime's `weigh`. If the signature is wrong, the bound of `weigh` causes the error
    /// message.
    pub(super) fn expand(&self) -> TokenStream {
        match self {
            Self::Tokens(tokens) => quote!(.with_cost(#tokens)),
            Self::Function(path) => {
                // This name cannot collide with a function or a constant of the user.
                let head = Ident::new("__head", Span::mixed_site());
                quote!(.with_cost_of(|#head| __aplomb::__private::weigh(#path, #head)))
            }
        }
    }
}
