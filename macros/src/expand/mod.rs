//! From the validated model to code.
//!
//! Paths are absolute and go through `::aplomb`; names of the generated code's own carry the
//! macro's span, the user's tokens keep theirs, and a generated token takes the place of a user's
//! only where an error must appear.

mod checks;
mod fallback;
mod link;
mod mount;
mod probes;
mod spec;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

pub(crate) use fallback::fallback;

use crate::policies::Endpoint;

/// The generated items of an endpoint without mistakes.
pub(crate) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let mut items = type_item(endpoint);
    items.extend(spec::expand(endpoint));
    items.extend(link::expand(endpoint));
    items.extend(mount::expand(endpoint));
    items
}

/// The type of the function's name. It has braces, so that it takes no name among the values. It is
/// never constructed; that the function is never used is for rustc to say, where it is not listed.
fn type_item(endpoint: &Endpoint<'_>) -> TokenStream {
    let (cfgs, visibility, name) = (
        endpoint.function.cfgs(),
        &endpoint.function.visibility,
        endpoint.name(),
    );
    quote! {
        #cfgs
        #[doc(hidden)]
        #[allow(dead_code, non_camel_case_types, missing_debug_implementations, missing_copy_implementations, unreachable_pub)]
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
    quote_spanned!(first=> ::aplomb::__private::#function #parentheses;)
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
