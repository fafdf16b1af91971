//! Generates `impl Endpoint`, which contains the declaration as a constant.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{probes, transaction};
use crate::policies::{Endpoint, Policy};

/// Generates the implementation of `Endpoint`.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let type_name = endpoint.name();
    let new = new(endpoint);
    let (docs, arguments, error) = (docs(endpoint), path_arguments(endpoint), error(endpoint));
    let transaction = transaction::spec(endpoint);
    let policies = endpoint.spec.policies().into_iter().map(Policy::spec);
    let (id, checked) = (id(endpoint), probes::expand(endpoint));
    quote! {
        #[automatically_derived]
        impl __aplomb::Endpoint for #type_name {
            #id

            #checked

            const SPEC: __aplomb::EndpointSpec = #new
                .with_id(<Self as __aplomb::Endpoint>::ID)
                #docs
                #(#policies)*
                #arguments
                #transaction
                #error;
        }
    }
}

/// Generates the constructor of the specification.
pub(super) fn new(endpoint: &Endpoint<'_>) -> TokenStream {
    let route = &endpoint.spec.route;
    let (method, path) = route
        .expand()
        .expect("the check refuses an endpoint without method or path");
    let name = endpoint.function.name();
    quote!(__aplomb::EndpointSpec::new(__aplomb::Method::#method, #path, #name))
}

/// Generates the id: the name of the endpoint, and the location of the attribute.
pub(super) fn id(endpoint: &Endpoint<'_>) -> TokenStream {
    let (site, name) = (Span::call_site(), endpoint.function.name());
    let location = quote_spanned! {site=>
        __aplomb::SourceLocation::new(::core::module_path!(), ::core::file!(), ::core::line!())
    };
    quote!(const ID: __aplomb::EndpointId = __aplomb::EndpointId::new(#name, #location);)
}

fn docs(endpoint: &Endpoint<'_>) -> TokenStream {
    let (summary, description) = endpoint.function.docs();
    if summary.is_empty() {
        TokenStream::new()
    } else {
        quote!(.with_docs(#summary, #description))
    }
}

fn path_arguments(endpoint: &Endpoint<'_>) -> TokenStream {
    let arguments = endpoint.function.arguments();
    if arguments.is_empty() {
        return TokenStream::new();
    }
    quote! {
        .with_path_arguments(const { &[#(__aplomb::__private::Probe::<#arguments>::PATH),*] })
    }
}

/// Generates the call that adds the problems of the handler's error type. A return type that
/// contains `impl Trait` gets no call, because its error type is unknown.
fn error(endpoint: &Endpoint<'_>) -> TokenStream {
    let Some(ty) = endpoint.function.named_result() else {
        return TokenStream::new();
    };
    quote!(.with_error(__aplomb::__private::Probe::<#ty>::PROBLEMS))
}
