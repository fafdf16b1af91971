//! Generates `uri`, which builds the link of an endpoint from its typed path parameters.

use proc_macro2::TokenStream;
use quote::quote;

use super::generated_visibility;
use crate::names;
use crate::policies::Endpoint;

/// Generates the function `uri` of the type.
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

/// Generates `uri` with the path parameters that the `Path` argument of the endpoint reads. The
/// compiler finds that argument, at any position and through a type alias.
///
/// The types of the arguments are in a bound, because a private type in a bound causes only a lint,
/// which already appears at the user's function. In an associated type, a private type would be an
/// error.
fn typed(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = generated_visibility(&endpoint.function.visibility);
    let (index, read) = (names::name("Index"), names::name("Parameters"));
    let parameters = names::name("parameters");
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
