//! `cost = 3`, `cost = weigh`: how many tokens a request takes.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use crate::errors::Sink;
use crate::parse::{Argument, Kind, Value};

/// What a request costs.
pub(super) enum Cost {
    Tokens(u64),
    /// What a function says, named by its path.
    Function(TokenStream),
}

impl Cost {
    /// Reads `cost = 3` or `cost = weigh`.
    pub(super) fn parse<'a>(option: &'a Argument, sink: &Sink<'_>) -> Option<(Self, &'a Value)> {
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
        option.wrong(
            value,
            "an integer of at least 1, or the name of a function of the request",
            EXAMPLE,
            sink,
        )
    }

    /// What a request takes at least of what it takes at all.
    pub(super) const fn least(&self) -> u64 {
        match self {
            Self::Tokens(tokens) => *tokens,
            Self::Function(_) => 1,
        }
    }

    /// The function is called by one of the runtime's, whose bound says what is wrong with it.
    pub(super) fn expand(&self) -> TokenStream {
        match self {
            Self::Tokens(tokens) => quote!(.with_cost(#tokens)),
            Self::Function(path) => {
                // A name of its own, which hides no function of the user's and meets no constant.
                let head = Ident::new("__head", Span::mixed_site());
                quote!(.with_cost_of(|#head| __aplomb::__private::weigh(#path, #head)))
            }
        }
    }
}
