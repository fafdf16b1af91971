//! The rules that need the whole endpoint: what its signature may be, then each policy's own.

use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{FnArg, GenericParam, Lifetime, Safety, Signature, Type};

use crate::bounds::MAX_ARGUMENTS;
use crate::errors::Sink;
use crate::policies::Endpoint;

/// Reports every broken rule.
pub(crate) fn check(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    qualifiers(&endpoint.function.signature, sink);
    arguments(&endpoint.function.signature, sink);
    result(&endpoint.function.signature, sink);
    check_single_endpoint(endpoint, sink);
    for policy in endpoint.spec.policies() {
        policy.check(endpoint, sink);
    }
}

fn qualifiers(signature: &Signature, sink: &Sink<'_>) {
    if let Safety::Unsafe(token) = &signature.safety {
        sink.report(
            token,
            "an endpoint cannot be unsafe: make the unsafe part a function of its own",
        );
    }
    if let Some(abi) = &signature.abi {
        sink.report(
            abi,
            "an endpoint has Rust's own calling convention: remove `extern`",
        );
    }
    if let Some(constness) = &signature.constness {
        sink.report(
            constness,
            "an endpoint is asynchronous and not const: write `async fn`",
        );
    } else if signature.asyncness.is_none() {
        sink.report(
            &signature.fn_token,
            "an endpoint is asynchronous: write `async fn`",
        );
    }
    let has_lifetimes_alone = signature
        .generics
        .params
        .iter()
        .all(|param| matches!(param, GenericParam::Lifetime(_)));
    if !signature.generics.params.is_empty() && has_lifetimes_alone {
        sink.report(
            &signature.generics,
            "an extractor owns what it takes from a request: remove the lifetime and write owned types",
        );
    } else if !signature.generics.params.is_empty() {
        sink.report(
            &signature.generics,
            "an endpoint cannot be generic, because a request chooses no types: \
             write the concrete types and call a generic function",
        );
    } else if let Some(clause) = &signature.generics.where_clause {
        sink.report(
            clause,
            "an endpoint cannot be generic: remove the `where` clause",
        );
    }
}

fn arguments(signature: &Signature, sink: &Sink<'_>) {
    for argument in &signature.inputs {
        match argument {
            FnArg::Receiver(receiver) => {
                sink.report(
                    receiver,
                    "an endpoint is a free function: take shared things as `State(app): State<App>`",
                );
            }
            FnArg::Typed(argument) => {
                if argument
                    .attrs
                    .iter()
                    .any(|attribute| attribute.path().is_ident("cfg"))
                {
                    sink.report(
                        argument,
                        "an argument cannot be conditional: write two functions, each with its `#[cfg]`",
                    );
                } else {
                    argument_type(&argument.ty, signature, sink);
                }
            }
        }
    }
    if let Some(argument) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        sink.report(
            argument,
            format!("an endpoint takes at most {MAX_ARGUMENTS} arguments: put several extractors into a struct with `#[derive(FromRequestParts)]`"),
        );
    }
}

/// Reports the first thing in an argument's type that an implementation cannot name.
fn argument_type(ty: &Type, signature: &Signature, sink: &Sink<'_>) {
    let declared = signature
        .generics
        .lifetimes()
        .map(|parameter| parameter.lifetime.clone())
        .collect();
    let mut finder = Unnameable {
        declared,
        ..Unnameable::default()
    };
    finder.visit_type(ty);
    match finder.found {
        Some((tokens, message)) => sink.report(&tokens, message),
        None if finder.placeholder => sink.leave_to_rustc(),
        None => {}
    }
}

fn result(signature: &Signature, sink: &Sink<'_>) {
    let mut finder = Unnameable::default();
    finder.visit_return_type(&signature.output);
    if finder.placeholder {
        sink.leave_to_rustc();
    }
}

#[derive(Default)]
struct Unnameable {
    /// A `_`, which rustc itself refuses in a signature.
    placeholder: bool,
    found: Option<(proc_macro2::TokenStream, &'static str)>,
    /// Lifetimes that the function declares, which is reported there.
    declared: Vec<Lifetime>,
}

impl Unnameable {
    fn note(&mut self, tokens: &impl ToTokens, message: &'static str) {
        self.found
            .get_or_insert_with(|| (tokens.to_token_stream(), message));
    }
}

impl<'ast> Visit<'ast> for Unnameable {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        self.note(
            ty,
            "an argument's type must be named: write the extractor's type instead of `impl …`",
        );
    }

    fn visit_type_infer(&mut self, _: &'ast syn::TypeInfer) {
        self.placeholder = true;
    }

    fn visit_type_reference(&mut self, ty: &'ast syn::TypeReference) {
        match &ty.lifetime {
            Some(lifetime) if lifetime.ident == "static" || self.declared.contains(lifetime) => {
                visit::visit_type_reference(self, ty);
            }
            _ => self.note(
                ty,
                "an extractor owns what it takes from a request: write an owned type instead of a reference",
            ),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" && !self.declared.contains(lifetime) {
            self.note(
                lifetime,
                "an extractor owns what it takes from a request: write an owned type, without a lifetime",
            );
        }
    }

    // Elided and bound lifetimes are legal in these.
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}

    fn visit_parenthesized_generic_arguments(
        &mut self,
        _: &'ast syn::ParenthesizedGenericArguments,
    ) {
    }
}

fn check_single_endpoint(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    if let Some(attribute) = endpoint.function.second_endpoint_attribute() {
        sink.report(
            attribute,
            "a function is one endpoint: write a second function that calls the first, or serve several versions \
             with `version = 1..=2`",
        );
    }
}
