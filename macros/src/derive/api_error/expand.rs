//! Generates the implementations from the cases.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::Case;
use super::problem::{Declared, Problem};
use crate::expand::ends;
use crate::names;
use crate::policies::duration;

/// Generates the implementations of `ApiError` and `IntoResponse` for the type.
pub(super) fn implementations(name: &Ident, cases: &[Case<'_>]) -> TokenStream {
    let (specs, kinds) = (specs(cases), kinds(cases));
    let body = body(cases);
    implementation(name, (&specs, &body, &kinds))
}

/// Generates the same implementations for an error type whose declaration has mistakes. Code that
/// uses the type then causes no further compiler errors.
pub(super) fn stub(name: &Ident) -> TokenStream {
    let body = quote!(::core::panic!("this error has mistakes"));
    let none = TokenStream::new();
    implementation(name, (&none, &body, &none))
}

fn implementation(
    name: &Ident,
    (specs, body, kinds): (&TokenStream, &TokenStream, &TokenStream),
) -> TokenStream {
    let problems = problems();
    quote! {
        #specs

        #[automatically_derived]
        impl __aplomb::ApiError for #name {
            fn problem(&self) -> __aplomb::__private::Problem {
                #body
            }

            fn kinds(#problems: &mut __aplomb::__private::ProblemKinds) {
                use __aplomb::__private::ProbeFallback as _;
                #kinds
            }
        }

        #[automatically_derived]
        impl __aplomb::__private::IntoResponse for #name {
            fn into_response(self) -> __aplomb::__private::Response {
                __aplomb::__private::error_response(&self)
            }
        }
    }
}

/// Returns the name of the parameter of `kinds`.
fn problems() -> Ident {
    names::name("kinds")
}

/// Returns the name of the constant with the list of specifications.
fn list() -> Ident {
    names::name("KINDS")
}

/// Generates a constant with the specification of each declared case. The bodies of `problem` and
/// `kinds` read this list.
fn specs(cases: &[Case<'_>]) -> TokenStream {
    let specs: Vec<TokenStream> = declared(cases).map(|(_, problem)| spec(problem)).collect();
    if specs.is_empty() {
        return TokenStream::new();
    }
    let (list, count) = (list(), specs.len());
    quote!(const #list: [__aplomb::__private::ProblemSpec; #count] = [#(#specs),*];)
}

/// Returns the cases that declare a problem themselves.
pub(super) fn declared<'a>(
    cases: &'a [Case<'_>],
) -> impl Iterator<Item = (&'a Case<'a>, &'a Declared)> {
    cases.iter().filter_map(|case| match &case.problem {
        Problem::Declared(problem) => Some((case, &**problem)),
        Problem::Transparent => None,
    })
}

/// Generates the body of `problem`.
fn body(cases: &[Case<'_>]) -> TokenStream {
    if cases.is_empty() {
        return quote!(match *self {});
    }
    let mut index = 0;
    let arms = cases.iter().map(|case| arm(case, &mut index));
    quote!(match self { #(#arms)* })
}

/// Generates the body of `kinds`, in the order of the cases.
fn kinds(cases: &[Case<'_>]) -> TokenStream {
    let (problems, list, mut index) = (problems(), list(), 0_usize);
    let one = |case: &Case<'_>| match &case.problem {
        Problem::Declared(_) => {
            let variant = case.name.map(ToString::to_string).unwrap_or_default();
            let place = next(&mut index);
            quote!(#problems.add::<Self>(#list[#place], #variant);)
        }
        Problem::Transparent => {
            let Some(field) = case.fields.iter().next() else {
                return TokenStream::new();
            };
            let ty = &field.ty;
            // The probe does not require `ApiError`. A type without it is reported only once, where
            // `problem` is called.
            quote!(#problems.include_probe(__aplomb::__private::Probe::<::core::result::Result<(), #ty>>::PROBLEMS);)
        }
    };
    cases.iter().map(one).collect()
}

fn next(index: &mut usize) -> usize {
    *index += 1;
    *index - 1
}

fn arm(case: &Case<'_>, index: &mut usize) -> TokenStream {
    let path = &case.path;
    match &case.problem {
        Problem::Transparent => transparent(case),
        Problem::Declared(problem) => {
            let fields: Vec<_> = case
                .extensions
                .iter()
                .map(|extension| extension.name)
                .collect();
            let bindings = names::numbered("field", fields.len());
            let texts = fields
                .iter()
                .map(|name| syn::ext::IdentExt::unraw(*name).to_string());
            let made = made(problem, next(index));
            quote! {
                #path { #(#fields: #bindings,)* .. } => #made #(.with_extension(#texts, #bindings))*,
            }
        }
    }
}

fn transparent(case: &Case<'_>) -> TokenStream {
    let path = &case.path;
    let inner = names::name("inner");
    let Some(field) = case.fields.iter().next() else {
        return TokenStream::new();
    };
    let member = field
        .ident
        .as_ref()
        .map_or_else(|| quote!(0), |name| quote!(#name));
    let (ty, site) = (&field.ty, ends(&field.ty).0);
    let problem = quote_spanned!(site=> <#ty as __aplomb::ApiError>::problem);
    quote!(#path { #member: #inner } => #problem(#inner),)
}

/// Generates the problem without its extensions.
fn made(problem: &Declared, index: usize) -> TokenStream {
    let list = list();
    let spec = quote!(&#list[#index]);
    if let Some(pointer) = &problem.pointer {
        let code = &problem.code;
        return quote!(__aplomb::__private::field_problem(#spec, self, #pointer, #code));
    }
    if problem.status >= 500 {
        quote!(__aplomb::__private::server_problem(#spec, self))
    } else {
        quote!(__aplomb::__private::client_problem(#spec, self))
    }
}

fn spec(problem: &Declared) -> TokenStream {
    let Declared {
        category,
        code,
        title,
        status,
        ..
    } = problem;
    let mut spec = if problem.pointer.is_some() {
        quote!(__aplomb::__private::VALIDATION_FAILED)
    } else {
        let variant = Ident::new(category.variant, Span::mixed_site());
        quote! {
            __aplomb::__private::ProblemSpec::new(__aplomb::__private::Category::#variant, #code, #title)
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
