//! The derive macros.

pub(crate) mod api_error;
pub(crate) mod cursor_key;
pub(crate) mod resource;

use proc_macro2::TokenStream;
use syn::{Attribute, Data, DeriveInput, Meta};

use crate::errors::{Diagnostics, Sink};
use crate::expand::{allowed, scope};
use crate::parse::{Item, items};

/// What a derive gives for an item, with its mistakes behind.
fn expanded(
    item: TokenStream,
    generate: fn(TokenStream, &Sink<'_>) -> Option<TokenStream>,
) -> TokenStream {
    let mistakes = Diagnostics::new();
    let mut output = generate(item, &mistakes.sink()).unwrap_or_default();
    output.extend(mistakes.into_tokens());
    output
}

/// Puts what is generated for an item into a scope, with the lints that the item allows anywhere.
fn in_scope(input: &DeriveInput, items: &TokenStream) -> TokenStream {
    let mut attributes = input.attrs.clone();
    let fields = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => {
            attributes.extend(
                data.variants
                    .iter()
                    .flat_map(|variant| variant.attrs.clone()),
            );
            data.variants
                .iter()
                .flat_map(|variant| &variant.fields)
                .collect()
        }
        Data::Union(_) => Vec::new(),
    };
    attributes.extend(fields.into_iter().flat_map(|field| field.attrs.clone()));
    scope(&allowed(&attributes), items)
}

/// The items of all `#[name(…)]` among the attributes; other ways to write it are reported.
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
                sink.report(attribute, format!("write `{example}`"));
                found.get_or_insert_default();
            }
        }
    }
    found
}
