//! From the validated model to code.
//!
//! Paths are absolute or go through `__aplomb`, the runtime's name in the scope of the generated code
//! (`scope.rs`). Names of the generated code's own carry the macro's span and do not occur in the
//! user's tokens (`names.rs`). The user's tokens keep their spans, and a generated token takes the
//! place of a user's only where an error must appear.
//!
//! rustc applies lints only to the user's tokens. So generated code needs no `#[allow]`, which would be
//! an error in a crate that forbids the lint.

mod checks;
mod fallback;
mod link;
mod mount;
mod probes;
mod scope;
mod spec;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

pub(crate) use fallback::fallback;
pub(crate) use scope::{allowed, generated_visibility, import, scope};

use crate::policies::Endpoint;

/// The generated items of an endpoint without mistakes.
pub(crate) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let items = [
        quote!(
            use __aplomb::__private::ProbeFallback as _;
        ),
        spec::expand(endpoint),
        link::expand(endpoint),
        mount::expand(endpoint),
    ];
    let mut output = type_item(endpoint);
    output.extend(in_scope(endpoint, &items.into_iter().collect()));
    output
}

/// Puts the items of an endpoint into a scope, under the conditions of the function.
fn in_scope(endpoint: &Endpoint<'_>, items: &TokenStream) -> TokenStream {
    let mut attributes = endpoint.function.cfgs();
    attributes.extend(allowed(&endpoint.function.attributes));
    scope(&attributes, &endpoint.spec.crate_path, items)
}

/// The type of the function's name. It has braces, so that it takes no name among the values. It is
/// never constructed; that the function is never used is for rustc to say, where it is not listed.
///
/// Its name is the user's token, so that editors rename both together. Of rustc's lints only the one
/// on the case of names looks at that token, and it leaves out a `repr(C)`. Of Clippy's lints, which
/// look at generated items, `exhaustive_structs` leaves out a `non_exhaustive`.
fn type_item(endpoint: &Endpoint<'_>) -> TokenStream {
    let (cfgs, visibility, name) = (
        endpoint.function.cfgs(),
        generated_visibility(&endpoint.function.visibility),
        endpoint.name(),
    );
    quote! {
        #cfgs
        #[doc(hidden)]
        #[non_exhaustive]
        #[repr(C)]
        #visibility struct #name {}
    }
}

/// A call of one of the runtime's functions whose error underlines all of `place`.
///
/// The call's span reaches from its first token to its closing parenthesis, so the first takes the
/// place of the user's first token and the last that of the user's last.
pub(crate) fn call_at(
    place: &impl ToTokens,
    function: &str,
    arguments: &TokenStream,
) -> TokenStream {
    let (first, last) = ends(place);
    let function = Ident::new(function, first);
    let mut parentheses = Group::new(Delimiter::Parenthesis, arguments.clone());
    parentheses.set_span(last);
    quote_spanned!(first=> __aplomb::__private::#function #parentheses;)
}

/// Where tokens begin and end, for generated tokens that stand in for them.
pub(crate) fn ends(place: &impl ToTokens) -> (Span, Span) {
    let spans: Vec<Span> = place
        .to_token_stream()
        .into_iter()
        .map(|tree| tree.span())
        .collect();
    let site = Span::mixed_site();
    let at = |span: Option<&Span>| span.map_or(site, |span| span.resolved_at(site));
    (at(spans.first()), at(spans.last()))
}
