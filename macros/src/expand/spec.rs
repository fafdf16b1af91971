//! `impl Endpoint`: the promise as a constant.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::policies::{Endpoint, Policy};

/// The implementation of `Endpoint`.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let (cfgs, type_name) = (endpoint.function.cfgs(), endpoint.name());
    let new = new(endpoint);
    let (docs, arguments, error) = (docs(endpoint), path_arguments(endpoint), error(endpoint));
    let policies = endpoint.spec.policies().into_iter().map(Policy::spec);
    let (id, passed) = (id(endpoint), super::probes::expand(endpoint));
    quote! {
        #cfgs
        #[automatically_derived]
        #[allow(deprecated)]
        impl ::aplomb::Endpoint for #type_name {
            #id

            #passed

            const SPEC: ::aplomb::EndpointSpec = {
                #[allow(unused_imports)]
                use ::aplomb::__private::ProbeFallback as _;
                #new
                    .with_id(Self::ID)
                    #docs
                    #(#policies)*
                    #arguments
                    #error
            };
        }
    }
}

/// The specification's constructor.
pub(super) fn new(endpoint: &Endpoint<'_>) -> TokenStream {
    let route = &endpoint.spec.route;
    let (method, path) = route
        .expand()
        .expect("the check refuses an endpoint without method or path");
    let name = endpoint.function.name();
    quote!(::aplomb::EndpointSpec::new(::aplomb::Method::#method, #path, #name))
}

/// The endpoint's name, and the place of the attribute.
pub(super) fn id(endpoint: &Endpoint<'_>) -> TokenStream {
    let (site, name) = (Span::call_site(), endpoint.function.name());
    let location = quote_spanned! {site=>
        ::aplomb::SourceLocation::new(::core::module_path!(), ::core::file!(), ::core::line!())
    };
    quote!(const ID: ::aplomb::EndpointId = ::aplomb::EndpointId::new(#name, #location);)
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
        .with_path_arguments({
            const ARGUMENTS: &[::core::option::Option<::aplomb::__private::PathProbe>] =
                &[#(::aplomb::__private::Probe::<#arguments>::PATH),*];
            ARGUMENTS
        })
    }
}

/// Which problems the result's error can be. A type that is not named cannot be asked.
fn error(endpoint: &Endpoint<'_>) -> TokenStream {
    let Some(ty) = endpoint.function.named_result() else {
        return TokenStream::new();
    };
    quote!(.with_error(::aplomb::__private::Probe::<#ty>::PROBLEMS))
}
