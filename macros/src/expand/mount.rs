//! `impl Mount`: the call of the function, with one bound for each extractor.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

use super::checks::is_state;
use super::ends;
use crate::policies::Endpoint;

/// The implementation of `Mount`.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let (type_name, names) = (endpoint.name(), &endpoint.function.names);
    let arguments = endpoint.function.arguments();
    let markers = names.numbered("M", arguments.len());
    let bounds = bounds(endpoint, &arguments, &markers);
    let reads_body = reads_body(endpoint, &arguments, &markers);
    let [api, state, request] = parameters(endpoint);
    let call = call(endpoint, &arguments, &markers);
    quote! {
        #[automatically_derived]
        impl<#api, #(#markers),*> __aplomb::__private::Mount<#api, (#(#markers,)*)> for #type_name
        where
            #api: ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#markers: 'static,)*
            #bounds
        {
            const READS_BODY: ::core::primitive::bool = #reads_body;

            fn call(#state: #api, #request: &mut __aplomb::__private::Incoming) -> __aplomb::__private::ResponseFuture {
                #call
            }
        }
    }
}

/// The type of the API's state, and the parameters of `call`.
fn parameters(endpoint: &Endpoint<'_>) -> [Ident; 3] {
    ["S", "state", "request"].map(|name| endpoint.function.names.name(name))
}

/// The bounds, one for each argument, with the span of the argument.
///
/// The bounds of `State` are first. The compiler infers the state from the bounds in their order, and
/// another extractor may have a bound such as `Keys: FromRef<S>`, from which it would infer `Keys`.
fn bounds(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let last = if endpoint.spec.route.is("get") {
        "BodylessArg"
    } else {
        "LastArg"
    };
    let [api, ..] = parameters(endpoint);
    let one = |(index, (argument, marker)): (usize, (&&Type, &Ident))| {
        let role = if index + 1 == arguments.len() {
            last
        } else {
            "HeadArg"
        };
        let site = ends(argument).0;
        let role = Ident::new(role, site);
        let bound = quote_spanned!(site=> __aplomb::__private::#role<#api, #marker>);
        quote!(#argument: #bound,)
    };
    let mut bounds: Vec<_> = arguments.iter().zip(markers).enumerate().collect();
    bounds.sort_by_key(|(_, (argument, _))| !is_state(argument));
    bounds.into_iter().map(one).collect()
}

fn reads_body(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let (Some(argument), Some(marker)) = (arguments.last(), markers.last()) else {
        return quote!(false);
    };
    let [api, ..] = parameters(endpoint);
    quote!(<#argument as __aplomb::__private::LastArg<#api, #marker>>::READS_BODY)
}

/// The call, with the span of the function's name. A future that is not `Send` is reported there.
fn call(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let function = &endpoint.function.signature.ident;
    let values = endpoint.function.names.numbered("a", arguments.len());
    let site = function.span().resolved_at(Span::mixed_site());
    let ([api, state, request], respond) = (parameters(endpoint), respond(endpoint));
    quote_spanned! {site=>
        __aplomb::__private::adapt::<(#(#arguments,)*), #api, (#(#markers,)*), _, _, _>(
            #state,
            #request,
            |(#(#values,)*)| #function(#(#values),*),
            #respond,
        )
    }
}

/// The conversion of the result. It names the type of the result only if its check has passed, so that
/// a type that is not a response is reported once.
fn respond(endpoint: &Endpoint<'_>) -> TokenStream {
    let Some(ty) = endpoint.function.named_result() else {
        return quote!(__aplomb::__private::respond);
    };
    let (site, name) = (ends(ty).0, endpoint.name());
    quote_spanned!(site=> __aplomb::__private::respond::<<#name as __aplomb::Endpoint>::Checked<#ty>>)
}
