//! `uri`: the typed link of an endpoint.

use proc_macro2::TokenStream;
use quote::quote;

use super::generated_visibility;
use crate::policies::Endpoint;

/// The type's own function.
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
        /// The endpoint's own URI.
        #visibility fn uri() -> __aplomb::EndpointUri {
            __aplomb::__private::link(&<Self as __aplomb::Endpoint>::SPEC)
        }
    }
}

/// With path parameters: those that the endpoint's own `Path` argument reads, wherever among the
/// arguments it stands and under whatever alias.
///
/// The arguments stand in a bound and not in an associated type, where a private one would be an
/// error instead of the lint that the function itself already gives.
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
        /// The endpoint's own URI with these path parameters.
        #visibility fn uri<#index, #read>(#parameters: &#read) -> __aplomb::EndpointUri
        where
            #list: __aplomb::__private::FindPath<#index, Parameters = #read>,
            #read: __aplomb::__private::Serialize,
        {
            __aplomb::__private::link_to(&<Self as __aplomb::Endpoint>::SPEC, #parameters)
        }
    }
}
