//! `idempotent`, `idempotent(…)`, `not_idempotent = "reason"`: what a repeated request does.

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

const REASON: &str = "not_idempotent = \"why a repeat is harmless\"";

/// What is decided; both are set only where both are written.
#[derive(Default)]
pub(crate) struct Idempotency {
    keyed: Option<Keyed>,
    harmless: Option<Reason>,
}

struct Keyed {
    key: Ident,
    ttl: Option<Duration>,
    max_stored_body: Option<u64>,
    optional: bool,
    anonymous: bool,
    rerun: bool,
    headers: Vec<String>,
}

impl Policy for Idempotency {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        match argument.name().as_str() {
            "idempotent" => self.keyed = Some(Keyed::parse(argument, sink)),
            "not_idempotent" => self.harmless = Some(Reason::parse(argument, REASON, sink)),
            other => grammar::unread_option("endpoint", other),
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        match (&self.keyed, &self.harmless) {
            (Some(_), Some(reason)) => {
                sink.report(
                    &reason.key,
                    "an endpoint is `idempotent` or `not_idempotent`: remove one",
                );
            }
            (Some(keyed), None) => keyed.check(endpoint, sink),
            (None, Some(reason)) if endpoint.spec.route.is("get") => {
                sink.report(
                    &reason.key,
                    "a GET changes nothing, so a repeat is harmless: remove `not_idempotent`",
                );
            }
            (None, Some(_)) => {}
            (None, None) => missing_decision(endpoint, sink),
        }
    }

    fn spec(&self) -> TokenStream {
        let policy = match (&self.keyed, &self.harmless) {
            (Some(keyed), _) => {
                let spec = keyed.expand();
                quote!(Idempotent(#spec))
            }
            (None, Some(Reason { text, .. })) => quote!(NotIdempotent { reason: #text }),
            (None, None) => return TokenStream::new(),
        };
        quote!(.with_idempotency(__aplomb::policies::idempotency::IdempotencyPolicy::#policy))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let mut assertions = self.operation(endpoint);
        assertions.extend(self.kept(endpoint));
        assertions
    }
}

impl Idempotency {
    /// Only a request under a key is an operation. Where none can be, an `Option` of one is always
    /// empty, and as wrong.
    fn operation(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let instead = match &self.keyed {
            Some(Keyed {
                optional: false, ..
            }) => return TokenStream::new(),
            Some(_) => "a request without a key is none: take `Option<StepKeys>`",
            None => {
                "only a request under an idempotency key is one: write `idempotent`, or remove the argument"
            }
        };
        let message = format!("`{}` takes `StepKeys`, and {instead}", endpoint.name());
        let assertion = |ty| {
            let optional = self.keyed.is_none() && is_option(ty);
            let question = if optional {
                quote!(MAY_BE_STEP_KEYS)
            } else {
                quote!(IS_STEP_KEYS)
            };
            let takes = quote!(__aplomb::__private::Probe::<#ty>::#question, #message);
            call_at(ty, "assert_no_step_keys", &takes)
        };
        endpoint
            .function
            .arguments()
            .into_iter()
            .map(assertion)
            .collect()
    }

    fn kept(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let (Some(_), Some(ty)) = (&self.keyed, endpoint.function.named_result()) else {
            return TokenStream::new();
        };
        let message = format!(
            "`{}` is `idempotent`, whose answer is kept for a replay, but returns a stream, which cannot be kept: \
             return the whole body, or write `{REASON}`",
            endpoint.name()
        );
        call_at(
            ty,
            "assert_not_a_stream",
            &quote!(__aplomb::__private::Probe::<#ty>::IS_STREAM, #message),
        )
    }
}

impl Keyed {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let key = argument.key.clone();
        let mut keyed = Self {
            key,
            ttl: None,
            max_stored_body: None,
            optional: false,
            anonymous: false,
            rerun: false,
            headers: Vec::new(),
        };
        match &argument.form {
            Form::List(items) => keyed.options(items, sink),
            Form::Flag => {}
            Form::Value(value) => sink.report(
                &value.tokens,
                "`idempotent` is a flag and takes no value: write `idempotent`, or `idempotent(ttl = \"24h\")`",
            ),
        }
        keyed
    }

    fn options(&mut self, items: &[Item], sink: &Sink<'_>) {
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
                "on_crash" => self.rerun = option.one_of(&["rerun"], sink).is_some(),
                other => grammar::unread_option("idempotent", other),
            }
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if endpoint.spec.route.is("get") {
            sink.report(
                &self.key,
                "a GET changes nothing, so there is nothing to repeat: remove `idempotent`",
            );
            return;
        }
        if endpoint.spec.access.is_public() && !self.anonymous && !self.optional {
            sink.report(
                &self.key,
                "callers of a public endpoint have no identity that a key could belong to: \
                 write `idempotent(anonymous)`, where the key itself is the secret",
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
                "a multipart body differs each time it is sent, so `idempotent` cannot tell a repeat from another \
                 request: read the body as `Json` or `Bytes`, or write `not_idempotent = \"why a repeat is harmless\"`",
            );
        }
        if let Some(ty) = endpoint.function.opaque_result() {
            sink.report(
                ty,
                "`idempotent` keeps the answer for a replay and must know what it is: name the type instead of `impl …`",
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
            (self.rerun, quote!(.rerun_on_crash())),
        ] {
            if given {
                spec.extend(call);
            }
        }
        spec
    }
}

fn missing_decision(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
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
            format!(
                "what a repeated {name} does must be decided: write `idempotent`, or `{REASON}`"
            ),
        );
    }
}

/// Reads `max_stored_body = "256KiB"`. With `0B` no body is kept, which is a decision, too.
fn max_stored_body(option: &Argument, sink: &Sink<'_>) -> Option<u64> {
    let (text, value) = option.text("max_stored_body = \"256KiB\"", sink)?;
    match units::size(&text) {
        Ok(bytes) if bytes <= MAX_STORED_BODY => return Some(bytes),
        Ok(_) => sink.report(
            &value.tokens,
            format!("bodies of up to 16 MiB are kept at most, not of {text}: write `max_stored_body = \"16MiB\"` or less"),
        ),
        Err(_) if units::duration(&text).is_ok() => sink.report(
            &value.tokens,
            format!("`max_stored_body` is how large a body may be that is kept; for how long, `ttl` says: write `ttl = \"{text}\"`"),
        ),
        Err(message) => sink.report(&value.tokens, message),
    }
    None
}

fn ttl(option: &Argument, sink: &Sink<'_>) -> Option<Duration> {
    let (text, value) = option.text("ttl = \"24h\"", sink)?;
    let ttl = units::duration(&text)
        .map_err(|message| sink.report(&value.tokens, message))
        .ok()?;
    if ttl > MAX_TTL {
        sink.report(
            &value.tokens,
            format!("answers are kept for 365 days at most, not for {text}: write `ttl = \"365d\"` or less"),
        );
        return None;
    }
    if ttl < MIN_TTL {
        sink.report(
            &value.tokens,
            format!("answers are kept for {text} only, less than the 30s for which a dead process blocks its key: write at least `ttl = \"30s\"`"),
        );
        return None;
    }
    Some(ttl)
}

/// Reads `headers("x-region", "x-tier")`.
fn headers(option: &Argument, sink: &Sink<'_>) -> Vec<String> {
    const EXAMPLE: &str = "headers(\"x-region\")";
    let Form::List(items) = &option.form else {
        sink.report(
            option,
            format!("`headers` lists fields that a retry must repeat: write `{EXAMPLE}`"),
        );
        return Vec::new();
    };
    if items.is_empty() {
        sink.report(
            option,
            format!("`headers` names no field: write `{EXAMPLE}`, or remove it"),
        );
    }
    let mut names: Vec<String> = Vec::new();
    for item in items {
        match item {
            Item::Value(Value {
                kind: Kind::Text(name),
                tokens,
            }) => match field(name, &names) {
                Ok(name) => names.push(name),
                Err(message) => sink.report(tokens, message),
            },
            Item::Value(Value { tokens, .. }) => {
                sink.report(
                    tokens,
                    format!("a field's name is text in quotes: write `{EXAMPLE}`"),
                );
            }
            Item::Option(other) => {
                sink.report(
                    other,
                    format!("a field's name is text in quotes: write `{EXAMPLE}`"),
                );
            }
        }
    }
    names
}

/// The name of a field that a retry must repeat, in lower case.
fn field(name: &str, before: &[String]) -> Result<String, String> {
    let lower = field_name(name)?;
    let always = |why: &str| Err(format!("`{name}` {why}: remove it"));
    match lower.as_str() {
        _ if before.contains(&lower) => always("is listed twice"),
        "idempotency-key" => always("is what names the operation, and is compared in any case"),
        "content-type" => always("is compared in any case"),
        "authorization" | "proxy-authorization" | "cookie" => {
            always("may change between a try and its retry; whoever calls is compared in any case")
        }
        name if OF_ONE_TRY.contains(&name) => {
            always("can differ from try to try, and a retry would be refused")
        }
        _ => Ok(lower),
    }
}

/// Fields of one transfer, of the way that it takes, or of one request, in lower case.
const OF_ONE_TRY: [&str; 17] = [
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

fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// The multipart body that an argument reads, also in an `Option` or a `Result`. Only its name tells:
/// one that is imported under another is not seen.
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
    use crate::policies::{calls, mistakes, read};

    #[test]
    fn all_forms() {
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
        assert!(mistakes("delete = \"/a\", idempotent").is_empty());
    }

    #[test]
    fn a24_a_post_or_patch_must_decide_and_a_get_must_not() {
        for (attribute, message) in [
            ("post = \"/a\"", "must be decided"),
            ("patch = \"/a\"", "a repeated PATCH"),
            ("get = \"/a\", idempotent", "nothing to repeat"),
            (
                "get = \"/a\", not_idempotent = \"x\"",
                "remove `not_idempotent`",
            ),
            (
                "post = \"/a\", idempotent, not_idempotent = \"x\"",
                "remove one",
            ),
            (
                "post = \"/a\", not_idempotent = \" \"",
                "a reader will ask why",
            ),
            ("post = \"/a\", not_idempotent", "needs a value"),
            ("post = \"/a\", idempotent = true", "takes no value"),
            ("post = \"/a\", idempotent(ttl = \"5\")", "is no duration"),
            ("post = \"/a\", idempotent(ttl)", "needs a value"),
            (
                "post = \"/a\", idempotent(ttl = \"29s\")",
                "less than the 30s",
            ),
            ("post = \"/a\", idempotent(headers)", "write `headers("),
            (
                "post = \"/a\", idempotent(headers = \"x-a\")",
                "write `headers(",
            ),
            ("post = \"/a\", idempotent(headers())", "no field"),
            ("post = \"/a\", idempotent(headers(x))", "text in quotes"),
            ("post = \"/a\", idempotent(headers(1))", "text in quotes"),
            (
                "post = \"/a\", idempotent(headers(\"x a\"))",
                "is no name of a field",
            ),
            (
                "post = \"/a\", idempotent(headers(\"\"))",
                "is no name of a field",
            ),
            (
                "post = \"/a\", idempotent(headers(\"x\", \"X\"))",
                "is listed twice",
            ),
            (
                "post = \"/a\", idempotent(headers(\"Authorization\"))",
                "may change",
            ),
            (
                "post = \"/a\", idempotent(headers(\"X-Request-Id\"))",
                "from try to try",
            ),
            (
                "post = \"/a\", idempotent(headers(\"idempotency-key\"))",
                "in any case",
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
                "no value is expected here",
            ),
            (
                "post = \"/a\", idempotent(on_crash = retry)",
                "accepted: `rerun`",
            ),
            ("post = \"/a\", idempotent, public", "idempotent(anonymous)"),
        ] {
            let mistakes = mistakes(attribute);
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{attribute}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn a21_the_size_of_kept_bodies_has_a_unit_and_a_maximum() {
        for (option, message) in [
            (
                "max_stored_body",
                "needs a value: write `max_stored_body = \"256KiB\"`",
            ),
            ("max_stored_body(\"1KB\")", "takes one value"),
            ("max_stored_body = 1024", "text in quotes"),
            ("max_stored_body = \"1024\"", "is no size"),
            ("max_stored_body = \"1kb\"", "is no unit of size"),
            ("max_stored_body = \"17MiB\"", "16 MiB are kept at most"),
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
            let mistakes = mistakes(&format!("post = \"/a\", idempotent({option})"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{option}: {mistakes:?}"
            );
        }
        let outside = mistakes("put = \"/a\", max_stored_body = \"1KB\"");
        assert!(
            outside.len() == 1 && outside[0].contains("an option of `idempotent`"),
            "{outside:?}"
        );
        assert!(mistakes("post = \"/a\", idempotent(max_stored_body = \"16MiB\")").is_empty());
    }

    #[test]
    fn a22_the_time_to_live_has_a_unit_and_bounds() {
        for (option, message) in [
            ("ttl = \"0s\"", "is no time at all"),
            ("ttl = \"29s\"", "less than the 30s"),
            ("ttl = \"366d\"", "365 days at most"),
            ("ttl = \"a day\"", "is no duration"),
            ("ttl = \"1w\"", "is no unit of time"),
            ("ttl = \"256KiB\"", "is no unit of time"),
            ("ttl = 24", "text in quotes"),
        ] {
            let mistakes = mistakes(&format!("post = \"/a\", idempotent({option})"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{option}: {mistakes:?}"
            );
        }
        assert!(mistakes("post = \"/a\", idempotent(ttl = \"30s\")").is_empty());
        assert!(mistakes("post = \"/a\", idempotent(ttl = \"365d\")").is_empty());
    }

    #[test]
    fn a06_multipart_is_refused_and_opaque_answers_too() {
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
            opaque.len() == 1 && opaque[0].contains("name the type"),
            "{opaque:?}"
        );
    }
}
