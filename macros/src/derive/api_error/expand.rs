//! From cases to the implementations.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::Case;
use super::problem::{Declared, Problem};
use crate::expand::ends;
use crate::policies::duration;

/// `ApiError` and `IntoResponse` for the type.
pub(super) fn implementations(name: &Ident, body: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl ::aplomb::ApiError for #name {
            #[allow(deprecated, unused_variables)]
            fn problem(&self) -> ::aplomb::__private::Problem {
                #body
            }
        }

        #[automatically_derived]
        impl ::aplomb::__private::IntoResponse for #name {
            fn into_response(self) -> ::aplomb::__private::Response {
                ::aplomb::__private::error_response(&self)
            }
        }
    }
}

/// The body of `problem`.
pub(super) fn body(cases: &[Case<'_>]) -> TokenStream {
    if cases.is_empty() {
        return quote!(match *self {});
    }
    let arms = cases.iter().map(arm);
    quote!(match self { #(#arms)* })
}

fn arm(case: &Case<'_>) -> TokenStream {
    let path = &case.path;
    match &case.problem {
        Problem::Transparent => transparent(case),
        Problem::Declared(problem) => {
            let names: Vec<_> = case.extensions.iter().map(|extension| extension.name).collect();
            let bindings: Vec<Ident> = (0..names.len())
                .map(|index| format_ident!("field{index}", span = Span::mixed_site()))
                .collect();
            let texts = names.iter().map(|name| syn::ext::IdentExt::unraw(*name).to_string());
            let made = made(problem);
            quote! {
                #path { #(#names: #bindings,)* .. } => #made #(.with_extension(#texts, #bindings))*,
            }
        }
    }
}

fn transparent(case: &Case<'_>) -> TokenStream {
    let path = &case.path;
    let inner = Ident::new("inner", Span::mixed_site());
    let Some(field) = case.fields.iter().next() else { return TokenStream::new() };
    let member = field.ident.as_ref().map_or_else(|| quote!(0), |name| quote!(#name));
    let (ty, site) = (&field.ty, ends(&field.ty).0);
    let problem = quote_spanned!(site=> <#ty as ::aplomb::ApiError>::problem);
    quote!(#path { #member: #inner } => #problem(#inner),)
}

/// The problem, before its extensions.
fn made(problem: &Declared) -> TokenStream {
    let spec = spec(problem);
    let spec = quote!(&const { #spec });
    if let Some(pointer) = &problem.pointer {
        let code = &problem.code;
        return quote!(::aplomb::__private::field_problem(#spec, self, #pointer, #code));
    }
    if problem.status >= 500 {
        quote!(::aplomb::__private::server_problem(#spec, self))
    } else {
        quote!(::aplomb::__private::client_problem(#spec, self))
    }
}

fn spec(problem: &Declared) -> TokenStream {
    let Declared { category, code, title, status, .. } = problem;
    let mut spec = if problem.pointer.is_some() {
        quote!(::aplomb::__private::VALIDATION_FAILED)
    } else {
        let variant = Ident::new(category.variant, Span::mixed_site());
        quote! {
            ::aplomb::__private::ProblemSpec::new(::aplomb::__private::Category::#variant, #code, #title)
                .with_status(#status)
        }
    };
    if problem.retryable {
        spec.extend(quote!(.with_retryable(true)));
    }
    if let Some(wait) = problem.retry_after {
        let wait = duration(wait);
        spec.extend(quote!(.with_retry_after(#wait)));
    }
    if problem.effects_none {
        spec.extend(quote!(.without_effects()));
    }
    spec
}
