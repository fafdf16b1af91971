//! `rate_limit = "100/min"`, `rate_limit("100/min", burst = 20, …)`: how often may be called.

mod by;
mod cost;

use by::By;
use cost::Cost;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::{Endpoint, Policy, duration};
use crate::bounds::{MAX_LOG, max_prefetch};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::grammar;
use crate::parse::units::{self, Rate};
use crate::parse::{Argument, Form, Item, Kind, Options, Value};

const ALGORITHMS: &[&str] = &[
    "token_bucket",
    "leaky_bucket",
    "fixed_window",
    "sliding_window",
];
const ON_ERROR: &[&str] = &["local", "deny"];

/// The limits, in the order written.
#[derive(Default)]
pub(crate) struct RateLimits {
    limits: Vec<RateLimit>,
}

struct RateLimit {
    rate: Rate,
    burst: Option<u64>,
    cost: Option<Cost>,
    algorithm: Option<&'static str>,
    by: Option<By>,
    on_error: Option<(&'static str, TokenStream)>,
    name: Option<(String, TokenStream)>,
    prefetch: Option<(u64, TokenStream)>,
    shadow: bool,
}

impl Policy for RateLimits {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        self.limits.extend(RateLimit::parse(argument, sink));
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        for by in self.limits.iter().filter_map(|limit| limit.by.as_ref()) {
            by.check(endpoint.spec.route.path(), sink);
        }
        for (_, tokens) in self
            .limits
            .iter()
            .filter_map(|limit| limit.prefetch.as_ref())
        {
            if self.limits.len() > 1 {
                sink.report(
                    tokens,
                    "tokens are taken ahead of an endpoint's only limit: remove `prefetch` or the other limits",
                );
            }
        }
        for (index, limit) in self.limits.iter().enumerate() {
            let Some((name, tokens)) = &limit.name else {
                continue;
            };
            let named =
                |other: &RateLimit| other.name.as_ref().is_some_and(|(other, _)| other == name);
            if self.limits[..index].iter().any(named) {
                sink.report(
                    tokens,
                    format!("this endpoint has two limits named `{name}`: give each its own name"),
                );
            }
        }
    }

    fn spec(&self) -> TokenStream {
        if self.limits.is_empty() {
            return TokenStream::new();
        }
        let limits = self.limits.iter().map(RateLimit::expand);
        quote!(.with_rate_limits(const { &[#(#limits),*] }))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        if !endpoint.spec.access.is_public() {
            return TokenStream::new();
        }
        let message = format!(
            "`{}` is public and limited by caller, but none of its arguments identifies one: \
             take a `Caller`, or write `by = ip`",
            endpoint.name()
        );
        let arguments = endpoint.function.arguments();
        let known = quote!(false #(|| __aplomb::__private::Probe::<#arguments>::IS_CALLER)*);
        let asserted = |limit: &RateLimit| match &limit.by {
            Some(By::Word("caller", tokens)) => Some(call_at(
                tokens,
                "assert_caller_known",
                &quote!(#known, #message),
            )),
            _ => None,
        };
        self.limits.iter().filter_map(asserted).collect()
    }
}

impl RateLimit {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Option<Self> {
        match &argument.form {
            Form::Value(value) => Some(Self::new(rate(value, sink)?)),
            Form::List(items) => Self::list(argument, items, sink),
            Form::Flag => {
                let forms = grammar::forms("rate_limit");
                sink.report(
                    &argument.key,
                    format!("how often is missing: write {forms}"),
                );
                None
            }
        }
    }

    fn new(rate: Rate) -> Self {
        Self {
            rate,
            burst: None,
            cost: None,
            algorithm: None,
            by: None,
            on_error: None,
            name: None,
            prefetch: None,
            shadow: false,
        }
    }

    fn list(argument: &Argument, items: &[Item], sink: &Sink<'_>) -> Option<Self> {
        let (first, options) = match items.split_first() {
            Some((Item::Value(value), options)) => (Some(value), options),
            _ => (None, items),
        };
        let rate = first.and_then(|value| rate(value, sink));
        if first.is_none() {
            sink.report(
                &argument.key,
                "the rate comes first: write `rate_limit(\"100/min\", …)`",
            );
        }
        let known = rate.is_some();
        let value = first.map(|value| value.tokens.clone());
        let placeholder = Rate {
            permits: u64::MAX,
            period: std::time::Duration::from_secs(1),
        };
        let mut limit = Self::new(rate.unwrap_or(placeholder));
        limit.options(options, sink);
        if let Some(value) = value.filter(|_| known) {
            limit.check_window_size(&value, sink);
        }
        known.then_some(limit)
    }

    fn options(&mut self, items: &[Item], sink: &Sink<'_>) {
        let own = sink.child();
        let (mut burst, mut cost) = (None, None);
        for (name, option) in (Options {
            of: "rate_limit",
            keys: &grammar::options("rate_limit"),
        })
        .read(items, &own)
        {
            match name {
                "burst" => burst = option.positive("burst = 20", &own),
                "cost" => cost = Cost::parse(option, &own),
                "algorithm" => {
                    self.algorithm = option.one_of(ALGORITHMS, &own).map(|(name, _)| name);
                }
                "by" => self.by = By::parse(option, &own),
                "on_error" => {
                    let chosen = option.one_of(ON_ERROR, &own);
                    self.on_error =
                        chosen.map(|(on_error, value)| (on_error, value.tokens.clone()));
                }
                "name" => self.name = label(option, &own),
                "prefetch" => {
                    let chosen = option.positive("prefetch = 10", &own);
                    self.prefetch =
                        chosen.map(|(prefetch, value)| (prefetch, value.tokens.clone()));
                }
                "shadow" => self.shadow = option.flag(&own),
                other => grammar::unread_option("rate_limit", other),
            }
        }
        if let Some((burst, value)) = burst {
            self.check_burst(burst, value, &own);
        }
        if let Some((cost, value)) = cost {
            self.check_cost(cost, value, &own);
        }
        self.check_on_error(&own);
        self.check_prefetch(&own);
    }

    /// Tokens are taken ahead from token buckets that hold two batches and a request.
    fn check_prefetch(&self, sink: &Sink<'_>) {
        let Some((prefetch, value)) = &self.prefetch else {
            return;
        };
        let (most, cost) = (
            self.burst.unwrap_or(self.rate.permits),
            self.cost.as_ref().map_or(1, Cost::least),
        );
        let room = max_prefetch(most, cost);
        if let Some(algorithm) = self
            .algorithm
            .filter(|algorithm| *algorithm != "token_bucket")
        {
            sink.report(
                value,
                format!("of a `{algorithm}` no tokens are taken ahead: remove `prefetch`"),
            );
        } else if self.shadow {
            sink.report(
                value,
                "of a limit that is `shadow` no tokens are taken ahead: remove `prefetch`",
            );
        } else if *prefetch > room && !sink.failed() {
            let instead = match room {
                0 => String::from("raise `burst`, or remove `prefetch`"),
                room => format!("write at most {room}, or raise `burst`"),
            };
            sink.report(
                value,
                format!("the bucket holds {most}, which is too little for two batches of {prefetch} and a request: {instead}"),
            );
        }
    }

    fn check_on_error(&self, sink: &Sink<'_>) {
        if let Some(("deny", value)) = &self.on_error
            && self.shadow
        {
            sink.report(
                value,
                "a limit that is `shadow` refuses nothing, and so denies nothing: remove `on_error` or `shadow`",
            );
        }
    }

    fn check_burst(&mut self, burst: u64, value: &Value, sink: &Sink<'_>) {
        match self.algorithm {
            Some(algorithm @ ("fixed_window" | "sliding_window")) => sink.report(
                &value.tokens,
                format!(
                    "a `{algorithm}` admits the rate's number and has no burst of its own: remove `burst`"
                ),
            ),
            _ => self.burst = Some(burst),
        }
    }

    /// A sliding window remembers each token by itself.
    fn check_window_size(&self, rate: &TokenStream, sink: &Sink<'_>) {
        if self.algorithm == Some("sliding_window") && self.rate.permits > MAX_LOG {
            let most = MAX_LOG;
            sink.report(
                rate,
                format!(
                    "a `sliding_window` logs every request, and at most {most}: write a rate of at most {most}, or \
                     take another algorithm, such as `token_bucket`"
                ),
            );
        }
    }

    fn check_cost(&mut self, cost: Cost, value: &Value, sink: &Sink<'_>) {
        let most = self.burst.unwrap_or(self.rate.permits);
        if let Cost::Tokens(cost) = cost
            && cost > most
            && !sink.failed()
        {
            sink.report(
                &value.tokens,
                format!("a request costs {cost}, but the bucket never holds more than {most}: raise `burst` or lower `cost`"),
            );
        }
        self.cost = Some(cost);
    }

    fn expand(&self) -> TokenStream {
        let (permits, period) = (self.rate.permits, duration(self.rate.period));
        let mut spec =
            quote!(__aplomb::policies::rate_limit::RateLimitSpec::new(#permits, #period));
        if let Some(burst) = self.burst {
            spec.extend(quote!(.with_burst(#burst)));
        }
        spec.extend(self.cost.as_ref().map(Cost::expand));
        if let Some(algorithm) = self.algorithm {
            let variant = variant(algorithm);
            spec.extend(
                quote!(.with_algorithm(__aplomb::policies::rate_limit::Algorithm::#variant)),
            );
        }
        spec.extend(self.by.as_ref().map(By::expand));
        if let Some((on_error, _)) = &self.on_error {
            let variant = variant(on_error);
            spec.extend(quote!(.with_on_error(__aplomb::policies::rate_limit::OnError::#variant)));
        }
        if let Some((name, _)) = &self.name {
            spec.extend(quote!(.with_name(#name)));
        }
        if let Some((prefetch, _)) = &self.prefetch {
            spec.extend(quote!(.with_prefetch(#prefetch)));
        }
        if self.shadow {
            spec.extend(quote!(.shadow()));
        }
        spec
    }
}

fn rate(value: &Value, sink: &Sink<'_>) -> Option<Rate> {
    let Kind::Text(text) = &value.kind else {
        sink.report(&value.tokens, "a rate is text in quotes: write \"100/min\"");
        return None;
    };
    units::rate(text)
        .map_err(|message| sink.report(&value.tokens, message))
        .ok()
}

fn label(option: &Argument, sink: &Sink<'_>) -> Option<(String, TokenStream)> {
    let (text, value) = option.text("name = \"login\"", sink)?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.bytes().all(plain) {
        sink.report(
            &value.tokens,
            "the name of a limit is lower-case letters, digits, _ and -, beginning with a letter, such as \"login\"",
        );
        return None;
    }
    Some((text, value.tokens.clone()))
}

/// `token_bucket` as `TokenBucket`.
fn variant(name: &str) -> Ident {
    let mut variant = String::new();
    for word in name.split('_') {
        let (first, rest) = word.split_at(1);
        variant.push_str(&first.to_ascii_uppercase());
        variant.push_str(rest);
    }
    Ident::new(&variant, Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, mistakes};

    #[test]
    fn all_forms() {
        let calls = calls(
            "get = \"/a\", rate_limit = \"100/min\", \
             rate_limit(\"5/s\", burst = 20, algorithm = token_bucket, by = ip, cost = 2, on_error = local, \
             name = \"login\", shadow)",
        );
        assert_eq!(
            calls,
            ".with_rate_limits(const{&[\
             RateLimitSpec::new(100u64,Duration::from_millis(60000u64)),\
             RateLimitSpec::new(5u64,Duration::from_millis(1000u64)).with_burst(20u64).with_cost(2u64)\
             .with_algorithm(Algorithm::TokenBucket).with_by(LimitBy::Ip).with_on_error(OnError::Local).with_name(\"login\").shadow()]})"
        );
    }

    #[test]
    fn b08_a_cost_that_the_bucket_never_holds() {
        for (options, message) in [
            ("\"5/s\", cost = 6", "never holds more than 5"),
            ("\"5/s\", burst = 2, cost = 3", "never holds more than 2"),
        ] {
            let mistakes = mistakes(&format!("get = \"/a\", rate_limit({options})"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{options}: {mistakes:?}"
            );
        }
        assert!(mistakes("get = \"/a\", rate_limit(\"5/s\", burst = 9, cost = 6)").is_empty());
    }

    #[test]
    fn b08_a_cost_by_a_function_is_not_compared_with_the_burst() {
        for path in [
            "weigh",
            "costs::weigh",
            "self::weigh::<u8>",
            "<Export as Weighed>::weigh",
        ] {
            let calls = calls(&format!(
                "get = \"/a\", rate_limit(\"5/s\", burst = 1, cost = {path})"
            ));
            let path = path.replace(' ', "");
            assert!(
                calls.contains(&format!(".with_cost_of(|__head|weigh({path},__head))")),
                "{calls}"
            );
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table, one row for each refusal")]
    fn everything_else_is_refused() {
        for (text, message) in [
            ("rate_limit", "how often is missing"),
            ("rate_limit = 100", "text in quotes"),
            ("rate_limit = \"100\"", "is no rate"),
            ("rate_limit = \"100/week\"", "`week` is no period"),
            ("rate_limit()", "the rate comes first"),
            ("rate_limit(burst = 5)", "the rate comes first"),
            ("rate_limit(\"5/s\", burst = 0)", "at least 1"),
            ("rate_limit(\"5/s\", cost = 0)", "at least 1"),
            ("rate_limit(\"5/s\", cost = -1)", "at least 1"),
            (
                "rate_limit(\"5/s\", cost = \"weigh\")",
                "write `cost = 1`, or `cost = weigh`",
            ),
            (
                "rate_limit(\"5/s\", cost = weigh(head))",
                "the name of a function",
            ),
            (
                "rate_limit(\"5/s\", cost = |head| 3)",
                "the name of a function",
            ),
            (
                "rate_limit(\"5/s\", cost)",
                "`cost` needs a value: write `cost = 1`",
            ),
            ("rate_limit(\"5/s\", burst = \"9\")", "an integer"),
            (
                "rate_limit(\"5/s\", algorithm = gcra)",
                "accepted: `token_bucket`, `leaky_bucket`, `fixed_window`, `sliding_window`",
            ),
            (
                "rate_limit(\"5/s\", algorithm = fixed_window, burst = 9)",
                "`fixed_window` admits the rate's number",
            ),
            (
                "rate_limit(\"5/s\", burst = 9, algorithm = sliding_window)",
                "remove `burst`",
            ),
            (
                "rate_limit(\"10001/h\", algorithm = sliding_window)",
                "at most 10000",
            ),
            (
                "rate_limit(\"5/s\", algorithm = fixed_window, cost = 6)",
                "never holds more than 5",
            ),
            (
                "rate_limit(\"5/s\", by = user)",
                "accepted: `caller`, `ip`, `route`, `header`, `param`",
            ),
            ("rate_limit(\"5/s\", by = \"ip\")", "a name without quotes"),
            (
                "rate_limit(\"9/s\", prefetch = 5)",
                "write at most 4, or raise `burst`",
            ),
            (
                "rate_limit(\"9/s\", cost = 3, prefetch = 4)",
                "write at most 3",
            ),
            (
                "rate_limit(\"2/s\", prefetch = 1)",
                "raise `burst`, or remove `prefetch`",
            ),
            ("rate_limit(\"9/s\", prefetch = 0)", "at least 1"),
            ("rate_limit(\"9/s\", prefetch)", "prefetch = 10"),
            (
                "rate_limit(\"9/s\", prefetch = 2, algorithm = leaky_bucket)",
                "of a `leaky_bucket` no tokens",
            ),
            (
                "rate_limit(\"9/s\", prefetch = 2, shadow)",
                "no tokens are taken ahead",
            ),
            (
                "rate_limit(\"9/s\", prefetch = 2), rate_limit = \"9/h\"",
                "an endpoint's only limit",
            ),
            (
                "rate_limit(\"5/s\", on_error = open)",
                "accepted: `local`, `deny`",
            ),
            ("rate_limit(\"5/s\", on_error)", "write `on_error = local`"),
            (
                "rate_limit(\"5/s\", shadow, on_error = deny)",
                "remove `on_error` or `shadow`",
            ),
            (
                "rate_limit(\"5/s\", on_error = deny, shadow)",
                "remove `on_error` or `shadow`",
            ),
            (
                "on_error = deny, rate_limit = \"5/s\"",
                "write `rate_limit(\"100/min\", on_error = deny)`",
            ),
            ("rate_limit(\"5/s\", brust = 5)", "did you mean `burst`?"),
            (
                "rate_limit(\"5/s\", shadow = true)",
                "`shadow` is a flag and takes no value",
            ),
            (
                "rate_limit(\"5/s\", shadow, shadow)",
                "`shadow` is given twice",
            ),
            ("rate_limit(shadow)", "the rate comes first"),
            (
                "shadow, rate_limit = \"5/s\"",
                "write `rate_limit(\"100/min\", shadow)`",
            ),
            ("rate_limit(\"5/s\", \"6/s\")", "no value is expected here"),
            (
                "rate_limit(\"5/s\", name = \"Log in\")",
                "lower-case letters",
            ),
            (
                "rate_limit(\"5/s\", name = \"a\"), rate_limit(\"5/h\", name = \"a\")",
                "two limits named `a`",
            ),
        ] {
            let mistakes = mistakes(&format!("get = \"/a\", {text}"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{text}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn all_mistakes_of_a_limit_are_reported_together() {
        assert_eq!(
            mistakes("get = \"/a\", rate_limit(\"5\", burst = 0, by = me)").len(),
            3
        );
    }
}
