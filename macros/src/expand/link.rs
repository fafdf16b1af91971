//! `uri`: the typed link of an endpoint.

use proc_macro2::TokenStream;
use quote::quote;

use crate::policies::Endpoint;

/// The type's own function.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let (cfgs, type_name) = (endpoint.function.cfgs(), endpoint.name());
    let path = endpoint
        .spec
        .route
        .path()
        .expect("the check refuses an endpoint without path");
    let (uri, linked) = if path.parameters().is_empty() {
        plain(endpoint)
    } else {
        typed(endpoint)
    };
    quote! {
        #cfgs
        #[automatically_derived]
        #[allow(deprecated)]
        impl #type_name {
            #uri
        }
        #cfgs
        #[automatically_derived]
        #[allow(deprecated)]
        #linked
    }
}

/// The function, and an implementation that uses it: nobody must, and `#[allow(dead_code)]` on it
/// would count as a use of the type, so that rustc would not find a forgotten endpoint any more.
fn plain(endpoint: &Endpoint<'_>) -> (TokenStream, TokenStream) {
    let (visibility, type_name) = (&endpoint.function.visibility, endpoint.name());
    let uri = quote! {
        /// The endpoint's own URI.
        #[allow(unreachable_pub)]
        #visibility fn uri() -> ::aplomb::EndpointUri {
            ::aplomb::__private::link(&<Self as ::aplomb::Endpoint>::SPEC)
        }
    };
    let linked = quote! {
        impl ::aplomb::__private::Linked<(), ()> for #type_name {
            fn linked(_: &()) -> ::aplomb::EndpointUri {
                Self::uri()
            }
        }
    };
    (uri, linked)
}

/// With path parameters: those that the endpoint's own `Path` argument reads, wherever among the
/// arguments it stands and under whatever alias.
///
/// The arguments stand in a bound and not in an associated type, where a private one would be an
/// error instead of the lint that the function itself already gives.
fn typed(endpoint: &Endpoint<'_>) -> (TokenStream, TokenStream) {
    let (visibility, type_name) = (&endpoint.function.visibility, endpoint.name());
    let arguments = endpoint.function.arguments();
    let list = arguments
        .iter()
        .rev()
        .fold(quote!(()), |rest, argument| quote!((#argument, #rest)));
    let bounds = quote! {
        #list: ::aplomb::__private::FindPath<__Index, Parameters = __Parameters>,
        __Parameters: ::aplomb::__private::Serialize,
    };
    let uri = quote! {
        /// The endpoint's own URI with these path parameters.
        #[allow(unreachable_pub, private_bounds)]
        #visibility fn uri<__Index, __Parameters>(parameters: &__Parameters) -> ::aplomb::EndpointUri
        where
            #bounds
        {
            ::aplomb::__private::link_to(&<Self as ::aplomb::Endpoint>::SPEC, parameters)
        }
    };
    let linked = quote! {
        impl<__Index, __Parameters> ::aplomb::__private::Linked<__Index, __Parameters> for #type_name
        where
            #bounds
        {
            fn linked(parameters: &__Parameters) -> ::aplomb::EndpointUri {
                Self::uri(parameters)
            }
        }
    };
    (uri, linked)
}
