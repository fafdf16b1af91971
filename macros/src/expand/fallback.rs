//! Generates the expansion of an endpoint with errors: stubs of the items that other code uses, so
//! that no further errors follow.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{FnArg, Type};

use super::spec::id;
use super::{generated_visibility, in_scope, type_item};
use crate::names;
use crate::policies::Endpoint;

/// Generates the stubs. A method has no stubs, because an `impl` block cannot contain them. A
/// function with two `#[endpoint]` attributes gets no stubs here, because the second attribute
/// generates these items.
pub(crate) fn fallback(endpoint: &Endpoint<'_>) -> TokenStream {
    let is_receiver = |argument: &FnArg| matches!(argument, FnArg::Receiver(_));
    if endpoint.function.signature.inputs.iter().any(is_receiver)
        || endpoint.function.second_endpoint_attribute().is_some()
    {
        return TokenStream::new();
    }
    let name = endpoint.name();
    let (api, ty) = (names::name("S"), names::name("T"));
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
                ::core::panic!("this endpoint has compile errors")
            }
        }
    };
    let mut output = type_item(endpoint);
    output.extend(in_scope(endpoint, &items));
    output
}

/// Generates a specification without a path, which all comparisons ignore.
fn spec(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let method = Ident::new("Get", Span::mixed_site());
    quote!(__aplomb::EndpointSpec::new(__aplomb::Method::#method, "", #name))
}

fn uri(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = generated_visibility(&endpoint.function.visibility);
    let read = names::name("Parameters");
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
            ::core::panic!("this endpoint has compile errors")
        }
    }
}

/// Returns true if the type of the argument is written `Path<…>`. If the attribute has no valid
/// path, only this argument type shows that the endpoint has path parameters.
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
