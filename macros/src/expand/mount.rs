//! `impl Mount`: how the endpoint is called, with one bound an extractor.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;

use super::ends;
use crate::policies::Endpoint;

/// The implementation of `Mount`.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let (cfgs, type_name) = (endpoint.function.cfgs(), endpoint.name());
    let arguments = endpoint.function.arguments();
    let markers: Vec<Ident> = (0..arguments.len()).map(marker).collect();
    let bounds = bounds(endpoint, &arguments, &markers);
    let reads_body = reads_body(&arguments, &markers);
    let [state, request] = parameters();
    let call = call(endpoint, &arguments, &markers);
    quote! {
        #cfgs
        #[automatically_derived]
        #[allow(deprecated)]
        impl<__S, #(#markers),*> ::aplomb::__private::Mount<__S, (#(#markers,)*)> for #type_name
        where
            __S: ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#markers: 'static,)*
            #bounds
        {
            const READS_BODY: bool = #reads_body;

            fn call(#state: __S, #request: &mut ::aplomb::__private::Incoming) -> ::aplomb::__private::ResponseFuture {
                #call
            }
        }
    }
}

/// The parameters of `call`.
fn parameters() -> [Ident; 2] {
    ["state", "request"].map(|name| Ident::new(name, Span::mixed_site()))
}

fn marker(index: usize) -> Ident {
    format_ident!("__M{index}", span = Span::mixed_site())
}

/// One bound an argument, with the argument's span: what cannot be extracted is underlined there.
fn bounds(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let last = if endpoint.spec.route.is("get") {
        "BodylessArg"
    } else {
        "LastArg"
    };
    let one = |(index, (argument, marker)): (usize, (&&Type, &Ident))| {
        let role = if index + 1 == arguments.len() {
            last
        } else {
            "HeadArg"
        };
        let site = ends(argument).0;
        let role = Ident::new(role, site);
        let bound = quote_spanned!(site=> ::aplomb::__private::#role<__S, #marker>);
        quote!(#argument: #bound,)
    };
    arguments.iter().zip(markers).enumerate().map(one).collect()
}

fn reads_body(arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let (Some(argument), Some(marker)) = (arguments.last(), markers.last()) else {
        return quote!(false);
    };
    quote!(<#argument as ::aplomb::__private::LastArg<__S, #marker>>::READS_BODY)
}

/// The call, at the function's name: what keeps its future from being sent is reported there.
fn call(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[Ident]) -> TokenStream {
    let function = &endpoint.function.signature.ident;
    let values: Vec<Ident> = (0..arguments.len())
        .map(|index| format_ident!("a{index}", span = Span::mixed_site()))
        .collect();
    let site = function.span().resolved_at(Span::mixed_site());
    let ([state, request], respond) = (parameters(), respond(endpoint));
    quote_spanned! {site=>
        ::aplomb::__private::adapt::<(#(#arguments,)*), __S, (#(#markers,)*), _, _, _>(
            #state,
            #request,
            |(#(#values,)*)| #function(#(#values),*),
            #respond,
        )
    }
}

/// Names the result's type, if it passed its check: a result that is not a response is reported there.
fn respond(endpoint: &Endpoint<'_>) -> TokenStream {
    let Some(ty) = endpoint.function.named_result() else {
        return quote!(::aplomb::__private::respond);
    };
    let (site, name) = (ends(ty).0, endpoint.name());
    quote_spanned!(site=> ::aplomb::__private::respond::<<#name as ::aplomb::Endpoint>::Checked<#ty>>)
}
