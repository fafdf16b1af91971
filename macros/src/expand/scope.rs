//! The scope of the generated code, where the `aplomb` crate has the name `__aplomb`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Visibility};

use crate::parse::split;
use crate::policies::crate_path::CratePath;

/// Puts items into a scope of their own, so that a name in it meets no name of the user's module.
///
/// A path of the user's still leads where it leads outside of the scope, because the only name
/// that the scope adds is `__aplomb`.
pub(crate) fn scope(
    attributes: &TokenStream,
    path: &CratePath,
    items: &TokenStream,
) -> TokenStream {
    let import = import(path);
    quote! {
        #attributes
        const _: () = {
            #import
            #items
        };
    }
}

/// The name of the `aplomb` crate in the scope.
///
/// A path of the user's is imported through a module that only this crate has. So a wrong path is
/// one error, at the path: rustc does not report the uses of an import that failed.
pub(crate) fn import(path: &CratePath) -> TokenStream {
    let Some(path) = path.path() else {
        return quote!(
            use ::aplomb as __aplomb;
        );
    };
    let end = path.segments.last().map(|segment| segment.ident.span());
    let end = end
        .unwrap_or_else(Span::call_site)
        .resolved_at(Span::call_site());
    let alias = quote_spanned!(end=> ::__private::aplomb as __aplomb);
    quote!(use #path #alias;)
}

/// The lints that the user allows for an item, for the code that is generated from it.
///
/// An `expect` becomes an `allow`, because the generated code need not break the lint. The generated
/// code may use an item that is `#[deprecated]` itself: rustc reports that lint in macros as well. It
/// allows no other lint: an `#[allow]` of a lint that the crate forbids is an error.
pub(crate) fn allowed<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> TokenStream {
    let allow = |attribute: &Attribute| {
        let name = attribute.path().get_ident()?;
        if name == "deprecated" {
            return Some(quote!(#[allow(deprecated)]));
        }
        let lints = split(attribute.meta.require_list().ok()?.tokens.clone());
        let lints: Vec<_> = lints.into_iter().filter(is_inherited).collect();
        let is_level = name == "allow" || name == "expect";
        (is_level && !lints.is_empty()).then(|| quote!(#[allow(#(#lints),*)]))
    };
    attributes.into_iter().filter_map(allow).collect()
}

/// Checks that generated code may allow a lint that the user allows.
///
/// It may not allow `dead_code`, by its name or in a group: rustc takes code that allows this lint for
/// used, and the user's function, which the code calls, as well.
fn is_inherited(lint: &TokenStream) -> bool {
    let lint = lint.to_string();
    !["dead_code", "unused", "warnings"].contains(&&*lint) && !lint.starts_with("reason")
}

/// A visibility of the user's as tokens of the macro's.
///
/// It is the first token of an item, from which rustc takes the item's place. So lints do not apply to
/// the item. The path of `pub(in path)` stays the user's.
pub(crate) fn generated_visibility(visibility: &Visibility) -> TokenStream {
    let outer = visibility.to_token_stream().into_iter();
    let respanned = outer.map(|mut tree| {
        tree.set_span(Span::call_site());
        tree
    });
    respanned.collect()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn only_lints_that_the_user_allows_are_allowed() {
        let attributes: Vec<Attribute> = vec![
            parse_quote!(#[allow(deprecated, clippy::pedantic)]),
            parse_quote!(#[expect(dead_code, private_bounds, reason = "a test")]),
            parse_quote!(#[expect(dead_code)]),
            parse_quote!(#[warn(unused)]),
            parse_quote!(#[doc = "allow"]),
            parse_quote!(#[inline]),
            parse_quote!(#[deprecated = "use `new`"]),
        ];
        assert_eq!(
            allowed(&attributes).to_string(),
            quote!(#[allow(deprecated, clippy::pedantic)] #[allow(private_bounds)] #[allow(deprecated)])
                .to_string()
        );
    }
}
