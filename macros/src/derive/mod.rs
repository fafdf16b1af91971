//! The derive macros.

pub(crate) mod api_error;
pub(crate) mod cursor_key;
pub(crate) mod resource;

use proc_macro2::TokenStream;
use syn::{Attribute, Meta};

use crate::errors::{Diagnostics, Sink};
use crate::parse::{Item, items};

/// The expansion of a derive: the generated code, then the errors.
fn expanded(
    item: TokenStream,
    generate: fn(TokenStream, &Sink<'_>) -> Option<TokenStream>,
) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let mut output = generate(item, &diagnostics.sink()).unwrap_or_default();
    output.extend(diagnostics.into_tokens());
    output
}

/// The items of all `#[name(…)]` among the attributes, or `None` if there is no such attribute.
/// `#[name]` and `#[name = …]` are reported.
pub(crate) fn attribute_items(
    attributes: &[Attribute],
    name: &str,
    example: &str,
    sink: &Sink<'_>,
) -> Option<Vec<Item>> {
    let mut found: Option<Vec<Item>> = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
    {
        match &attribute.meta {
            Meta::List(list) => found
                .get_or_insert_default()
                .extend(items(list.tokens.clone(), sink)),
            Meta::Path(_) | Meta::NameValue(_) => {
                sink.report(
                    attribute,
                    format!("`#[{name}]` takes a list of options: write `{example}`"),
                );
                found.get_or_insert_default();
            }
        }
    }
    found
}
