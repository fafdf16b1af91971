//! The policies of an endpoint, one file for each. All files have the same order: keys, struct,
//! parse, check, expand, tests.

pub(crate) mod access;
pub(crate) mod body_limit;
pub(crate) mod crate_path;
pub(crate) mod deprecation;
pub(crate) mod idempotency;
pub(crate) mod paginate;
pub(crate) mod rate_limit;
pub(crate) mod route;
pub(crate) mod timeout;
pub(crate) mod type_name;
pub(crate) mod version;

use proc_macro2::TokenStream;

use crate::errors::Sink;
use crate::parse::{Argument, Function};
use crate::spec::Spec;

/// A policy. It parses its keys, checks its rules and generates its part of the specification.
pub(crate) trait Policy {
    /// Parses one argument, whose key belongs to the policy.
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>);

    /// Reports violations of the rules that need the whole endpoint.
    fn check(&self, _: &Endpoint<'_>, _: &Sink<'_>) {}

    /// Generates the builder calls on `EndpointSpec`.
    fn spec(&self) -> TokenStream {
        TokenStream::new()
    }

    /// Generates the assertions that need type information. Only the compiler can evaluate them.
    /// Each assertion is a call with the span of the user's tokens.
    fn assertions(&self, _: &Endpoint<'_>) -> TokenStream {
        TokenStream::new()
    }
}

/// One endpoint: the attribute and the function.
pub(crate) struct Endpoint<'a> {
    /// The declarations of the attribute.
    pub(crate) spec: &'a Spec,
    /// The function below the attribute.
    pub(crate) function: &'a Function,
}

impl Endpoint<'_> {
    /// Returns the name of the generated type.
    pub(crate) fn name(&self) -> &syn::Ident {
        self.spec
            .type_name
            .name()
            .unwrap_or(&self.function.signature.ident)
    }
}

/// A reason: `key = "text"`, in which the text is not empty.
pub(crate) struct Reason {
    /// The key, for messages.
    pub(crate) key: syn::Ident,
    /// The reason.
    pub(crate) text: String,
}

impl Reason {
    /// Parses a reason. Reports an empty text.
    pub(crate) fn parse(argument: &Argument, example: &str, sink: &Sink<'_>) -> Self {
        let mut reason = Self {
            key: argument.key.clone(),
            text: String::new(),
        };
        if let Some((text, value)) = argument.text(example, sink) {
            if text.trim().is_empty() {
                sink.report(
                    &value.tokens,
                    format!("`{}` needs a reason: write `{example}`", argument.name()),
                );
            }
            reason.text = text;
        }
        reason
    }
}

/// Returns a duration as a constant expression, in whole milliseconds.
pub(crate) fn duration(value: std::time::Duration) -> TokenStream {
    let milliseconds = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    quote::quote!(::core::time::Duration::from_millis(#milliseconds))
}

/// Parses and checks an attribute on a function, for tests. Returns the declarations and the error
/// messages.
#[cfg(test)]
pub(crate) fn read(attribute: &str, function: &str) -> (Spec, Vec<String>) {
    use crate::errors::Diagnostics;

    let diagnostics = Diagnostics::new();
    let spec = {
        let sink = diagnostics.sink();
        let spec = Spec::parse(attribute.parse().expect("tokens"), &sink);
        let function = Function::parse(function.parse().expect("tokens")).expect("a function");
        crate::check::check(
            &Endpoint {
                spec: &spec,
                function: &function,
            },
            &sink,
        );
        spec
    };
    (spec, diagnostics.into_messages())
}

/// Returns the error messages of an attribute on `async fn f() {}`.
#[cfg(test)]
pub(crate) fn errors(attribute: &str) -> Vec<String> {
    read(attribute, "async fn f() {}").1
}

/// Returns the builder calls of an attribute without errors. Module paths such as
/// `__aplomb::policies::` are removed from the calls.
#[cfg(test)]
pub(crate) fn calls(attribute: &str) -> String {
    let (spec, errors) = read(attribute, "async fn f() {}");
    assert!(errors.is_empty(), "{errors:?}");
    let calls: TokenStream = spec.policies().iter().map(|policy| policy.spec()).collect();
    let calls = calls
        .to_string()
        .replace(' ', "")
        .replace("__aplomb::__private::", "")
        .replace("::core::time::", "");
    let mut parts = calls.split("__aplomb::policies::");
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| {
        part.split_once("::")
            .expect("a type in the module of a policy")
            .1
    });
    std::iter::once(first).chain(rest).collect()
}
