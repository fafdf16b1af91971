//! `#[derive(ApiError)]`: the problem documents of an error type.

mod category;
mod code;
mod expand;
mod extension;
mod problem;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident};

use super::{expanded, in_scope, take_crate_path};
use crate::errors::Sink;
use extension::Extension;
use problem::Problem;

/// One variant of an enum, or the struct.
pub(crate) struct Case<'a> {
    /// The path of its pattern: `Self::Variant` or `Self`.
    path: TokenStream,
    /// The name of the variant; `None` for a struct.
    name: Option<&'a Ident>,
    fields: &'a Fields,
    problem: Problem,
    extensions: Vec<Extension<'a>>,
}

/// Expands the derive.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    expanded(item, generate)
}

fn generate(item: TokenStream, sink: &Sink<'_>) -> Option<TokenStream> {
    let mut input: DeriveInput = sink.take(syn::parse2(item))?;
    let path = take_crate_path(&mut input.attrs, "problem", sink);
    if !input.generics.params.is_empty() {
        sink.report(
            &input.generics,
            "an `ApiError` cannot be generic, since its problems are a fixed set: store the generic part as a \
             `Box<dyn Error + Send + Sync>`",
        );
        return None;
    }
    if let Data::Union(data) = &input.data {
        sink.push(syn::Error::new(
            data.union_token.span(),
            "an `ApiError` cannot be a union: write an enum or a struct",
        ));
        return None;
    }
    let cases = cases(&input, sink);
    check_codes(&cases, sink);
    let items = if sink.failed() {
        expand::stub(&input.ident)
    } else {
        expand::implementations(&input.ident, &cases)
    };
    Some(in_scope(&input, &path, &items))
}

fn cases<'a>(input: &'a DeriveInput, sink: &Sink<'_>) -> Vec<Case<'a>> {
    match &input.data {
        Data::Struct(data) => {
            let problem = Problem::parse(&input.attrs, &input.ident, &data.fields, sink);
            vec![case((quote!(Self), None), &data.fields, problem, sink)]
                .into_iter()
                .flatten()
                .collect()
        }
        Data::Enum(data) => {
            for attribute in input
                .attrs
                .iter()
                .filter(|attribute| attribute.path().is_ident("problem"))
            {
                sink.report(
                    attribute,
                    "`#[problem]` belongs on the variants of an enum: move it there",
                );
            }
            let parse = |variant: &'a syn::Variant| {
                let name = &variant.ident;
                let problem = Problem::parse(&variant.attrs, name, &variant.fields, sink);
                case(
                    (quote!(Self::#name), Some(name)),
                    &variant.fields,
                    problem,
                    sink,
                )
            };
            data.variants.iter().filter_map(parse).collect()
        }
        Data::Union(_) => Vec::new(),
    }
}

/// Reports a case that has the same code as an earlier case, but another category, status or title.
/// Clients choose their reaction by the code, so each code has one meaning. The codes of different
/// error types are compared when an API starts.
fn check_codes(cases: &[Case<'_>], sink: &Sink<'_>) {
    let declared: Vec<_> = expand::declared(cases).collect();
    for (index, (case, problem)) in declared.iter().enumerate() {
        let other = declared[..index]
            .iter()
            .find(|(_, other)| problem.conflicts_with(other));
        if let (Some((other, _)), Some(name)) = (other, case.name) {
            let (code, other) = (
                &problem.code,
                other.name.map(ToString::to_string).unwrap_or_default(),
            );
            sink.report(
                name,
                format!(
                    "`{other}` has the same code `{code}` with another category, status or title: change one code"
                ),
            );
        }
    }
}

/// Combines the parts of a case. Reports an error if the case has extension fields and its problem
/// does not allow them.
fn case<'a>(
    (path, name): (TokenStream, Option<&'a Ident>),
    fields: &'a Fields,
    problem: Option<Problem>,
    sink: &Sink<'_>,
) -> Option<Case<'a>> {
    let extensions = extension::extensions(fields, sink);
    let problem = problem?;
    if let (Some(message), Some(extension)) = (problem.extension_error(), extensions.first()) {
        sink.report(&extension.field, message);
    }
    Some(Case {
        path,
        name,
        fields,
        problem,
        extensions,
    })
}
