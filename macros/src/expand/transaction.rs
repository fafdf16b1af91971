//! Generates the code for an argument that is a `Tx`, the database transaction of the handler.
//!
//! The compiler finds the argument by its type. Only arguments whose type may be a `Tx` are probed,
//! because each probe takes time in every build.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{PathArguments, Type};

use super::call_at;
use crate::policies::Endpoint;

/// Generates the builder call with the database of the transaction.
pub(super) fn spec(endpoint: &Endpoint<'_>) -> TokenStream {
    let candidates = candidates(endpoint);
    if candidates.is_empty() {
        return TokenStream::new();
    }
    quote! {
        .with_transaction(__aplomb::__private::transaction_of(const {
            &[#(__aplomb::__private::Probe::<#candidates>::TRANSACTION),*]
        }))
    }
}

/// Generates the assertions: an endpoint has at most one `Tx`, and a response that is a stream is
/// not ready at the commit.
pub(super) fn assertions(endpoint: &Endpoint<'_>) -> TokenStream {
    let candidates = candidates(endpoint);
    let is_transaction: Vec<_> = candidates
        .iter()
        .map(|ty| quote!(__aplomb::__private::Probe::<#ty>::TRANSACTION.is_some()))
        .collect();
    let name = endpoint.name();
    let second = format!(
        "`{name}` takes two `Tx`, but a request has one transaction: remove one, and pass `&mut tx` to \
         functions"
    );
    let only = |(index, ty): (usize, &&Type)| {
        let (this, earlier) = (&is_transaction[index], &is_transaction[..index]);
        let is_second = quote!(#this && (#(#earlier)||*), #second);
        call_at(ty, "assert_only_transaction", &is_second)
    };
    let mut assertions: TokenStream = candidates.iter().enumerate().skip(1).map(only).collect();
    if let (Some(ty), false) = (endpoint.function.named_result(), candidates.is_empty()) {
        let message = format!(
            "`{name}` takes a `Tx` but returns a stream, which is not complete at the commit: return the \
             whole body, or read with a pool"
        );
        let is_stream = quote! {
            __aplomb::__private::Probe::<#ty>::IS_STREAM && (#(#is_transaction)||*), #message
        };
        assertions.extend(call_at(ty, "assert_not_a_stream", &is_stream));
    }
    assertions
}

/// Returns the arguments whose type may be a `Tx`: a path with type parameters that is not a
/// well-known extractor, or a path without parameters, which may be an alias.
fn candidates<'a>(endpoint: &'a Endpoint<'_>) -> Vec<&'a Type> {
    let arguments = endpoint.function.arguments().into_iter();
    arguments.filter(|ty| may_be_transaction(ty)).collect()
}

fn may_be_transaction(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else {
        return false;
    };
    let name = last.ident.to_string();
    match last.arguments {
        PathArguments::None => !OTHER_TYPES.contains(&name.as_str()),
        _ => !OTHER_EXTRACTORS.contains(&name.as_str()),
    }
}

/// Extractors with type parameters that are not a `Tx`.
const OTHER_EXTRACTORS: [&str; 11] = [
    "Extension",
    "Form",
    "Json",
    "Option",
    "PageRequest",
    "Path",
    "Query",
    "Result",
    "State",
    "TypedHeader",
    "Valid",
];

/// Extractors without type parameters that are not a `Tx`.
const OTHER_TYPES: [&str; 12] = [
    "Body",
    "Bytes",
    "Caller",
    "HeaderMap",
    "Method",
    "Multipart",
    "OffsetRequest",
    "Request",
    "RequestId",
    "StepKeys",
    "String",
    "Uri",
];
