//! `rate_limit = "100/min"`, `rate_limit("100/min", burst = 20, …)`: the limits of an endpoint.

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

/// The limits, in the order written. A request must pass all of them.
#[derive(Default)]
pub(crate) struct RateLimits {
    limits: Vec<RateLimit>,
}

/// One limit. It contains the tokens of its values, for messages.
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
                    "`prefetch` needs the endpoint's only limit: remove `prefetch` or the other limits",
                );
            }
        }
        for (index, limit) in self.limits.iter().enumerate() {
            let Some((name, tokens)) = &limit.name else {
                continue;
            };
            let has_name =
                |other: &RateLimit| other.name.as_ref().is_some_and(|(other, _)| other == name);
            if self.limits[..index].iter().any(has_name) {
                sink.report(
                    tokens,
                    format!("the endpoint has two limits named `{name}`: rename one"),
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
            "`{}` is `public` and limited by caller, but has no argument that identifies the caller: take \
             `Caller` or `Option<Caller>`, or write `by = ip`",
            endpoint.name()
        );
        let arguments = endpoint.function.arguments();
        let is_known = quote!(false #(|| __aplomb::__private::Probe::<#arguments>::IS_CALLER)*);
        let assertion = |limit: &RateLimit| match &limit.by {
            Some(By::Word("caller", tokens)) => Some(call_at(
                tokens,
                "assert_caller_known",
                &quote!(#is_known, #message),
            )),
            _ => None,
        };
        self.limits.iter().filter_map(assertion).collect()
    }
}

impl RateLimit {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Option<Self> {
        match &argument.form {
            Form::Value(value) => Some(Self::new(rate(value, sink)?)),
            Form::List(items) => Self::parse_list(argument, items, sink),
            Form::Flag => {
                sink.report(
                    &argument.key,
                    "`rate_limit` needs a rate: write `rate_limit = \"100/min\"`",
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

    /// Parses a list. If the rate has an error, the options are parsed with a substitute rate that
    /// fits all options, so that errors in the options are reported too.
    fn parse_list(argument: &Argument, items: &[Item], sink: &Sink<'_>) -> Option<Self> {
        let (first, options) = match items.split_first() {
            Some((Item::Value(value), options)) => (Some(value), options),
            _ => (None, items),
        };
        let rate = first.and_then(|value| rate(value, sink));
        if first.is_none() {
            sink.report(
                &argument.key,
                "`rate_limit` needs a rate before its options: write `rate_limit(\"100/min\", …)`",
            );
        }
        let is_valid = rate.is_some();
        let tokens = first.map(|value| value.tokens.clone());
        let placeholder = Rate {
            permits: u64::MAX,
            period: std::time::Duration::from_secs(1),
        };
        let mut limit = Self::new(rate.unwrap_or(placeholder));
        limit.parse_options(options, sink);
        if let Some(tokens) = tokens.filter(|_| is_valid) {
            limit.check_window_size(&tokens, sink);
        }
        is_valid.then_some(limit)
    }

    fn parse_options(&mut self, items: &[Item], sink: &Sink<'_>) {
        let own = sink.child();
        let (mut burst, mut cost) = (None, None);
        for (name, option) in (Options {
            of: "rate_limit",
            keys: &grammar::options("rate_limit"),
        })
        .read(items, &own)
        {
            match name {
                "burst" => burst = option.positive_integer("burst = 20", &own),
                "cost" => cost = Cost::parse(option, &own),
                "algorithm" => {
                    self.algorithm = option.one_of(ALGORITHMS, &own).map(|(name, _)| name);
                }
                "by" => self.by = By::parse(option, &own),
                "on_error" => {
                    let on_error = option.one_of(ON_ERROR, &own);
                    self.on_error =
                        on_error.map(|(on_error, value)| (on_error, value.tokens.clone()));
                }
                "name" => self.name = limit_name(option, &own),
                "prefetch" => {
                    let prefetch = option.positive_integer("prefetch = 10", &own);
                    self.prefetch =
                        prefetch.map(|(prefetch, value)| (prefetch, value.tokens.clone()));
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

    /// Reports `prefetch` on a limit that is not a token bucket or that refuses no requests. Also
    /// reports it if the bucket cannot hold two batches and one request.
    fn check_prefetch(&self, sink: &Sink<'_>) {
        let Some((prefetch, value)) = &self.prefetch else {
            return;
        };
        let (capacity, cost) = (self.capacity(), self.cost.as_ref().map_or(1, Cost::minimum));
        let max = max_prefetch(capacity, cost);
        if let Some(algorithm) = self
            .algorithm
            .filter(|algorithm| *algorithm != "token_bucket")
        {
            sink.report(
                value,
                format!("`prefetch` and `algorithm = {algorithm}` exclude each other: remove one"),
            );
        } else if self.shadow {
            sink.report(
                value,
                "`prefetch` and `shadow` exclude each other: remove one",
            );
        } else if *prefetch > max && !sink.failed() {
            let correction = match max {
                0 => String::from("raise `burst`, or remove `prefetch`"),
                max => format!("write at most `prefetch = {max}`, or raise `burst`"),
            };
            sink.report(
                value,
                format!("{prefetch} is too large, since the bucket of {capacity} tokens must hold two batches and one request: {correction}"),
            );
        }
    }

    /// Returns the capacity of the bucket or the window in tokens.
    fn capacity(&self) -> u64 {
        self.burst.unwrap_or(self.rate.permits)
    }

    /// Returns true for an algorithm without a burst.
    fn is_window(&self) -> bool {
        matches!(self.algorithm, Some("fixed_window" | "sliding_window"))
    }

    /// Reports `on_error = deny` on a limit that refuses no requests.
    fn check_on_error(&self, sink: &Sink<'_>) {
        if let Some(("deny", value)) = &self.on_error
            && self.shadow
        {
            sink.report(
                value,
                "`on_error = deny` and `shadow` exclude each other, since a shadow limit refuses nothing: remove one",
            );
        }
    }

    /// Sets the burst. Reports it on a window, because a window has no burst.
    fn check_burst(&mut self, burst: u64, value: &Value, sink: &Sink<'_>) {
        match self.algorithm {
            Some(algorithm) if self.is_window() => sink.report(
                &value.tokens,
                format!(
                    "`burst` and `algorithm = {algorithm}` exclude each other, since the capacity of a window is \
                     its rate: remove one"
                ),
            ),
            _ => self.burst = Some(burst),
        }
    }

    /// Reports a rate that is too large for a sliding window. A sliding window logs each token, so
    /// its memory grows with the rate.
    fn check_window_size(&self, rate: &TokenStream, sink: &Sink<'_>) {
        if self.algorithm == Some("sliding_window") && self.rate.permits > MAX_LOG {
            let permits = self.rate.permits;
            sink.report(
                rate,
                format!(
                    "{permits} is too large, since a `sliding_window` logs each request: write a rate of at most \
                     {MAX_LOG}, or another algorithm, such as `token_bucket`"
                ),
            );
        }
    }

    /// Sets the cost. Reports a number above the capacity of the bucket.
    fn check_cost(&mut self, cost: Cost, value: &Value, sink: &Sink<'_>) {
        let capacity = self.capacity();
        if let Cost::Tokens(cost) = cost
            && cost > capacity
            && !sink.failed()
        {
            let raise = if self.is_window() {
                "raise the rate"
            } else {
                "raise `burst`"
            };
            sink.report(
                &value.tokens,
                format!(
                    "{cost} is too large, since the limit has a capacity of {capacity} tokens: write at most \
                     `cost = {capacity}`, or {raise}"
                ),
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
        sink.report(
            &value.tokens,
            "`rate_limit` takes a string literal: write \"100/min\"",
        );
        return None;
    };
    units::rate(text)
        .map_err(|message| sink.report(&value.tokens, message))
        .ok()
}

/// Parses `name = "login"`.
fn limit_name(option: &Argument, sink: &Sink<'_>) -> Option<(String, TokenStream)> {
    let (text, value) = option.text("name = \"login\"", sink)?;
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.bytes().all(is_allowed)
    {
        sink.report(
            &value.tokens,
            format!(
                "\"{text}\" is not the name of a limit: write lower-case ASCII letters, digits, _ and -, starting \
                 with a letter, such as \"login\""
            ),
        );
        return None;
    }
    Some((text, value.tokens.clone()))
}

/// Returns the variant of the runtime's enum for a word: `TokenBucket` for `token_bucket`.
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
    use crate::policies::{calls, errors};

    #[test]
    fn all_forms_are_accepted() {
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
    fn b08_a_cost_above_the_capacity_of_the_bucket_is_rejected() {
        for (options, message) in [
            ("\"5/s\", cost = 6", "a capacity of 5 tokens"),
            ("\"5/s\", burst = 2, cost = 3", "a capacity of 2 tokens"),
        ] {
            let errors = errors(&format!("get = \"/a\", rate_limit({options})"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{options}: {errors:?}"
            );
        }
        assert!(errors("get = \"/a\", rate_limit(\"5/s\", burst = 9, cost = 6)").is_empty());
    }

    #[test]
    fn b08_a_cost_function_is_not_compared_with_the_capacity() {
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
    #[expect(clippy::too_many_lines, reason = "a table, one row for each error")]
    fn other_values_are_rejected() {
        for (text, message) in [
            ("rate_limit", "needs a rate: write"),
            ("rate_limit = 100", "a string literal"),
            ("rate_limit = \"100\"", "is not a rate"),
            ("rate_limit = \"100/week\"", "unknown period `week`"),
            ("rate_limit()", "needs a rate before its options"),
            ("rate_limit(burst = 5)", "needs a rate before its options"),
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
                "expected one of `token_bucket`, `leaky_bucket`, `fixed_window`, `sliding_window`",
            ),
            (
                "rate_limit(\"5/s\", algorithm = fixed_window, burst = 9)",
                "`burst` and `algorithm = fixed_window` exclude each other",
            ),
            (
                "rate_limit(\"5/s\", burst = 9, algorithm = sliding_window)",
                "`burst` and `algorithm = sliding_window` exclude each other",
            ),
            (
                "rate_limit(\"10001/h\", algorithm = sliding_window)",
                "at most 10000",
            ),
            (
                "rate_limit(\"5/s\", algorithm = fixed_window, cost = 6)",
                "a capacity of 5 tokens",
            ),
            (
                "rate_limit(\"5/s\", by = user)",
                "expected one of `caller`, `ip`, `route`, `header`, `param`",
            ),
            ("rate_limit(\"5/s\", by = \"ip\")", "a name without quotes"),
            (
                "rate_limit(\"9/s\", prefetch = 5)",
                "write at most `prefetch = 4`, or raise `burst`",
            ),
            (
                "rate_limit(\"9/s\", cost = 3, prefetch = 4)",
                "write at most `prefetch = 3`",
            ),
            (
                "rate_limit(\"2/s\", prefetch = 1)",
                "raise `burst`, or remove `prefetch`",
            ),
            ("rate_limit(\"9/s\", prefetch = 0)", "at least 1"),
            ("rate_limit(\"9/s\", prefetch)", "prefetch = 10"),
            (
                "rate_limit(\"9/s\", prefetch = 2, algorithm = leaky_bucket)",
                "`prefetch` and `algorithm = leaky_bucket` exclude each other",
            ),
            (
                "rate_limit(\"9/s\", prefetch = 2, shadow)",
                "`prefetch` and `shadow` exclude each other",
            ),
            (
                "rate_limit(\"9/s\", prefetch = 2), rate_limit = \"9/h\"",
                "`prefetch` needs the endpoint's only limit",
            ),
            (
                "rate_limit(\"5/s\", on_error = open)",
                "expected one of `local`, `deny`",
            ),
            ("rate_limit(\"5/s\", on_error)", "write `on_error = local`"),
            (
                "rate_limit(\"5/s\", shadow, on_error = deny)",
                "`on_error = deny` and `shadow` exclude each other",
            ),
            (
                "rate_limit(\"5/s\", on_error = deny, shadow)",
                "`on_error = deny` and `shadow` exclude each other",
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
            ("rate_limit(shadow)", "needs a rate before its options"),
            (
                "shadow, rate_limit = \"5/s\"",
                "write `rate_limit(\"100/min\", shadow)`",
            ),
            (
                "rate_limit(\"5/s\", \"6/s\")",
                "expected an option of `rate_limit`",
            ),
            (
                "rate_limit(\"5/s\", name = \"Log in\")",
                "lower-case ASCII letters",
            ),
            (
                "rate_limit(\"5/s\", name = \"a\"), rate_limit(\"5/h\", name = \"a\")",
                "two limits named `a`",
            ),
        ] {
            let errors = errors(&format!("get = \"/a\", {text}"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{text}: {errors:?}"
            );
        }
    }

    #[test]
    fn all_errors_of_a_limit_are_reported_together() {
        assert_eq!(
            errors("get = \"/a\", rate_limit(\"5\", burst = 0, by = me)").len(),
            3
        );
    }
}
