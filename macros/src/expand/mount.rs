//! Generates `impl Mount`: the call of the function, with one bound for each extractor.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;

use super::checks::known_marker;
use super::ends;
use crate::names;
use crate::policies::Endpoint;

/// Generates the implementation of `Mount`.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let type_name = endpoint.name();
    let arguments = endpoint.function.arguments();
    let (parameters_of_impl, markers) = markers(&arguments);
    let bounds = bounds(endpoint, &arguments, &markers);
    let reads_body = reads_body(&arguments, &markers);
    let [api, state, request] = parameters();
    let call = call(endpoint, &arguments, &markers);
    quote! {
        #[automatically_derived]
        impl<#api, #(#parameters_of_impl),*> __aplomb::__private::Mount<#api, (#(#markers,)*)> for #type_name
        where
            #api: ::core::marker::Send + ::core::marker::Sync + 'static,
            #(#parameters_of_impl: 'static,)*
            #bounds
        {
            const READS_BODY: ::core::primitive::bool = #reads_body;

            fn call(#state: #api, #request: &mut __aplomb::__private::Incoming) -> __aplomb::__private::ResponseFuture {
                #call
            }
        }
    }
}

/// Returns three names: the type parameter for the API's state, and the two parameters of `call`.
fn parameters() -> [Ident; 3] {
    ["S", "state", "request"].map(names::name)
}

/// Returns the markers that are type parameters, and the marker of each argument.
///
/// The compiler infers whether an argument is extracted from the head or the body. The types that
/// [`known_marker`] recognizes have a fixed marker, so the compiler has only one candidate. If the
/// argument cannot be extracted, the error then names the bound that is not met, such as a missing
/// `FromRef`. With two candidates, the error would only list both.
fn markers(arguments: &[&Type]) -> (Vec<Ident>, Vec<TokenStream>) {
    let mut parameters = Vec::new();
    let names = names::numbered("M", arguments.len());
    let marker = |(argument, name): (&&Type, Ident)| {
        if let Some(known) = known_marker(argument) {
            let known = Ident::new(known, Span::mixed_site());
            return quote!(__aplomb::__private::#known);
        }
        parameters.push(name.clone());
        quote!(#name)
    };
    let markers = arguments.iter().zip(names).map(marker).collect();
    (parameters, markers)
}

/// Generates the bounds, one for each argument, with the span of the argument.
fn bounds(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[TokenStream]) -> TokenStream {
    let last = if endpoint.spec.route.is("get") {
        "BodylessArg"
    } else {
        "LastArg"
    };
    let [api, ..] = parameters();
    let one = |(index, (argument, marker)): (usize, (&&Type, &TokenStream))| {
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
    arguments.iter().zip(markers).enumerate().map(one).collect()
}

fn reads_body(arguments: &[&Type], markers: &[TokenStream]) -> TokenStream {
    let (Some(argument), Some(marker)) = (arguments.last(), markers.last()) else {
        return quote!(false);
    };
    let [api, ..] = parameters();
    quote!(<#argument as __aplomb::__private::LastArg<#api, #marker>>::READS_BODY)
}

/// Generates the call, with the span of the function's name. A future that is not `Send` is
/// reported there.
fn call(endpoint: &Endpoint<'_>, arguments: &[&Type], markers: &[TokenStream]) -> TokenStream {
    let function = &endpoint.function.signature.ident;
    let values = names::numbered("a", arguments.len());
    let site = function.span().resolved_at(Span::mixed_site());
    let ([api, state, request], respond) = (parameters(), respond(endpoint));
    quote_spanned! {site=>
        __aplomb::__private::adapt::<(#(#arguments,)*), #api, (#(#markers,)*), _, _, _>(
            #state,
            #request,
            |(#(#values,)*)| #function(#(#values),*),
            #respond,
        )
    }
}

/// Generates the conversion of the result to a response. The generated code uses the return type
/// only through `Checked`, which depends on the check of this type. A return type that is not a
/// response is therefore reported only once.
fn respond(endpoint: &Endpoint<'_>) -> TokenStream {
    let Some(ty) = endpoint.function.named_result() else {
        return quote!(__aplomb::__private::respond);
    };
    let (site, name) = (ends(ty).0, endpoint.name());
    quote_spanned!(site=> __aplomb::__private::respond::<<#name as __aplomb::Endpoint>::Checked<#ty>>)
}
