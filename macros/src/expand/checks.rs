//! Generates the checks that do not need the API's state. They check the arguments and the return
//! type. Each error is reported at the type of the argument, or at the return type.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, PathArguments, PathSegment, Type};

use super::call_at;
use crate::policies::Endpoint;

/// The function that checks the last argument of a GET.
const GET: &str = "assert_get_argument";

/// Generates the checks, as statements.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let mut checks = arguments(endpoint);
    checks.extend(endpoint.function.named_result().map(check_result));
    checks
}

fn arguments(endpoint: &Endpoint<'_>) -> TokenStream {
    let arguments = endpoint.function.arguments();
    let last = arguments.len().saturating_sub(1);
    let is_get = endpoint.spec.route.is("get");
    let role = |index| match (index < last, is_get) {
        (true, _) => "assert_head_argument",
        (false, true) => GET,
        (false, false) => "assert_last_argument",
    };
    let one = |(index, argument): (usize, &&Type)| check_argument(argument, role(index));
    arguments.iter().enumerate().filter_map(one).collect()
}

/// Generates the check of an argument, with as few probes as its type allows.
///
/// The type's name is used only to select the probes. `State` always depends on the state, so it
/// has no check. `Valid` has a separate probe, because its bound can depend on the state. A type
/// without type parameters has no content, so its content is not probed. The only exception is the
/// last argument of a GET, because this argument may be the whole `Request`.
fn check_argument(ty: &Type, function: &str) -> Option<TokenStream> {
    if is_state(ty) {
        return None;
    }
    let probe = quote!(__aplomb::__private::Probe::<#ty>);
    let content = match last_segment(ty) {
        Some(last) if last.ident == "Valid" => {
            quote!(#probe::VALID_CONTENT.of_valid(#probe::IS_VALID, #probe::IS_VALIDATED))
        }
        Some(last) if last.arguments.is_empty() && function != GET => {
            quote!(__aplomb::__private::Content::Unknown)
        }
        _ => quote!(#probe::CONTENT),
    };
    let facts = quote!(#probe::FROM_HEAD, #probe::FROM_BODY, #content, ::core::stringify!(#ty));
    Some(call_at(ty, function, &facts))
}

fn check_result(ty: &Type) -> TokenStream {
    let probe = quote!(__aplomb::__private::Probe::<#ty>);
    let is_response_or_error = match last_segment(ty) {
        Some(last) if last.ident == "Result" => quote!(#probe::IS_RESPONSE_OR_ERROR),
        _ => quote!(false),
    };
    let facts = quote!(#probe::IS_RESPONSE, #is_response_or_error, ::core::stringify!(#ty));
    call_at(ty, "assert_response", &facts)
}

fn is_state(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|last| last.ident == "State")
}

/// Returns the marker (`InHead` or `InBody`) of an extractor that can depend on the state. Returns
/// `None` if the name of the type does not determine the marker.
pub(super) fn known_marker(ty: &Type) -> Option<&'static str> {
    let last = last_segment(ty)?;
    match last.ident.to_string().as_str() {
        "State" | "Extension" => Some("InHead"),
        "Valid" => match first_parameter(last)
            .and_then(last_segment)?
            .ident
            .to_string()
            .as_str()
        {
            "Json" => Some("InBody"),
            "Path" | "Query" => Some("InHead"),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the first type parameter of a segment.
fn first_parameter(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(parameters) = &segment.arguments else {
        return None;
    };
    parameters
        .args
        .iter()
        .find_map(|parameter| match parameter {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// Returns the last name of a type's path, with its parameters.
fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(ty) => ty.path.segments.last(),
        _ => None,
    }
}
