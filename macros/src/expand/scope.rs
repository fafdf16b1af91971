//! The scope of the generated code, where the `aplomb` crate has the name `__aplomb`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Visibility};

use crate::parse::split;
use crate::policies::crate_path::CratePath;

/// Puts items into a separate scope, so that their names do not collide with names of the user's
/// module.
///
/// The scope adds only the name `__aplomb`. Paths in the user's tokens therefore still lead to the
/// same items.
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

/// Generates the import of the `aplomb` crate into the scope.
///
/// If the user gives a path, the import is `<path>::__private::aplomb`. Only `aplomb` has this
/// module, so a wrong path causes one error, at the path. rustc does not report uses of a failed
/// import.
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

/// Returns the `#[allow]` attributes of an item, for the code that is generated from the item.
///
/// An `expect` becomes an `allow`, because the generated code does not always trigger the lint. A
/// `#[deprecated]` item adds `#[allow(deprecated)]`, because the generated code uses the item, and
/// rustc reports this lint in macros as well. No other lint gets an `#[allow]`, because an
/// `#[allow]` of a lint that the crate forbids is an error.
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

/// Returns true if generated code can allow this lint, like the user's code.
///
/// Generated code never allows `dead_code`, neither by name nor in a group. rustc treats code that
/// allows this lint as used. The generated code calls the user's function, so rustc would never
/// report an unused function.
fn is_inherited(lint: &TokenStream) -> bool {
    let lint = lint.to_string();
    !["dead_code", "unused", "warnings"].contains(&&*lint) && !lint.starts_with("reason")
}

/// Returns the visibility of the user's item, with the span of the macro.
///
/// The visibility is the first token of a generated item, and rustc uses its span as the location
/// of the item. With the macro's span, lints do not apply to the item. The path in `pub(in path)`
/// keeps its span.
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
    fn generated_code_allows_the_lints_of_the_item_except_dead_code() {
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
