//! The validated model of one `#[endpoint(…)]` attribute: one field for each policy.

use crate::errors::Sink;
use crate::grammar;
use crate::parse::{Argument, arguments};
use crate::policies::{self, Policy};

/// Declares the struct `Spec` with one field for each policy. Each policy is given as `module:
/// Type`.
macro_rules! policies {
    ($($name:ident: $policy:ident,)*) => {
        /// The declarations of an attribute.
        #[derive(Default)]
        pub(crate) struct Spec {
            $(pub(crate) $name: policies::$name::$policy,)*
            /// True if an argument is unknown or cannot be parsed. Such an argument may be a
            /// required key with a typo, so missing keys are not reported.
            pub(crate) incomplete: bool,
        }

        impl Spec {
            /// Returns all policies, in the order of the specification's builder calls.
            pub(crate) fn policies(&self) -> Vec<&dyn Policy> {
                vec![$(&self.$name),*]
            }
        }
    };
}

policies! {
    route: Route,
    type_name: TypeName,
    crate_path: CratePath,
    version: Version,
    deprecation: Deprecation,
    idempotency: Idempotency,
    rate_limit: RateLimits,
    paginate: Pagination,
    timeout: Timeout,
    body_limit: BodyLimit,
    access: Access,
}

impl Spec {
    /// Parses the attribute's tokens, and passes each argument to its policy.
    pub(crate) fn parse(tokens: proc_macro2::TokenStream, sink: &Sink<'_>) -> Self {
        let syntax = sink.child();
        let arguments = arguments(tokens, &syntax);
        let mut spec = Self {
            incomplete: syntax.failed(),
            ..Self::default()
        };
        for (index, argument) in arguments.iter().enumerate() {
            spec.accept(argument, &arguments[..index], sink);
        }
        spec
    }

    fn accept(&mut self, argument: &Argument, earlier: &[Argument], sink: &Sink<'_>) {
        let name = argument.name();
        let Some(key) = grammar::key(&name) else {
            self.incomplete = true;
            sink.report(&argument.key, grammar::unknown_key_message(&name));
            return;
        };
        if !key.repeatable && earlier.iter().any(|other| other.name() == name) {
            sink.report(
                &argument.key,
                format!("`{name}` is given twice: remove one"),
            );
            return;
        }
        (key.policy)(self).parse(argument, sink);
    }
}
