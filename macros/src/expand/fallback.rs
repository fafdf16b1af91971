//! What an endpoint with mistakes expands to: what others refer to, inert, so that its mistakes are
//! the only ones reported.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{FnArg, Type};

use super::spec::id;
use super::{generated_visibility, in_scope, type_item};
use crate::policies::Endpoint;

/// The inert items. A method gets none, because they could not stand where it does, and neither
/// does an endpoint that another attribute will make.
pub(crate) fn fallback(endpoint: &Endpoint<'_>) -> TokenStream {
    let is_receiver = |argument: &FnArg| matches!(argument, FnArg::Receiver(_));
    if endpoint.function.signature.inputs.iter().any(is_receiver)
        || endpoint.function.second_endpoint_attribute().is_some()
    {
        return TokenStream::new();
    }
    let (name, names) = (endpoint.name(), &endpoint.function.names);
    let (api, ty) = (names.name("S"), names.name("T"));
    let (id, spec, uri) = (id(endpoint), spec(endpoint), uri(endpoint));
    let items = quote! {
        #[automatically_derived]
        impl __aplomb::Endpoint for #name {
            #id

            type Checked<#ty> = #ty;

            const SPEC: __aplomb::EndpointSpec = #spec;
        }

        #[automatically_derived]
        impl #name {
            #uri
        }

        #[automatically_derived]
        impl<#api> __aplomb::__private::Mount<#api, ()> for #name {
            const READS_BODY: ::core::primitive::bool = false;

            fn call(_: #api, _: &mut __aplomb::__private::Incoming) -> __aplomb::__private::ResponseFuture {
                ::core::panic!("this endpoint has mistakes")
            }
        }
    };
    let mut output = type_item(endpoint);
    output.extend(in_scope(endpoint, &items));
    output
}

/// A specification without path: such are left out of all comparisons.
fn spec(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let method = Ident::new("Get", Span::mixed_site());
    quote!(__aplomb::EndpointSpec::new(__aplomb::Method::#method, "", #name))
}

fn uri(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = generated_visibility(&endpoint.function.visibility);
    let read = endpoint.function.names.name("Parameters");
    let parameters = match endpoint.spec.route.path() {
        Some(path) => !path.parameters().is_empty(),
        None => endpoint.function.arguments().into_iter().any(is_path),
    };
    let arguments = if parameters {
        quote!(<#read>(_: &#read))
    } else {
        quote!(())
    };
    quote! {
        #visibility fn uri #arguments -> __aplomb::EndpointUri {
            ::core::panic!("this endpoint has mistakes")
        }
    }
}

/// Whether the argument looks like one that reads path parameters: of a path that is not there yet,
/// nothing else can be known.
fn is_path(argument: &Type) -> bool {
    match argument {
        Type::Path(ty) => ty
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Path"),
        _ => false,
    }
}
