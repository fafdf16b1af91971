//! `#[problem(extension)]`: fields that become members of the problem document.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Field, Fields, Ident};

use crate::bounds::RESERVED_MEMBERS;
use crate::derive::attribute_items;
use crate::errors::Sink;
use crate::parse::Item;

/// A field that becomes a member of the problem document.
pub(crate) struct Extension<'a> {
    /// The field's name.
    pub(crate) name: &'a Ident,
    /// The field, for messages.
    pub(crate) field: TokenStream,
}

/// Returns the fields with `#[problem(extension)]`.
pub(crate) fn extensions<'a>(fields: &'a Fields, sink: &Sink<'_>) -> Vec<Extension<'a>> {
    fields
        .iter()
        .filter_map(|field| extension(field, sink))
        .collect()
}

fn extension<'a>(field: &'a Field, sink: &Sink<'_>) -> Option<Extension<'a>> {
    let items = attribute_items(&field.attrs, "problem", "#[problem(extension)]", sink)?;
    for item in &items {
        match item {
            Item::Option(option) if option.name() == "extension" => {
                option.flag(sink);
            }
            Item::Option(option) => {
                sink.report(
                    &option.key,
                    "a field takes only `#[problem(extension)]`: remove this",
                );
            }
            Item::Value(value) => {
                sink.report(
                    &value.tokens,
                    "a field takes only `#[problem(extension)]`: remove this",
                );
            }
        }
    }
    let Some(name) = &field.ident else {
        sink.report(
            &field.ty,
            "an extension needs a field name: write a named field instead of a tuple field",
        );
        return None;
    };
    if RESERVED_MEMBERS.iter().any(|reserved| name == reserved) {
        sink.report(
            name,
            format!("`{name}` is a member of every problem document: rename the field"),
        );
    }
    Some(Extension {
        name,
        field: name.to_token_stream(),
    })
}
