//! `#[problem(extension)]`: the fields that a document shows.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Field, Fields, Ident};

use crate::bounds::RESERVED_MEMBERS;
use crate::derive::attribute_items;
use crate::errors::Sink;
use crate::parse::Item;

/// A field that the document shows.
pub(crate) struct Extension<'a> {
    /// The field's name.
    pub(crate) name: &'a Ident,
    /// The field, for messages.
    pub(crate) field: TokenStream,
}

/// The fields that say `#[problem(extension)]`.
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
                    "a field may say `#[problem(extension)]` and nothing else",
                );
            }
            Item::Value(value) => {
                sink.report(
                    &value.tokens,
                    "a field may say `#[problem(extension)]` and nothing else",
                );
            }
        }
    }
    let Some(name) = &field.ident else {
        sink.report(
            &field.ty,
            "an extension takes the field's name, and this one has none: give it one",
        );
        return None;
    };
    if RESERVED_MEMBERS.iter().any(|reserved| name == reserved) {
        sink.report(
            name,
            format!("`{name}` is a member of every problem document: give the field another name"),
        );
    }
    Some(Extension {
        name,
        field: name.to_token_stream(),
    })
}
