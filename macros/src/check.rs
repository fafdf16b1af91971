//! The rules that need the whole endpoint: first the rules of the signature, then the rules of each
//! policy.

use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{FnArg, GenericParam, Lifetime, Safety, Signature, TraitBound, Type};

use crate::bounds::MAX_ARGUMENTS;
use crate::errors::Sink;
use crate::policies::Endpoint;

/// Reports every violated rule.
pub(crate) fn check(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    check_qualifiers(&endpoint.function.signature, sink);
    check_generics(&endpoint.function.signature, sink);
    check_arguments(&endpoint.function.signature, sink);
    check_return_type(&endpoint.function.signature, sink);
    check_single_endpoint(endpoint, sink);
    for policy in endpoint.spec.policies() {
        policy.check(endpoint, sink);
    }
}

fn check_qualifiers(signature: &Signature, sink: &Sink<'_>) {
    if let Safety::Unsafe(token) = &signature.safety {
        sink.report(
            token,
            "an endpoint cannot be `unsafe`: move the unsafe code to another function",
        );
    }
    if let Some(abi) = &signature.abi {
        sink.report(
            abi,
            "an endpoint cannot be `extern`: remove `extern` and the ABI",
        );
    }
    if let Some(constness) = &signature.constness {
        sink.report(constness, "an endpoint cannot be `const`: write `async fn`");
    } else if signature.asyncness.is_none() {
        sink.report(
            &signature.fn_token,
            "an endpoint must be async: write `async fn`",
        );
    }
}

fn check_generics(signature: &Signature, sink: &Sink<'_>) {
    let has_only_lifetimes = signature
        .generics
        .params
        .iter()
        .all(|param| matches!(param, GenericParam::Lifetime(_)));
    if !signature.generics.params.is_empty() && has_only_lifetimes {
        sink.report(
            &signature.generics,
            "an endpoint cannot have lifetimes, since extractors own their data: write owned types",
        );
    } else if !signature.generics.params.is_empty() {
        sink.report(
            &signature.generics,
            "an endpoint cannot be generic, since a request does not choose types: write concrete types, and \
             call a generic function",
        );
    } else if let Some(clause) = &signature.generics.where_clause {
        sink.report(
            clause,
            "an endpoint cannot have a `where` clause, since it cannot be generic: remove the clause",
        );
    }
}

fn check_arguments(signature: &Signature, sink: &Sink<'_>) {
    for argument in &signature.inputs {
        match argument {
            FnArg::Receiver(receiver) => {
                sink.report(
                    receiver,
                    "an endpoint cannot be a method: write a free function, and take shared data as `State(app): State<App>`",
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
                        "an argument cannot have `#[cfg]`: write two functions, each with its own `#[cfg]`",
                    );
                } else {
                    check_argument_type(&argument.ty, signature, sink);
                }
            }
        }
    }
    if let Some(argument) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        sink.report(
            argument,
            format!("an endpoint takes at most {MAX_ARGUMENTS} arguments: combine extractors in a struct with `#[derive(FromRequestParts)]`"),
        );
    }
}

/// Reports the first part of an argument's type that the generated implementation cannot name.
fn check_argument_type(ty: &Type, signature: &Signature, sink: &Sink<'_>) {
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

/// Leaves the error about a `_` in the return type to rustc. The policies check all other types.
fn check_return_type(signature: &Signature, sink: &Sink<'_>) {
    let mut finder = Unnameable::default();
    finder.visit_return_type(&signature.output);
    if finder.placeholder {
        sink.leave_to_rustc();
    }
}

/// Finds the first part of a type that the generated implementation cannot name.
#[derive(Default)]
struct Unnameable {
    /// True if the type contains `_`, which rustc rejects in a signature.
    placeholder: bool,
    /// The tokens and the error message.
    found: Option<(proc_macro2::TokenStream, &'static str)>,
    /// The lifetimes that the function declares. The error about a lifetime in this list is
    /// reported at its declaration.
    declared: Vec<Lifetime>,
}

impl Unnameable {
    fn record(&mut self, tokens: &impl ToTokens, message: &'static str) {
        self.found
            .get_or_insert_with(|| (tokens.to_token_stream(), message));
    }
}

impl<'ast> Visit<'ast> for Unnameable {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        self.record(
            ty,
            "an argument needs a named type: write the extractor's type instead of `impl …`",
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
            _ => self.record(
                ty,
                "an argument cannot be a reference, since extractors own their data: write an owned type",
            ),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" && !self.declared.contains(lifetime) {
            self.record(
                lifetime,
                "an argument cannot have a lifetime, since extractors own their data: write an owned type",
            );
        }
    }

    // The lifetimes that `for<'a>` declares are valid inside this bound, so they are not errors.
    fn visit_trait_bound(&mut self, bound: &'ast TraitBound) {
        let declared = self.declared.len();
        let lifetimes = bound.lifetimes.iter().flat_map(|bound| &bound.lifetimes);
        self.declared
            .extend(lifetimes.filter_map(|lifetime| match lifetime {
                GenericParam::Lifetime(lifetime) => Some(lifetime.lifetime.clone()),
                _ => None,
            }));
        visit::visit_trait_bound(self, bound);
        self.declared.truncate(declared);
    }

    // Function types are not visited: elided and bound lifetimes are valid in them.
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
            "a function can be only one endpoint: write a second function that calls this one, or serve several \
             versions with `version = 1..=2`",
        );
    }
}
