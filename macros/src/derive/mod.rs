//! The derive macros.

pub(crate) mod api_error;
pub(crate) mod cursor_key;
pub(crate) mod resource;

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Meta};

use crate::errors::{Diagnostics, Sink};
use crate::expand::{allowed, scope};
use crate::parse::{Item, arguments, items, split};
use crate::policies::crate_path::CratePath;

/// Expands a derive into the generated code and the errors.
fn expanded(
    item: TokenStream,
    generate: fn(TokenStream, &Sink<'_>) -> Option<TokenStream>,
) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let mut output = generate(item, &diagnostics.sink()).unwrap_or_default();
    output.extend(diagnostics.into_tokens());
    output
}

/// Puts the generated items into a scope, with the `#[allow]` attributes of the item, its variants
/// and its fields.
fn in_scope(input: &DeriveInput, path: &CratePath, items: &TokenStream) -> TokenStream {
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
    scope(&allowed(&attributes), path, items)
}

/// Removes `crate = path` from the `#[name(…)]` attributes of an item and returns the path.
fn take_crate_path(attributes: &mut Vec<Attribute>, name: &str, sink: &Sink<'_>) -> CratePath {
    let mut declared = Vec::new();
    attributes.retain_mut(|attribute| {
        let Meta::List(list) = &mut attribute.meta else {
            return true;
        };
        if !list.path.is_ident(name) {
            return true;
        }
        let parts = split(list.tokens.clone()).into_iter();
        let (paths, rest): (Vec<_>, Vec<_>) = parts.partition(is_crate_path);
        if paths.is_empty() {
            return true;
        }
        list.tokens = quote!(#(#rest),*);
        declared.extend(paths.into_iter().flat_map(|path| arguments(path, sink)));
        !rest.is_empty()
    });
    let mut declared = declared.iter();
    let path = declared.next().map(|path| CratePath::read(path, sink));
    for second in declared {
        sink.report(&second.key, "`crate` is declared twice: remove one");
    }
    path.unwrap_or_default()
}

fn is_crate_path(part: &TokenStream) -> bool {
    matches!(part.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "crate")
}

/// Reports `crate = path` on a field or variant. [`take_crate_path`] has already removed the `crate
/// = path` of the item itself.
fn is_misplaced_crate_path(item: &Item, name: &str, sink: &Sink<'_>) -> bool {
    match item {
        Item::Option(option) if option.name() == "crate" => {
            let message = format!(
                "`crate` is for the whole item: write `#[{name}(crate = framework::aplomb)]` above the `struct` or `enum`"
            );
            sink.report(&option.key, message);
            true
        }
        _ => false,
    }
}

/// Returns the items of all `#[name(…)]` among the attributes, or `None` if there is no such
/// attribute. Reports `#[name]` and `#[name = …]`.
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
            Meta::List(list) => {
                let items = items(list.tokens.clone(), sink);
                let own = items
                    .into_iter()
                    .filter(|item| !is_misplaced_crate_path(item, name, sink));
                found.get_or_insert_default().extend(own);
            }
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
