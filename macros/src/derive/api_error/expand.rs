//! From cases to the implementations.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::Case;
use super::problem::{Declared, Problem};
use crate::expand::ends;
use crate::names::Names;
use crate::policies::duration;

/// `ApiError` and `IntoResponse` for the type.
pub(super) fn implementations(name: &Ident, cases: &[Case<'_>], names: &Names) -> TokenStream {
    let (specs, kinds) = (specs(cases, names), kinds(cases, names));
    let body = body(cases, names);
    implementation(name, (&specs, &body, &kinds), names)
}

/// The same for an error with mistakes: what uses it brings no further ones.
pub(super) fn stub(name: &Ident, names: &Names) -> TokenStream {
    let body = quote!(::core::panic!("this error has mistakes"));
    let none = TokenStream::new();
    implementation(name, (&none, &body, &none), names)
}

fn implementation(
    name: &Ident,
    (specs, body, kinds): (&TokenStream, &TokenStream, &TokenStream),
    names: &Names,
) -> TokenStream {
    let problems = problems(names);
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

/// The parameter of `kinds`.
fn problems(names: &Names) -> Ident {
    names.name("kinds")
}

/// The list of what is constant about each declared case.
fn list(names: &Names) -> Ident {
    names.name("KINDS")
}

/// What is constant about each declared case, in one list, which both functions read.
fn specs(cases: &[Case<'_>], names: &Names) -> TokenStream {
    let specs: Vec<TokenStream> = declared(cases).map(|(_, problem)| spec(problem)).collect();
    if specs.is_empty() {
        return TokenStream::new();
    }
    let (list, count) = (list(names), specs.len());
    quote!(const #list: [__aplomb::__private::ProblemSpec; #count] = [#(#specs),*];)
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
fn body(cases: &[Case<'_>], names: &Names) -> TokenStream {
    if cases.is_empty() {
        return quote!(match *self {});
    }
    let mut index = 0;
    let arms = cases.iter().map(|case| arm(case, &mut index, names));
    quote!(match self { #(#arms)* })
}

/// The body of `kinds`, in the order of the cases.
fn kinds(cases: &[Case<'_>], names: &Names) -> TokenStream {
    let (problems, list, mut index) = (problems(names), list(names), 0_usize);
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
            // Asked, not demanded: an error that is none of ours is told of once, where its problem is.
            quote!(#problems.include_probe(__aplomb::__private::Probe::<::core::result::Result<(), #ty>>::PROBLEMS);)
        }
    };
    cases.iter().map(one).collect()
}

fn next(index: &mut usize) -> usize {
    *index += 1;
    *index - 1
}

fn arm(case: &Case<'_>, index: &mut usize, names: &Names) -> TokenStream {
    let path = &case.path;
    match &case.problem {
        Problem::Transparent => transparent(case, names),
        Problem::Declared(problem) => {
            let fields: Vec<_> = case
                .extensions
                .iter()
                .map(|extension| extension.name)
                .collect();
            let bindings = names.numbered("field", fields.len());
            let texts = fields
                .iter()
                .map(|name| syn::ext::IdentExt::unraw(*name).to_string());
            let made = made(problem, next(index), names);
            quote! {
                #path { #(#fields: #bindings,)* .. } => #made #(.with_extension(#texts, #bindings))*,
            }
        }
    }
}

fn transparent(case: &Case<'_>, names: &Names) -> TokenStream {
    let path = &case.path;
    let inner = names.name("inner");
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

/// The problem, before its extensions.
fn made(problem: &Declared, index: usize, names: &Names) -> TokenStream {
    let list = list(names);
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
