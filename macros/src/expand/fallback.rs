//! What an endpoint with mistakes expands to: what others refer to, inert, so that its mistakes are
//! the only ones reported.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{FnArg, Type};

use super::spec::id;
use super::type_item;
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
    let mut items = type_item(endpoint);
    let (cfgs, name) = (endpoint.function.cfgs(), endpoint.name());
    let (id, spec, uri) = (id(endpoint), spec(endpoint), uri(endpoint));
    items.extend(quote! {
        #cfgs
        #[automatically_derived]
        impl ::aplomb::Endpoint for #name {
            #id

            type Checked<__T> = __T;

            const SPEC: ::aplomb::EndpointSpec = #spec;
        }
        #cfgs
        #[automatically_derived]
        impl #name {
            #uri
        }
        #cfgs
        #[automatically_derived]
        impl<__S> ::aplomb::__private::Mount<__S, ()> for #name {
            const READS_BODY: bool = false;

            fn call(_: __S, _: &mut ::aplomb::__private::Incoming) -> ::aplomb::__private::ResponseFuture {
                ::core::panic!("this endpoint has mistakes")
            }
        }
    });
    items
}

/// A specification without path: such are left out of all comparisons.
fn spec(endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.function.name();
    let method = Ident::new("Get", Span::mixed_site());
    quote!(::aplomb::EndpointSpec::new(::aplomb::Method::#method, "", #name))
}

fn uri(endpoint: &Endpoint<'_>) -> TokenStream {
    let visibility = &endpoint.function.visibility;
    let parameters = match endpoint.spec.route.path() {
        Some(path) => !path.parameters().is_empty(),
        None => endpoint.function.arguments().into_iter().any(is_path),
    };
    let arguments = if parameters {
        quote!(<__P>(_: &__P))
    } else {
        quote!(())
    };
    quote! {
        #[allow(dead_code, unreachable_pub)]
        #visibility fn uri #arguments -> ::aplomb::EndpointUri {
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
