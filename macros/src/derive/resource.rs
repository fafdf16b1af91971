//! `#[derive(Resource)]`: the prefix of the identifiers of a type.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use super::{attribute_items, expanded, in_scope, take_crate_path};
use crate::errors::Sink;
use crate::parse::Options;

const EXAMPLE: &str = "#[resource(prefix = \"pay\")]";
/// The maximum length of a prefix in characters.
const MAX_LENGTH: usize = 31;

/// Expands the derive.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    expanded(item, generate)
}

fn generate(item: TokenStream, sink: &Sink<'_>) -> Option<TokenStream> {
    let mut input: DeriveInput = sink.take(syn::parse2(item))?;
    let path = take_crate_path(&mut input.attrs, "resource", sink);
    // After an error the prefix is empty, so that the compiler reports no further errors in code
    // that uses the type.
    let prefix = prefix(&input, sink).unwrap_or_default();
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let items = quote! {
        #[automatically_derived]
        impl #generics __aplomb::Resource for #name #arguments #bounds {
            const PREFIX: &'static ::core::primitive::str = #prefix;
        }
    };
    Some(in_scope(&input, &path, &items))
}

fn prefix(input: &DeriveInput, sink: &Sink<'_>) -> Option<String> {
    let own = sink.child();
    let items = attribute_items(&input.attrs, "resource", EXAMPLE, &own);
    let options = Options {
        of: "resource",
        keys: &["prefix"],
    };
    let read = options.read(items.as_deref().unwrap_or_default(), &own);
    let Some((_, option)) = read.first() else {
        if !own.failed() {
            sink.report(
                &input.ident,
                format!(
                    "`{}` needs a prefix for its identifiers: write `{EXAMPLE}`",
                    input.ident
                ),
            );
        }
        return None;
    };
    let (text, value) = option.text("prefix = \"pay\"", sink)?;
    if is_prefix(&text) {
        return Some(text);
    }
    sink.report(
        &value.tokens,
        format!(
            "\"{text}\" is not a prefix: write at most {MAX_LENGTH} lower-case ASCII letters, digits and _, \
             starting with a letter, such as \"pay\""
        ),
    );
    None
}

fn is_prefix(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_allowed)
        && text.len() <= MAX_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Diagnostics;

    #[test]
    fn h01_prefixes_are_lower_case_and_short() {
        for prefix in ["a", "pay", "line_item2", &"a".repeat(31)] {
            assert!(is_prefix(prefix), "{prefix}");
        }
        for prefix in [
            "",
            "Pay",
            "2pay",
            "_pay",
            "pay-in",
            "pay in",
            "päy",
            &"a".repeat(32),
        ] {
            assert!(!is_prefix(prefix), "{prefix}");
        }
    }

    #[test]
    fn an_invalid_attribute_is_one_error() {
        for item in [
            quote!(
                struct A;
            ),
            quote!(
                #[resource]
                struct A;
            ),
            quote!(
                #[resource = "pay"]
                struct A;
            ),
            quote!(
                #[resource()]
                struct A;
            ),
            quote!(
                #[resource(prefix)]
                struct A;
            ),
            quote!(
                #[resource(prefx = "pay")]
                struct A;
            ),
            quote!(
                #[resource(prefix = "Pay")]
                struct A;
            ),
            quote!(
                #[resource(prefix = 1)]
                struct A;
            ),
        ] {
            let diagnostics = Diagnostics::new();
            let output = generate(item.clone(), &diagnostics.sink());
            assert!(output.is_some());
            assert_eq!(diagnostics.into_messages().len(), 1, "{item}");
        }
    }
}
