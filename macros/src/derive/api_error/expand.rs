//! From cases to the implementations.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::Case;
use super::problem::{Declared, Problem};
use crate::expand::ends;
use crate::policies::duration;

/// `ApiError` and `IntoResponse` for the type.
pub(super) fn implementations(name: &Ident, cases: &[Case<'_>]) -> TokenStream {
    let (specs, kinds) = (specs(cases), kinds(cases));
    let body = body(cases);
    implementation(name, &specs, &body, &kinds)
}

/// The same for an error with mistakes: what uses it brings no further ones.
pub(super) fn stub(name: &Ident) -> TokenStream {
    let body = quote!(::core::panic!("this error has mistakes"));
    implementation(name, &TokenStream::new(), &body, &TokenStream::new())
}

fn implementation(
    name: &Ident,
    specs: &TokenStream,
    body: &TokenStream,
    kinds: &TokenStream,
) -> TokenStream {
    let problems = problems();
    quote! {
        const _: () = {
            #specs

            #[automatically_derived]
            impl ::aplomb::ApiError for #name {
                #[allow(deprecated, unused_variables)]
                fn problem(&self) -> ::aplomb::__private::Problem {
                    #body
                }

                #[allow(unused_imports, unused_variables)]
                fn kinds(#problems: &mut ::aplomb::__private::ProblemKinds) {
                    use ::aplomb::__private::ProbeFallback as _;
                    #kinds
                }
            }
        };

        #[automatically_derived]
        impl ::aplomb::__private::IntoResponse for #name {
            fn into_response(self) -> ::aplomb::__private::Response {
                ::aplomb::__private::error_response(&self)
            }
        }
    }
}

fn problems() -> Ident {
    Ident::new("kinds", Span::mixed_site())
}

/// What is constant about each declared case, in one list, which both functions read.
fn specs(cases: &[Case<'_>]) -> TokenStream {
    let specs: Vec<TokenStream> = declared(cases).map(|(_, problem)| spec(problem)).collect();
    if specs.is_empty() {
        return TokenStream::new();
    }
    let count = specs.len();
    quote!(const KINDS: [::aplomb::__private::ProblemSpec; #count] = [#(#specs),*];)
}

/// The cases that are problems of their own.
pub(super) fn declared<'a>(
    cases: &'a [Case<'_>],
) -> impl Iterator<Item = (&'a Case<'a>, &'a Declared)> {
    cases.iter().filter_map(|case| match &case.problem {
        Problem::Declared(problem) => Some((case, &**problem)),
        Problem::Transparent => None,
    })
}

/// The body of `problem`.
fn body(cases: &[Case<'_>]) -> TokenStream {
    if cases.is_empty() {
        return quote!(match *self {});
    }
    let mut index = 0;
    let arms = cases.iter().map(|case| arm(case, &mut index));
    quote!(match self { #(#arms)* })
}

/// The body of `kinds`, in the order of the cases.
fn kinds(cases: &[Case<'_>]) -> TokenStream {
    let (problems, mut index) = (problems(), 0_usize);
    let one = |case: &Case<'_>| match &case.problem {
        Problem::Declared(_) => {
            let variant = case.name.map(ToString::to_string).unwrap_or_default();
            let place = next(&mut index);
            quote!(#problems.add::<Self>(KINDS[#place], #variant);)
        }
        Problem::Transparent => {
            let Some(field) = case.fields.iter().next() else {
                return TokenStream::new();
            };
            let ty = &field.ty;
            // Asked, not demanded: an error that is none of ours is told of once, where its problem is.
            quote!(#problems.ask(::aplomb::__private::Probe::<::core::result::Result<(), #ty>>::PROBLEMS);)
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
            let names: Vec<_> = case
                .extensions
                .iter()
                .map(|extension| extension.name)
                .collect();
            let bindings: Vec<Ident> = (0..names.len())
                .map(|index| format_ident!("field{index}", span = Span::mixed_site()))
                .collect();
            let texts = names
                .iter()
                .map(|name| syn::ext::IdentExt::unraw(*name).to_string());
            let made = made(problem, next(index));
            quote! {
                #path { #(#names: #bindings,)* .. } => #made #(.with_extension(#texts, #bindings))*,
            }
        }
    }
}

fn transparent(case: &Case<'_>) -> TokenStream {
    let path = &case.path;
    let inner = Ident::new("inner", Span::mixed_site());
    let Some(field) = case.fields.iter().next() else {
        return TokenStream::new();
    };
    let member = field
        .ident
        .as_ref()
        .map_or_else(|| quote!(0), |name| quote!(#name));
    let (ty, site) = (&field.ty, ends(&field.ty).0);
    let problem = quote_spanned!(site=> <#ty as ::aplomb::ApiError>::problem);
    quote!(#path { #member: #inner } => #problem(#inner),)
}

/// The problem, before its extensions.
fn made(problem: &Declared, index: usize) -> TokenStream {
    let spec = quote!(&KINDS[#index]);
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
    let Declared {
        category,
        code,
        title,
        status,
        ..
    } = problem;
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
