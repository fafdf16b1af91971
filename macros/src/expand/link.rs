//! `uri`: the typed link of an endpoint.

use proc_macro2::TokenStream;
use quote::quote;

use super::generated_visibility;
use crate::policies::Endpoint;

/// The function `uri` of the type.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let type_name = endpoint.name();
    let path = endpoint
        .spec
        .route
        .path()
        .expect("the check refuses an endpoint without path");
    let uri = if path.parameters().is_empty() {
        plain(endpoint)
    } else {
        typed(endpoint)
    };
    quote! {
        #[automatically_derived]
        impl #type_name {
            #uri
        }
    }
}

fn plain(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = generated_visibility(&endpoint.function.visibility);
    quote! {
        /// Returns the URI of the endpoint.
        #visibility fn uri() -> __aplomb::EndpointUri {
            __aplomb::__private::link(&<Self as __aplomb::Endpoint>::SPEC)
        }
    }
}

/// `uri` with path parameters: those that the `Path` argument of the endpoint reads. The compiler finds
/// that argument, at any position and through a type alias.
///
/// The arguments are in a bound, where a private type is only a lint, which the function has as well.
/// In an associated type a private type would be an error.
fn typed(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = generated_visibility(&endpoint.function.visibility);
    let names = &endpoint.function.names;
    let (index, read) = (names.name("Index"), names.name("Parameters"));
    let parameters = names.name("parameters");
    let arguments = endpoint.function.arguments();
    let list = arguments
        .iter()
        .rev()
        .fold(quote!(()), |rest, argument| quote!((#argument, #rest)));
    quote! {
        /// Returns the URI of the endpoint with these path parameters.
        #visibility fn uri<#index, #read>(#parameters: &#read) -> __aplomb::EndpointUri
        where
            #list: __aplomb::__private::FindPath<#index, Parameters = #read>,
            #read: __aplomb::__private::Serialize,
        {
            __aplomb::__private::link_to(&<Self as __aplomb::Endpoint>::SPEC, #parameters)
        }
    }
}
