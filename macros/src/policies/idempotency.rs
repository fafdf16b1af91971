//! `idempotent`, `idempotent(…)`, `not_idempotent = "reason"`: the effect of a retry.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Ident, Type, TypePath};

use super::{Endpoint, Policy, Reason, duration};
use crate::bounds::{MAX_STORED_BODY, MAX_TTL, MIN_TTL};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::grammar;
use crate::parse::{Argument, Form, Item, Kind, Options, Value, field_name, units};

const REASON: &str = "not_idempotent = \"why a retry is harmless\"";

/// The declaration about retries. Both fields are set only if the user writes both keys, which is
/// an error.
#[derive(Default)]
pub(crate) struct Idempotency {
    idempotent: Option<Idempotent>,
    not_idempotent: Option<Reason>,
}

/// `idempotent` with its options.
struct Idempotent {
    key: Ident,
    ttl: Option<Duration>,
    max_stored_body: Option<u64>,
    optional: bool,
    anonymous: bool,
    on_crash: Option<&'static str>,
    headers: Vec<String>,
}

impl Policy for Idempotency {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        match argument.name().as_str() {
            "idempotent" => self.idempotent = Some(Idempotent::parse(argument, sink)),
            "not_idempotent" => self.not_idempotent = Some(Reason::parse(argument, REASON, sink)),
            other => grammar::unread_option("endpoint", other),
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        match (&self.idempotent, &self.not_idempotent) {
            (Some(_), Some(reason)) => {
                sink.report(
                    &reason.key,
                    "`idempotent` and `not_idempotent` exclude each other: remove one",
                );
            }
            (Some(idempotent), None) => idempotent.check(endpoint, sink),
            (None, Some(reason)) if endpoint.spec.route.is("get") => {
                sink.report(
                    &reason.key,
                    "a GET changes nothing, so a retry is harmless: remove `not_idempotent`",
                );
            }
            (None, Some(_)) => {}
            (None, None) => check_declared(endpoint, sink),
        }
    }

    fn spec(&self) -> TokenStream {
        let policy = match (&self.idempotent, &self.not_idempotent) {
            (Some(idempotent), _) => {
                let spec = idempotent.expand();
                quote!(Idempotent(#spec))
            }
            (None, Some(Reason { text, .. })) => quote!(NotIdempotent { reason: #text }),
            (None, None) => return TokenStream::new(),
        };
        quote!(.with_idempotency(__aplomb::policies::idempotency::IdempotencyPolicy::#policy))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let mut assertions = self.assert_step_keys_exist(endpoint);
        assertions.extend(self.assert_response_is_storable(endpoint));
        assertions
    }
}

impl Idempotency {
    /// Asserts that no argument is `StepKeys` if a request may have no idempotency key. If requests
    /// never have a key, an argument `Option<StepKeys>` is an error too, because it would always be
    /// `None`.
    fn assert_step_keys_exist(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let rest = match &self.idempotent {
            Some(Idempotent {
                optional: false, ..
            }) => return TokenStream::new(),
            Some(_) => {
                "but a request without a key has none: take `Option<StepKeys>`, or remove `optional`"
            }
            None => {
                "which only a request with an idempotency key has: write `idempotent`, or remove the argument"
            }
        };
        let message = format!("`{}` takes `StepKeys`, {rest}", endpoint.name());
        let assertion = |ty| {
            let optional = self.idempotent.is_none() && is_option(ty);
            let probe = if optional {
                quote!(MAY_BE_STEP_KEYS)
            } else {
                quote!(IS_STEP_KEYS)
            };
            let takes = quote!(__aplomb::__private::Probe::<#ty>::#probe, #message);
            call_at(ty, "assert_no_step_keys", &takes)
        };
        endpoint
            .function
            .arguments()
            .into_iter()
            .map(assertion)
            .collect()
    }

    /// Asserts that the response is not a stream, since a stream cannot be stored for replay.
    fn assert_response_is_storable(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let (Some(_), Some(ty)) = (&self.idempotent, endpoint.function.named_result()) else {
            return TokenStream::new();
        };
        let message = format!(
            "`{}` is `idempotent` but returns a stream, which cannot be stored for replay: return the whole \
             body, or write `{REASON}`",
            endpoint.name()
        );
        call_at(
            ty,
            "assert_not_a_stream",
            &quote!(__aplomb::__private::Probe::<#ty>::IS_STREAM, #message),
        )
    }
}

impl Idempotent {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let key = argument.key.clone();
        let mut idempotent = Self {
            key,
            ttl: None,
            max_stored_body: None,
            optional: false,
            anonymous: false,
            on_crash: None,
            headers: Vec::new(),
        };
        match &argument.form {
            Form::List(items) => idempotent.parse_options(items, sink),
            Form::Flag => {}
            Form::Value(value) => sink.report(
                &value.tokens,
                "`idempotent` is a flag and takes no value: write `idempotent`, or `idempotent(ttl = \"24h\")`",
            ),
        }
        idempotent
    }

    fn parse_options(&mut self, items: &[Item], sink: &Sink<'_>) {
        for (name, option) in (Options {
            of: "idempotent",
            keys: &grammar::options("idempotent"),
        })
        .read(items, sink)
        {
            match name {
                "ttl" => self.ttl = ttl(option, sink),
                "max_stored_body" => self.max_stored_body = max_stored_body(option, sink),
                "optional" => self.optional = option.flag(sink),
                "anonymous" => self.anonymous = option.flag(sink),
                "headers" => self.headers = headers(option, sink),
                "on_crash" => {
                    let found = option.one_of(&["rerun", "unknown"], sink);
                    self.on_crash = found.map(|(name, _)| name);
                }
                other => grammar::unread_option("idempotent", other),
            }
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if endpoint.spec.route.is("get") {
            sink.report(
                &self.key,
                "a GET changes nothing, so a retry is harmless: remove `idempotent`",
            );
            return;
        }
        if endpoint.spec.access.is_public() && !self.anonymous && !self.optional {
            sink.report(
                &self.key,
                "`idempotent` needs a caller, which a `public` endpoint does not have: write \
                 `idempotent(anonymous)`, where the key itself is the secret",
            );
        }
        for multipart in endpoint
            .function
            .arguments()
            .into_iter()
            .filter_map(multipart_in)
        {
            sink.report(
                &multipart,
                format!(
                    "`idempotent` cannot compare multipart bodies, since each attempt has another boundary: \
                     read the body as `Json` or `Bytes`, or write `{REASON}`"
                ),
            );
        }
        if let Some(ty) = endpoint.function.opaque_result() {
            sink.report(
                ty,
                "`idempotent` needs a named return type, to check that the response can be stored: write the type \
                 instead of `impl …`",
            );
        }
    }

    fn expand(&self) -> TokenStream {
        let mut spec = quote!(__aplomb::policies::idempotency::IdempotencySpec::new());
        if let Some(ttl) = self.ttl {
            let ttl = duration(ttl);
            spec.extend(quote!(.with_ttl(#ttl)));
        }
        if let Some(bytes) = self.max_stored_body {
            spec.extend(quote!(.with_max_stored_body(#bytes)));
        }
        if !self.headers.is_empty() {
            let headers = &self.headers;
            spec.extend(quote!(.with_headers(&[#(#headers),*])));
        }
        for (given, call) in [
            (self.optional, quote!(.optional())),
            (self.anonymous, quote!(.anonymous())),
            (self.on_crash == Some("rerun"), quote!(.rerun_on_crash())),
            (
                self.on_crash == Some("unknown"),
                quote!(.unknown_on_crash()),
            ),
        ] {
            if given {
                spec.extend(call);
            }
        }
        spec
    }
}

/// Reports a POST or PATCH without a declaration about retries.
fn check_declared(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    let route = &endpoint.spec.route;
    let Some(method) = route
        .method()
        .filter(|_| route.is("post") || route.is("patch"))
    else {
        return;
    };
    if !endpoint.spec.incomplete {
        let name = method.to_string().to_uppercase();
        sink.report(
            method,
            format!("a {name} endpoint must declare retries: write `idempotent`, or `{REASON}`"),
        );
    }
}

/// Parses `max_stored_body = "256KiB"`. `0B` is valid: no body is stored.
fn max_stored_body(option: &Argument, sink: &Sink<'_>) -> Option<u64> {
    let (text, value) = option.text("max_stored_body = \"256KiB\"", sink)?;
    match units::size(&text) {
        Ok(bytes) if bytes <= MAX_STORED_BODY => return Some(bytes),
        Ok(_) => sink.report(
            &value.tokens,
            format!("\"{text}\" is too large: write at most `max_stored_body = \"16MiB\"`"),
        ),
        Err(_) if units::duration(&text).is_ok() => sink.report(
            &value.tokens,
            format!("`max_stored_body` takes a size, not a duration: write `ttl = \"{text}\"`, or `max_stored_body = \"256KiB\"`"),
        ),
        Err(message) => sink.report(&value.tokens, message),
    }
    None
}

/// Parses `ttl = "24h"`.
fn ttl(option: &Argument, sink: &Sink<'_>) -> Option<Duration> {
    let (text, value) = option.text("ttl = \"24h\"", sink)?;
    let ttl = units::duration(&text)
        .map_err(|message| sink.report(&value.tokens, message))
        .ok()?;
    if ttl > MAX_TTL {
        sink.report(
            &value.tokens,
            format!("\"{text}\" is too long: write at most `ttl = \"365d\"`"),
        );
        return None;
    }
    if ttl < MIN_TTL {
        sink.report(
            &value.tokens,
            format!("\"{text}\" is too short, since a crashed process blocks its key for 30s: write at least `ttl = \"30s\"`"),
        );
        return None;
    }
    Some(ttl)
}

/// Parses `headers("x-region", "x-tier")` into lower-case names.
fn headers(option: &Argument, sink: &Sink<'_>) -> Vec<String> {
    const EXAMPLE: &str = "headers(\"x-region\")";
    let Form::List(items) = &option.form else {
        sink.report(
            option,
            format!("`headers` takes a list of header names: write `{EXAMPLE}`"),
        );
        return Vec::new();
    };
    if items.is_empty() {
        sink.report(
            option,
            format!("`headers` needs a header name: write `{EXAMPLE}`, or remove `headers`"),
        );
    }
    let mut names: Vec<String> = Vec::new();
    for item in items {
        match item {
            Item::Value(Value {
                kind: Kind::Text(name),
                tokens,
            }) => match retry_header(name, &names) {
                Ok(name) => names.push(name),
                Err(message) => sink.report(tokens, message),
            },
            Item::Value(Value { tokens, .. }) => {
                sink.report(
                    tokens,
                    format!("`headers` takes string literals: write `{EXAMPLE}`"),
                );
            }
            Item::Option(other) => {
                sink.report(
                    other,
                    format!("`headers` takes string literals: write `{EXAMPLE}`"),
                );
            }
        }
    }
    names
}

/// Returns the lower-case name of a header that a retry must repeat, or an error message.
fn retry_header(name: &str, earlier: &[String]) -> Result<String, String> {
    let lower = field_name(name)?;
    let reject = |reason: &str| Err(format!("`{name}` {reason}"));
    match lower.as_str() {
        _ if earlier.contains(&lower) => reject("is given twice: remove one"),
        "idempotency-key" => reject("identifies the request and is always compared: remove it"),
        "content-type" => reject("is always compared: remove it"),
        "authorization" | "proxy-authorization" | "cookie" => reject(
            "can change between a request and its retry, and the caller is always compared: remove it",
        ),
        name if PER_ATTEMPT_HEADERS.contains(&name) => {
            reject("can differ in each attempt, so a retry would be refused: remove it")
        }
        _ => Ok(lower),
    }
}

/// Headers that can have another value in a retry, because they describe one attempt, one
/// connection or the route through proxies. The names are in lower case.
const PER_ATTEMPT_HEADERS: [&str; 17] = [
    "baggage",
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// Returns true if the type is written as `Option<…>`.
fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// Returns the multipart extractor in the type of an argument, also inside `Option` or `Result`.
///
/// It is recognized only by its name, so an extractor that is imported under another name is
/// missed.
fn multipart_in(ty: &Type) -> Option<TypePath> {
    struct Finder(Option<TypePath>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_path(&mut self, ty: &'ast TypePath) {
            const NAMES: [&str; 3] = ["Multipart", "TypedMultipart", "BaseMultipart"];
            if ty
                .path
                .segments
                .last()
                .is_some_and(|last| NAMES.iter().any(|name| last.ident == name))
            {
                self.0.get_or_insert_with(|| ty.clone());
            }
            visit::visit_type_path(self, ty);
        }
    }
    let mut finder = Finder(None);
    finder.visit_type(ty);
    finder.0
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors, read};

    #[test]
    fn all_forms_are_accepted() {
        for (text, call) in [
            ("idempotent", "Idempotent(IdempotencySpec::new())"),
            (
                "idempotent(ttl = \"2h\")",
                "Idempotent(IdempotencySpec::new().with_ttl(Duration::from_millis(7200000u64)))",
            ),
            (
                "idempotent(max_stored_body = \"256KiB\")",
                "Idempotent(IdempotencySpec::new().with_max_stored_body(262144u64))",
            ),
            (
                "idempotent(max_stored_body = \"0B\")",
                "Idempotent(IdempotencySpec::new().with_max_stored_body(0u64))",
            ),
            (
                "idempotent(on_crash = unknown)",
                "Idempotent(IdempotencySpec::new().unknown_on_crash())",
            ),
            (
                "idempotent(on_crash = rerun, anonymous, optional)",
                "Idempotent(IdempotencySpec::new().optional().anonymous().rerun_on_crash())",
            ),
            (
                "idempotent(headers(\"X-Region\", \"x-tier\"))",
                "Idempotent(IdempotencySpec::new().with_headers(&[\"x-region\",\"x-tier\"]))",
            ),
            ("not_idempotent = \"no\"", "NotIdempotent{reason:\"no\"}"),
        ] {
            let calls = calls(&format!("post = \"/a\", {text}"));
            assert_eq!(
                calls,
                format!(".with_idempotency(IdempotencyPolicy::{call})")
            );
        }
        assert_eq!(calls("put = \"/a\""), "");
        assert!(errors("delete = \"/a\", idempotent").is_empty());
    }

    #[test]
    fn a24_a_post_or_patch_must_declare_retries_and_a_get_must_not() {
        for (attribute, message) in [
            ("post = \"/a\"", "must declare retries"),
            ("patch = \"/a\"", "a PATCH endpoint"),
            ("get = \"/a\", idempotent", "remove `idempotent`"),
            (
                "get = \"/a\", not_idempotent = \"x\"",
                "remove `not_idempotent`",
            ),
            (
                "post = \"/a\", idempotent, not_idempotent = \"x\"",
                "remove one",
            ),
            ("post = \"/a\", not_idempotent = \" \"", "needs a reason"),
            ("post = \"/a\", not_idempotent", "needs a value"),
            ("post = \"/a\", idempotent = true", "takes no value"),
            (
                "post = \"/a\", idempotent(ttl = \"5\")",
                "is not a duration",
            ),
            ("post = \"/a\", idempotent(ttl)", "needs a value"),
            (
                "post = \"/a\", idempotent(ttl = \"29s\")",
                "write at least `ttl",
            ),
            ("post = \"/a\", idempotent(headers)", "write `headers("),
            (
                "post = \"/a\", idempotent(headers = \"x-a\")",
                "write `headers(",
            ),
            (
                "post = \"/a\", idempotent(headers())",
                "needs a header name",
            ),
            (
                "post = \"/a\", idempotent(headers(x))",
                "takes string literals",
            ),
            (
                "post = \"/a\", idempotent(headers(1))",
                "takes string literals",
            ),
            (
                "post = \"/a\", idempotent(headers(\"x a\"))",
                "is not a header name",
            ),
            (
                "post = \"/a\", idempotent(headers(\"\"))",
                "is not a header name",
            ),
            (
                "post = \"/a\", idempotent(headers(\"x\", \"X\"))",
                "is given twice",
            ),
            (
                "post = \"/a\", idempotent(headers(\"Authorization\"))",
                "can change",
            ),
            (
                "post = \"/a\", idempotent(headers(\"X-Request-Id\"))",
                "differ in each attempt",
            ),
            (
                "post = \"/a\", idempotent(headers(\"idempotency-key\"))",
                "is always compared",
            ),
            (
                "post = \"/a\", idempotent, on_crash = rerun",
                "an option of `idempotent`",
            ),
            (
                "post = \"/a\", idempotent(tll = \"5h\")",
                "did you mean `ttl`?",
            ),
            (
                "post = \"/a\", idempotent(optional, optional)",
                "given twice",
            ),
            (
                "post = \"/a\", idempotent(\"24h\")",
                "expected an option of `idempotent`",
            ),
            (
                "post = \"/a\", idempotent(on_crash = retry)",
                "expected one of `rerun`, `unknown`",
            ),
            ("post = \"/a\", idempotent, public", "idempotent(anonymous)"),
        ] {
            let errors = errors(attribute);
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{attribute}: {errors:?}"
            );
        }
    }

    #[test]
    fn a21_the_size_of_stored_bodies_has_a_unit_and_a_maximum() {
        for (option, message) in [
            (
                "max_stored_body",
                "needs a value: write `max_stored_body = \"256KiB\"`",
            ),
            ("max_stored_body(\"1KB\")", "takes one value"),
            ("max_stored_body = 1024", "a string literal"),
            ("max_stored_body = \"1024\"", "is not a size"),
            ("max_stored_body = \"1kb\"", "unknown unit"),
            (
                "max_stored_body = \"17MiB\"",
                "write at most `max_stored_body",
            ),
            (
                "max_stored_body = \"99999999999999999999KB\"",
                "is too large",
            ),
            (
                "max_stored_body = \"18446744073709551615KB\"",
                "is too large",
            ),
            ("max_stored_body = \"24h\"", "write `ttl = \"24h\"`"),
            (
                "max_stored_body = \"1KB\", max_stored_body = \"2KB\"",
                "given twice",
            ),
        ] {
            let errors = errors(&format!("post = \"/a\", idempotent({option})"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{option}: {errors:?}"
            );
        }
        let outside = errors("put = \"/a\", max_stored_body = \"1KB\"");
        assert!(
            outside.len() == 1 && outside[0].contains("an option of `idempotent`"),
            "{outside:?}"
        );
        assert!(errors("post = \"/a\", idempotent(max_stored_body = \"16MiB\")").is_empty());
    }

    #[test]
    fn a22_the_ttl_has_a_unit_and_bounds() {
        for (option, message) in [
            ("ttl = \"0s\"", "is too short"),
            ("ttl = \"29s\"", "write at least `ttl"),
            ("ttl = \"366d\"", "write at most `ttl"),
            ("ttl = \"a day\"", "is not a duration"),
            ("ttl = \"1w\"", "unknown unit"),
            ("ttl = \"256KiB\"", "unknown unit"),
            ("ttl = 24", "a string literal"),
        ] {
            let errors = errors(&format!("post = \"/a\", idempotent({option})"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{option}: {errors:?}"
            );
        }
        assert!(errors("post = \"/a\", idempotent(ttl = \"30s\")").is_empty());
        assert!(errors("post = \"/a\", idempotent(ttl = \"365d\")").is_empty());
    }

    #[test]
    fn a06_multipart_bodies_and_opaque_responses_are_rejected() {
        let attribute = "post = \"/a\", idempotent";
        for ty in [
            "Multipart",
            "axum::extract::Multipart",
            "Option<Multipart>",
            "Result<Multipart, MultipartRejection>",
            "TypedMultipart<Upload>",
        ] {
            let multipart = read(attribute, &format!("async fn f(a: {ty}) {{}}")).1;
            assert!(
                multipart.len() == 1 && multipart[0].contains("multipart"),
                "{ty}: {multipart:?}"
            );
        }
        for ty in ["Json<MultipartPlan>", "Bytes", "multipart::Plan"] {
            let others = read(attribute, &format!("async fn f(a: {ty}) {{}}")).1;
            assert!(others.is_empty(), "{ty}: {others:?}");
        }
        let opaque = read(attribute, "async fn f() -> impl IntoResponse {}").1;
        assert!(
            opaque.len() == 1 && opaque[0].contains("needs a named return type"),
            "{opaque:?}"
        );
    }
}
