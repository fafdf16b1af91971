//! Names for generated items.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::format_ident;

/// Makes names that do not occur in the user's tokens.
///
/// The hygiene of Rust's macros protects local variables, but neither types nor constants. Each name
/// therefore begins with more underscores than any name in the user's tokens.
pub(crate) struct Names {
    underscores: usize,
}

impl Names {
    /// Names that do not occur in these tokens.
    pub(crate) fn avoiding(tokens: &TokenStream) -> Self {
        let underscores = most_underscores(tokens) + 1;
        Self {
            underscores: underscores.max(2),
        }
    }

    /// The name of this kind, with the span of the macro.
    pub(crate) fn name(&self, kind: &str) -> Ident {
        self.name_at(kind, Span::mixed_site())
    }

    /// The name of this kind, with this span.
    pub(crate) fn name_at(&self, kind: &str, span: Span) -> Ident {
        let underscores = "_".repeat(self.underscores);
        format_ident!("{underscores}{kind}", span = span)
    }

    /// The names of this kind with these numbers.
    pub(crate) fn numbered(&self, kind: &str, count: usize) -> Vec<Ident> {
        (0..count)
            .map(|number| self.name(&format!("{kind}{number}")))
            .collect()
    }
}

/// The largest number of underscores at the start of a name in the tokens.
fn most_underscores(tokens: &TokenStream) -> usize {
    let of = |tree: TokenTree| match tree {
        TokenTree::Group(group) => most_underscores(&group.stream()),
        TokenTree::Ident(name) => {
            let name = name.to_string();
            name.len() - name.trim_start_matches('_').len()
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => 0,
    };
    tokens.clone().into_iter().map(of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_name_begins_with_more_underscores_than_any_of_the_users() {
        for (tokens, name) in [
            (quote!(), "__S"),
            (quote!(a: Path<u64>, _: _b), "__S"),
            (quote!(a: __S), "___S"),
            (quote!(a: Vec<[u8; { ____N }]>), "_____S"),
        ] {
            assert_eq!(Names::avoiding(&tokens).name("S"), name, "{tokens}");
        }
    }
}
