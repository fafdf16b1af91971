//! `idempotent`, `idempotent(…)`, `not_idempotent = "reason"`: what a repeated request does.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, Ident, PathArguments, Type};

use super::{Endpoint, Policy, Reason, duration};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::grammar;
use crate::parse::{Argument, Form, Item, Kind, Options, Value, units};

/// How long a dead process blocks its key unless operators say otherwise.
const LEASE: Duration = Duration::from_secs(30);
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
    optional: bool,
    anonymous: bool,
    rerun: bool,
    headers: Vec<String>,
}

impl Policy for Idempotency {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        if argument.name() == "idempotent" {
            self.keyed = Some(Keyed::parse(argument, sink));
        } else {
            self.harmless = Some(Reason::parse(argument, REASON, sink));
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        match (&self.keyed, &self.harmless) {
            (Some(_), Some(reason)) => {
                sink.report(&reason.key, "an endpoint is `idempotent` or `not_idempotent`: remove one");
            }
            (Some(keyed), None) => keyed.check(endpoint, sink),
            (None, Some(reason)) if endpoint.spec.route.is("get") => {
                sink.report(
                    &reason.key,
                    "a GET changes nothing, so a repeat is harmless: remove `not_idempotent`",
                );
            }
            (None, Some(_)) => {}
            (None, None) => undecided(endpoint, sink),
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
        quote!(.with_idempotency(::aplomb::__private::IdempotencyPolicy::#policy))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let mut assertions = self.operation(endpoint);
        assertions.extend(self.kept(endpoint));
        assertions
    }
}

impl Idempotency {
    /// Only a request under a key is an operation.
    fn operation(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let arguments = endpoint.function.arguments();
        let instead = match &self.keyed {
            Some(Keyed { optional: false, .. }) => return TokenStream::new(),
            Some(_) => "a request without a key is none: take an `Option<Operation>`",
            None => {
                "only a request under an idempotency key is one: write `idempotent`, or remove the argument"
            }
        };
        if arguments.is_empty() {
            return TokenStream::new();
        }
        let message = format!("`{}` takes an `Operation`, and {instead}", endpoint.name());
        let takes = quote!(false #(|| ::aplomb::__private::Probe::<#arguments>::IS_OPERATION)*);
        call_at(endpoint.name(), "assert_no_operation", &quote!(#takes, #message))
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
        call_at(ty, "assert_not_a_stream", &quote!(::aplomb::__private::Probe::<#ty>::IS_STREAM, #message))
    }
}

impl Keyed {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let key = argument.key.clone();
        let mut keyed =
            Self { key, ttl: None, optional: false, anonymous: false, rerun: false, headers: Vec::new() };
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
        for (name, option) in
            (Options { of: "idempotent", keys: &grammar::options("idempotent") }).read(items, sink)
        {
            match name {
                "ttl" => self.ttl = ttl(option, sink),
                "optional" => self.optional = option.flag(sink),
                "anonymous" => self.anonymous = option.flag(sink),
                "headers" => self.headers = headers(option, sink),
                _ => self.rerun = option.one_of(&["rerun"], sink).is_some(),
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
        for ty in endpoint.function.arguments().into_iter().filter(|ty| is_multipart(ty)) {
            sink.report(
                ty,
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
        let mut spec = quote!(::aplomb::__private::IdempotencySpec::new());
        if let Some(ttl) = self.ttl {
            let ttl = duration(ttl);
            spec.extend(quote!(.with_ttl(#ttl)));
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

fn undecided(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    let route = &endpoint.spec.route;
    let Some(method) = route.method().filter(|_| route.is("post") || route.is("patch")) else { return };
    if !endpoint.spec.incomplete {
        let name = method.to_string().to_uppercase();
        sink.report(
            method,
            format!("what a repeated {name} does must be decided: write `idempotent`, or `{REASON}`"),
        );
    }
}

fn ttl(option: &Argument, sink: &Sink<'_>) -> Option<Duration> {
    let (text, value) = option.text("ttl = \"24h\"", sink)?;
    let ttl = units::duration(&text).map_err(|message| sink.report(&value.tokens, message)).ok()?;
    if ttl < LEASE {
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
        sink.report(option, format!("`headers` lists fields that a retry must repeat: write `{EXAMPLE}`"));
        return Vec::new();
    };
    if items.is_empty() {
        sink.report(option, format!("`headers` names no field: write `{EXAMPLE}`, or remove it"));
    }
    let mut names: Vec<String> = Vec::new();
    for item in items {
        match item {
            Item::Value(Value { kind: Kind::Text(name), tokens }) => match field(name, &names) {
                Ok(name) => names.push(name),
                Err(message) => sink.report(tokens, message),
            },
            Item::Value(Value { tokens, .. }) => {
                sink.report(tokens, format!("a field's name is text in quotes: write `{EXAMPLE}`"));
            }
            Item::Option(other) => {
                sink.report(other, format!("a field's name is text in quotes: write `{EXAMPLE}`"));
            }
        }
    }
    names
}

/// The name of a field that a retry must repeat, in lower case.
fn field(name: &str, before: &[String]) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let always = |why: &str| Err(format!("`{name}` {why}: remove it"));
    match lower.as_str() {
        _ if name.is_empty() || !name.bytes().all(token) => {
            Err(format!("\"{name}\" is no name of a field: write one such as \"x-region\""))
        }
        _ if before.contains(&lower) => always("is listed twice"),
        "idempotency-key" => always("is what names the operation, and is compared in any case"),
        "content-type" => always("is compared in any case"),
        "authorization" | "cookie" => {
            always("may change between a try and its retry; whoever calls is compared in any case")
        }
        _ => Ok(lower),
    }
}

/// Whether the type is `Multipart`, or that as far as it is there or can be read.
fn is_multipart(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    match &last.arguments {
        PathArguments::AngleBracketed(of) if last.ident == "Option" || last.ident == "Result" => {
            matches!(of.args.first(), Some(GenericArgument::Type(inner)) if is_multipart(inner))
        }
        _ => last.ident == "Multipart",
    }
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
            assert_eq!(calls, format!(".with_idempotency(IdempotencyPolicy::{call})"));
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
            ("get = \"/a\", not_idempotent = \"x\"", "remove `not_idempotent`"),
            ("post = \"/a\", idempotent, not_idempotent = \"x\"", "remove one"),
            ("post = \"/a\", not_idempotent = \" \"", "a reader will ask why"),
            ("post = \"/a\", not_idempotent", "needs a value"),
            ("post = \"/a\", idempotent = true", "takes no value"),
            ("post = \"/a\", idempotent(ttl = \"5\")", "is no duration"),
            ("post = \"/a\", idempotent(ttl)", "needs a value"),
            ("post = \"/a\", idempotent(ttl = \"29s\")", "less than the 30s"),
            ("post = \"/a\", idempotent(headers)", "write `headers("),
            ("post = \"/a\", idempotent(headers = \"x-a\")", "write `headers("),
            ("post = \"/a\", idempotent(headers())", "no field"),
            ("post = \"/a\", idempotent(headers(x))", "text in quotes"),
            ("post = \"/a\", idempotent(headers(1))", "text in quotes"),
            ("post = \"/a\", idempotent(headers(\"x a\"))", "is no name of a field"),
            ("post = \"/a\", idempotent(headers(\"\"))", "is no name of a field"),
            ("post = \"/a\", idempotent(headers(\"x\", \"X\"))", "is listed twice"),
            ("post = \"/a\", idempotent(headers(\"Authorization\"))", "may change"),
            ("post = \"/a\", idempotent(headers(\"idempotency-key\"))", "in any case"),
            ("post = \"/a\", idempotent, on_crash = rerun", "an option of `idempotent`"),
            ("post = \"/a\", idempotent(tll = \"5h\")", "did you mean `ttl`?"),
            ("post = \"/a\", idempotent(optional, optional)", "given twice"),
            ("post = \"/a\", idempotent(\"24h\")", "no value is expected here"),
            ("post = \"/a\", idempotent(on_crash = retry)", "accepted: `rerun`"),
            ("post = \"/a\", idempotent, public", "idempotent(anonymous)"),
        ] {
            let mistakes = mistakes(attribute);
            assert!(mistakes.len() == 1 && mistakes[0].contains(message), "{attribute}: {mistakes:?}");
        }
    }

    #[test]
    fn a06_multipart_is_refused_and_opaque_answers_too() {
        let attribute = "post = \"/a\", idempotent";
        for argument in
            ["axum::extract::Multipart", "Option<Multipart>", "Result<Multipart, MultipartRejection>"]
        {
            let multipart = read(attribute, &format!("async fn f(a: {argument}) {{}}")).1;
            assert!(multipart.len() == 1 && multipart[0].contains("multipart"), "{argument}: {multipart:?}");
        }
        for argument in ["Json<Multipart>", "Option<Bytes>", "[u8; 2]"] {
            assert!(read(attribute, &format!("async fn f(a: {argument}) {{}}")).1.is_empty(), "{argument}");
        }
        let opaque = read(attribute, "async fn f() -> impl IntoResponse {}").1;
        assert!(opaque.len() == 1 && opaque[0].contains("name the type"), "{opaque:?}");
    }
}
