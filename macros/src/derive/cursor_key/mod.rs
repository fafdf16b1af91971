//! `#[derive(CursorKey)]`: the sort columns of a list.

mod column;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident};

use super::{expanded, in_scope, take_crate_path};
use crate::errors::Sink;
use crate::names;
use column::Column;

/// Expands the derive.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    expanded(item, generate)
}

fn generate(item: TokenStream, sink: &Sink<'_>) -> Option<TokenStream> {
    let mut input: DeriveInput = sink.take(syn::parse2(item))?;
    let path = take_crate_path(&mut input.attrs, "cursor", sink);
    if !input.generics.params.is_empty() {
        sink.report(
            &input.generics,
            "a `CursorKey` cannot be generic, since a cursor belongs to one sort order: write concrete types",
        );
        return None;
    }
    let columns = columns(&input, &sink.child()).unwrap_or_default();
    check(&input.ident, &columns, sink);
    let body = if sink.failed() {
        stub()
    } else {
        body(&columns)
    };
    let name = &input.ident;
    let items = quote! {
        #[automatically_derived]
        impl __aplomb::CursorKey for #name {
            #body
        }
    };
    Some(in_scope(&input, &path, &items))
}

fn columns<'a>(input: &'a DeriveInput, sink: &Sink<'_>) -> Option<Vec<Column<'a>>> {
    for attribute in input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cursor"))
    {
        sink.report(
            attribute,
            "`#[cursor]` belongs on the fields: move it there",
        );
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => {
                return Some(
                    fields
                        .named
                        .iter()
                        .map(|field| Column::parse(field, sink))
                        .collect(),
                );
            }
            Fields::Unnamed(fields) => {
                sink.report(
                    fields,
                    format!("a `CursorKey` needs named fields: write {EXAMPLE}"),
                );
            }
            Fields::Unit => {
                sink.report(
                    &input.ident,
                    format!("a `CursorKey` needs sort columns: write {EXAMPLE}"),
                );
            }
        },
        Data::Enum(data) => sink.push(not_a_struct(data.enum_token.span(), "an enum")),
        Data::Union(data) => sink.push(not_a_struct(data.union_token.span(), "a union")),
    }
    None
}

const EXAMPLE: &str =
    "`struct Newest { #[cursor(desc)] created_at: i64, #[cursor(desc, unique)] id: i64 }`";

fn not_a_struct(place: proc_macro2::Span, found: &str) -> syn::Error {
    syn::Error::new(
        place,
        format!("a `CursorKey` cannot be {found}: write {EXAMPLE}"),
    )
}

/// Reports missing and repeated columns. Also reports a unique column that is missing or is not the
/// last column.
fn check(name: &Ident, columns: &[Column<'_>], sink: &Sink<'_>) {
    if sink.failed() {
        return;
    }
    let Some((last, others)) = columns.split_last() else {
        sink.report(
            name,
            format!("a `CursorKey` needs sort columns: write {EXAMPLE}"),
        );
        return;
    };
    for (index, column) in columns.iter().enumerate() {
        column.check_not_repeated(&columns[..index], sink);
    }
    for column in others {
        column.check_not_unique(last, sink);
    }
    if !sink.failed() {
        last.check_unique(sink);
    }
}

/// Generates an implementation for a key with mistakes, so that the compiler reports no further
/// errors in code that uses the key.
fn stub() -> TokenStream {
    quote! {
        const COLUMNS: &'static [__aplomb::policies::paginate::SortColumn] = &[];

        fn to_values(&self) -> __aplomb::__private::Vec<__aplomb::policies::paginate::CursorValue> {
            ::core::panic!("this key has mistakes")
        }

        fn from_values(
            _: __aplomb::__private::Vec<__aplomb::policies::paginate::CursorValue>,
        ) -> ::core::option::Option<Self> {
            ::core::panic!("this key has mistakes")
        }
    }
}

fn body(columns: &[Column<'_>]) -> TokenStream {
    let specs = columns.iter().map(Column::spec);
    let fields: Vec<&Ident> = columns.iter().map(|column| column.field).collect();
    let types: Vec<&syn::Type> = columns.iter().map(|column| column.ty).collect();
    let count = columns.len();
    let (all, values) = (names::name("values"), names::numbered("value", count));
    quote! {
        const COLUMNS: &'static [__aplomb::policies::paginate::SortColumn] = &[#(#specs),*];

        fn to_values(&self) -> __aplomb::__private::Vec<__aplomb::policies::paginate::CursorValue> {
            ::core::convert::From::from([
                #(<#types as __aplomb::policies::paginate::CursorField>::to_value(&self.#fields)),*
            ])
        }

        fn from_values(
            #all: __aplomb::__private::Vec<__aplomb::policies::paginate::CursorValue>,
        ) -> ::core::option::Option<Self> {
            let [#(#values),*] = <[_; #count] as ::core::convert::TryFrom<_>>::try_from(#all).ok()?;
            ::core::option::Option::Some(Self {
                #(#fields: <#types as __aplomb::policies::paginate::CursorField>::from_value(#values)?),*
            })
        }
    }
}
