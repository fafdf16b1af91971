//! Generates code from the validated model.
//!
//! - Paths are absolute, or begin with `__aplomb`, the name of the runtime in the scope of the
//!   generated code (`scope.rs`).
//! - Generated names have the span of the macro, and do not occur in the user's tokens
//!   (`names.rs`).
//! - The user's tokens keep their spans. A generated token has the span of a user's token only if
//!   an error must appear there.
//! - rustc applies lints only to the user's tokens. Generated code therefore needs no `#[allow]`,
//!   which would be an error in a crate that forbids the lint.

mod checks;
mod fallback;
mod link;
mod mount;
mod probes;
mod scope;
mod spec;
mod transaction;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

pub(crate) use fallback::fallback;
pub(crate) use scope::{allowed, generated_visibility, import, scope};

use crate::policies::Endpoint;

/// Generates the items of a valid endpoint.
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

/// Puts the items of an endpoint into a scope, with the `#[cfg]` attributes of the function.
fn in_scope(endpoint: &Endpoint<'_>, items: &TokenStream) -> TokenStream {
    let mut attributes = endpoint.function.cfgs();
    attributes.extend(allowed(&endpoint.function.attributes));
    scope(&attributes, &endpoint.spec.crate_path, items)
}

/// Generates the type with the name of the function. The type is never constructed. It has braces,
/// because a unit struct would also be a value, like the function.
///
/// Its name is the user's token, so that editors rename the type and the function together. rustc
/// would report this token with only one lint, the lint on the case of names. That lint ignores
/// types with `repr(C)`. Clippy's `exhaustive_structs` ignores types with `non_exhaustive`.
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

/// Generates a call of a function of the runtime. An error in the call underlines all of `place`.
///
/// The span of a call extends from its first token to its closing parenthesis. These two tokens get
/// the spans of the first and the last token of `place`.
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

/// Returns the spans of the first and the last token, for generated tokens.
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
