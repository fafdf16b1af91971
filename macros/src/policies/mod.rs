//! The promises: one file a policy, each in the same order: keys, struct, parse, check, expand,
//! tests.

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

/// What every policy does.
pub(crate) trait Policy {
    /// Takes one argument of the policy's keys.
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>);

    /// Reports the rules that the endpoint as a whole breaks.
    fn check(&self, _: &Endpoint<'_>, _: &Sink<'_>) {}

    /// The calls of `EndpointSpec`'s builder.
    fn spec(&self) -> TokenStream {
        TokenStream::new()
    }

    /// The assertions that only the compiler can decide, each a call spanned at the user's tokens.
    fn assertions(&self, _: &Endpoint<'_>) -> TokenStream {
        TokenStream::new()
    }
}

/// One endpoint: what is declared, and on what.
pub(crate) struct Endpoint<'a> {
    /// The attribute.
    pub(crate) spec: &'a Spec,
    /// The function below it.
    pub(crate) function: &'a Function,
}

impl Endpoint<'_> {
    /// The name of the generated type.
    pub(crate) fn name(&self) -> &syn::Ident {
        self.spec
            .type_name
            .name()
            .unwrap_or(&self.function.signature.ident)
    }
}

/// `key = "reason"`: a decision that must say why.
pub(crate) struct Reason {
    /// The key, for messages.
    pub(crate) key: syn::Ident,
    /// Why.
    pub(crate) text: String,
}

impl Reason {
    /// Reads a reason; an empty one is reported.
    pub(crate) fn parse(argument: &Argument, example: &str, sink: &Sink<'_>) -> Self {
        let mut reason = Self {
            key: argument.key.clone(),
            text: String::new(),
        };
        if let Some((text, value)) = argument.text(example, sink) {
            if text.trim().is_empty() {
                sink.report(
                    &value.tokens,
                    format!("a reader will ask why: write `{example}`"),
                );
            }
            reason.text = text;
        }
        reason
    }
}

/// A duration as a constant expression.
pub(crate) fn duration(value: std::time::Duration) -> TokenStream {
    let milliseconds = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    quote::quote!(::core::time::Duration::from_millis(#milliseconds))
}

/// Reads an attribute as the tests of the policies write it: what it declares, and the mistakes.
#[cfg(test)]
pub(crate) fn read(attribute: &str, function: &str) -> (Spec, Vec<String>) {
    use crate::errors::Diagnostics;

    let mistakes = Diagnostics::new();
    let spec = {
        let sink = mistakes.sink();
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
    (spec, mistakes.into_messages())
}

/// The mistakes of an attribute on `async fn f() {}`.
#[cfg(test)]
pub(crate) fn mistakes(attribute: &str) -> Vec<String> {
    read(attribute, "async fn f() {}").1
}

/// The builder calls of an attribute without mistakes, without the paths of the runtime's names.
#[cfg(test)]
pub(crate) fn calls(attribute: &str) -> String {
    let (spec, mistakes) = read(attribute, "async fn f() {}");
    assert!(mistakes.is_empty(), "{mistakes:?}");
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
