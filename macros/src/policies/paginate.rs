//! `paginate = cursor`, `paginate(offset, …)`, `unpaginated = "reason"`: the pages of a list.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;

use super::{Endpoint, Policy, Reason};
use crate::bounds::{DEFAULT_PAGE, MAX_OFFSET, MAX_PAGE};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::grammar;
use crate::parse::{Argument, Form, Item, Options, Value};
use crate::suggest;

/// The kinds of pagination, each with its name.
const KINDS: [(&str, Kind); 2] = [("cursor", Kind::Cursor), ("offset", Kind::Offset)];
const REASON: &str = "unpaginated = \"why it stays small\"";

/// The declaration about pages. Both fields are set only if the user writes both keys, which is an
/// error.
#[derive(Default)]
pub(crate) struct Pagination {
    paginate: Option<Paginate>,
    unpaginated: Option<Reason>,
}

/// `paginate` with its options.
struct Paginate {
    key: Ident,
    kind: Kind,
    /// The number of items on a page if the client sends no `limit`.
    default: u32,
    /// The largest number of items on a page.
    max: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cursor,
    Offset,
}

impl Policy for Pagination {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        match argument.name().as_str() {
            "paginate" => self.paginate = Some(Paginate::parse(argument, sink)),
            "unpaginated" => self.unpaginated = Some(Reason::parse(argument, REASON, sink)),
            other => grammar::unread_option("endpoint", other),
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        let Some(paginate) = &self.paginate else {
            if self.unpaginated.is_none() {
                check_opaque_get(endpoint, sink);
            }
            return;
        };
        if let Some(reason) = &self.unpaginated {
            sink.report(
                &reason.key,
                "`paginate` and `unpaginated` exclude each other: remove one",
            );
        } else if let Some(ty) = endpoint.function.opaque_result() {
            sink.report(
                ty,
                "`paginate` needs a named return type: write `Page<T>` instead of `impl …`",
            );
        } else if endpoint.function.result().is_none() {
            sink.report(&paginate.key, no_page_message(endpoint));
        }
    }

    fn spec(&self) -> TokenStream {
        let policy = match (&self.paginate, &self.unpaginated) {
            (
                Some(Paginate {
                    kind, default, max, ..
                }),
                _,
            ) => {
                let kind = match kind {
                    Kind::Cursor => quote!(Cursor),
                    Kind::Offset => quote!(Offset),
                };
                quote!(#kind(__aplomb::policies::paginate::PageLimits::new(#default, #max)))
            }
            (None, Some(Reason { text, .. })) => quote!(Unpaginated { reason: #text }),
            (None, None) => return TokenStream::new(),
        };
        quote!(.with_pagination(__aplomb::policies::paginate::PaginationPolicy::#policy))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let result = endpoint.function.named_result();
        match (&self.paginate, &self.unpaginated, result) {
            (Some(paginate), _, Some(ty)) => assert_page(paginate, ty, endpoint),
            (Some(_), _, None) => TokenStream::new(),
            (None, Some(_), _) | (None, None, None) => assert_no_page_request(endpoint),
            (None, None, Some(ty)) => [
                assert_no_page_request(endpoint),
                assert_not_a_list(ty, endpoint),
            ]
            .into_iter()
            .collect(),
        }
    }
}

impl Paginate {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let mut paginate = Self {
            key: argument.key.clone(),
            kind: Kind::Cursor,
            default: DEFAULT_PAGE,
            max: MAX_PAGE,
        };
        match &argument.form {
            Form::Flag => {
                sink.report(
                    &argument.key,
                    "`paginate` needs a kind: write `paginate = cursor` or `paginate = offset`",
                );
            }
            Form::Value(_) => {
                let found = argument.one_of(&KINDS.map(|(name, _)| name), sink);
                paginate.kind = found
                    .and_then(|(name, _)| Kind::named(name))
                    .unwrap_or(paginate.kind);
            }
            Form::List(items) => paginate.parse_list(argument, items, sink),
        }
        paginate
    }

    fn parse_list(&mut self, argument: &Argument, items: &[Item], sink: &Sink<'_>) {
        let options = match items.split_first() {
            Some((
                Item::Option(Argument {
                    key,
                    form: Form::Flag,
                }),
                options,
            )) if !grammar::options("paginate")
                .iter()
                .any(|option| key == option) =>
            {
                match Kind::named(&key.to_string()) {
                    Some(kind) => self.kind = kind,
                    None => {
                        let names = KINDS.map(|(name, _)| name);
                        let suggestion = suggest::suggestion(&key.to_string(), names);
                        sink.report(
                            key,
                            format!("unknown value `{key}` of `paginate`, {suggestion}"),
                        );
                    }
                }
                options
            }
            _ => {
                sink.report(
                    &argument.key,
                    "`paginate` needs a kind before its options: write `paginate(cursor, …)` or `paginate(offset, …)`",
                );
                items
            }
        };
        self.parse_options(options, sink);
    }

    fn parse_options(&mut self, items: &[Item], sink: &Sink<'_>) {
        let own = sink.child();
        let (mut default, mut max) = (None, None);
        for (name, option) in (Options {
            of: "paginate",
            keys: &grammar::options("paginate"),
        })
        .read(items, &own)
        {
            match name {
                "default" => default = page_size(option, DEFAULT_PAGE, &own),
                "max" => max = page_size(option, MAX_PAGE, &own),
                other => grammar::unread_option("paginate", other),
            }
        }
        if let Some((max, value)) =
            max.filter(|(max, _)| self.kind == Kind::Offset && *max > MAX_OFFSET)
        {
            own.report(
                &value.tokens,
                format!("{max} is too large, since offset pages end at item {MAX_OFFSET}: write at most `max = {MAX_OFFSET}`, or `paginate = cursor`"),
            );
        }
        self.max = max.map_or(MAX_PAGE, |(max, _)| max);
        self.default = default.map_or(DEFAULT_PAGE.min(self.max), |(default, _)| default);
        if let Some((default, value)) =
            default.filter(|(default, _)| *default > self.max && !own.failed())
        {
            own.report(
                &value.tokens,
                format!("{default} is too large, since `max` is {}: write at most `default = {0}`, or raise `max`", self.max),
            );
        }
    }
}

/// Parses `default = 50` or `max = 100`.
fn page_size<'a>(option: &'a Argument, example: u32, sink: &Sink<'_>) -> Option<(u32, &'a Value)> {
    let name = option.name();
    let (number, value) = option.positive_integer(&format!("{name} = {example}"), sink)?;
    match u32::try_from(number) {
        Ok(number) => Some((number, value)),
        Err(_) => {
            sink.report(
                &value.tokens,
                format!("{number} is too large: write `{name} = {example}`"),
            );
            None
        }
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        KINDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }

    /// Returns the name, the argument that reads the requested page, and the probe for that
    /// argument.
    fn names(self) -> (&'static str, &'static str, TokenStream) {
        match self {
            Self::Cursor => ("cursor", "PageRequest<K>", quote!(IS_PAGE_REQUEST)),
            Self::Offset => ("offset", "OffsetRequest", quote!(IS_OFFSET_REQUEST)),
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Cursor => Self::Offset,
            Self::Offset => Self::Cursor,
        }
    }
}

/// Reports a GET that returns `impl …`, because the compiler cannot find out whether this type is a
/// list.
fn check_opaque_get(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    if let Some(ty) = endpoint.function.opaque_result()
        && endpoint.spec.route.is("get")
        && endpoint.function.signature.asyncness.is_some()
    {
        sink.report(
            ty,
            format!("the macro cannot see whether `impl …` is a list: name the type, such as `Json<T>`, or write `{REASON}`"),
        );
    }
}

/// Asserts that the handler returns a page, and that an argument reads the requested page.
fn assert_page(paginate: &Paginate, ty: &syn::Type, endpoint: &Endpoint<'_>) -> TokenStream {
    let message = no_page_message(endpoint);
    let response = call_at(
        ty,
        "assert_returns_page",
        &quote!(__aplomb::__private::Probe::<#ty>::IS_PAGE, #message),
    );
    let request = assert_page_request(paginate, endpoint);
    quote!(#request #response)
}

fn no_page_message(endpoint: &Endpoint<'_>) -> String {
    format!(
        "`{}` has `paginate` but does not return a page: return `Page<T>`",
        endpoint.name()
    )
}

/// Asserts that an argument reads the requested page, with the declared kind of pagination. An
/// argument of the other kind gets a separate error instead of the error about a missing argument.
fn assert_page_request(paginate: &Paginate, endpoint: &Endpoint<'_>) -> TokenStream {
    let arguments = endpoint.function.arguments();
    let (name, (kind, argument, probe)) = (endpoint.name(), paginate.kind.names());
    let (other_kind, other_argument, other_probe) = paginate.kind.other().names();
    let missing = format!(
        "`{name}` has `paginate = {kind}` but does not read the requested page: take `{argument}`"
    );
    let mismatch = format!(
        "`{name}` has `paginate = {kind}` but takes `{other_argument}`: take `{argument}`, or write \
         `paginate = {other_kind}`"
    );
    let probes = quote!(__aplomb::__private::Probe);
    let any = quote!(
        false #(|| #probes::<#arguments>::#probe || #probes::<#arguments>::#other_probe)*
    );
    let request = call_at(
        &paginate.key,
        "assert_takes_page_request",
        &quote!(#any, #missing),
    );
    let others = arguments.iter().map(|ty| {
        call_at(
            ty,
            "assert_no_page_request",
            &quote!(#probes::<#ty>::#other_probe, #mismatch),
        )
    });
    quote!(#request #(#others)*)
}

/// Asserts that no argument reads the requested page of an endpoint without `paginate`.
fn assert_no_page_request(endpoint: &Endpoint<'_>) -> TokenStream {
    let message = format!(
        "`{}` reads the requested page but has no `paginate`: write `paginate = cursor` for `PageRequest<K>`, \
         or `paginate = offset` for `OffsetRequest`",
        endpoint.name()
    );
    let assertion = |ty| {
        let probe = quote!(__aplomb::__private::Probe::<#ty>);
        call_at(
            ty,
            "assert_no_page_request",
            &quote!(#probe::IS_PAGE_REQUEST || #probe::IS_OFFSET_REQUEST, #message),
        )
    };
    endpoint
        .function
        .arguments()
        .into_iter()
        .map(assertion)
        .collect()
}

/// Asserts that an endpoint without a declaration about pages does not return a list.
fn assert_not_a_list(ty: &syn::Type, endpoint: &Endpoint<'_>) -> TokenStream {
    let message = format!(
        "`{}` returns an unbounded list: write `paginate = cursor` and return a `Page`, or `{REASON}`",
        endpoint.name()
    );
    let probe = quote!(__aplomb::__private::Probe::<#ty>);
    call_at(
        ty,
        "assert_not_a_list",
        &quote!(#probe::IS_LIST && !#probe::IS_BYTES, #message),
    )
}

#[cfg(test)]
mod tests {
    use crate::policies::{errors, read};

    fn list(attribute: &str) -> Vec<String> {
        read(
            &format!("get = \"/a\", {attribute}"),
            "async fn f() -> Page<T> {}",
        )
        .1
    }

    #[test]
    fn page_sizes_have_defaults() {
        for (text, default, max) in [
            ("paginate = cursor", 50, 100),
            ("paginate(cursor)", 50, 100),
            ("paginate(cursor, default = 10)", 10, 100),
            ("paginate(cursor, max = 20)", 20, 20),
            ("paginate(cursor, default = 10, max = 200)", 10, 200),
            ("paginate(cursor, max = 20000)", 50, 20_000),
            ("paginate = offset", 50, 100),
            ("paginate(offset, max = 10000)", 50, 10_000),
        ] {
            let (spec, errors) = read(
                &format!("get = \"/a\", {text}"),
                "async fn f() -> Page<T> {}",
            );
            assert!(errors.is_empty(), "{text}: {errors:?}");
            let paginate = spec.paginate.paginate.expect("declared");
            assert_eq!((paginate.default, paginate.max), (default, max), "{text}");
        }
    }

    #[test]
    fn other_values_are_rejected() {
        for (text, message) in [
            ("paginate", "needs a kind"),
            ("paginate = \"cursor\"", "a name without quotes"),
            ("paginate = page", "expected one of `cursor`, `offset`"),
            ("paginate = ofset", "did you mean `offset`"),
            (
                "paginate(offset, max = 10001)",
                "write at most `max = 10000`",
            ),
            ("paginate(page)", "expected one of `cursor`, `offset`"),
            ("paginate(default = 5)", "needs a kind before its options"),
            ("paginate(cursor, default = 0)", "at least 1"),
            ("paginate(cursor, max = 0)", "at least 1"),
            ("paginate(cursor, default = 101)", "since `max` is 100"),
            (
                "paginate(cursor, default = 20, max = 10)",
                "since `max` is 10:",
            ),
            (
                "paginate(cursor, limit = 10)",
                "expected one of `default`, `max`",
            ),
            (
                "paginate(cursor, max = 4294967296)",
                "4294967296 is too large",
            ),
            ("paginate = cursor, unpaginated = \"x\"", "remove one"),
            ("unpaginated = \"\"", "needs a reason"),
        ] {
            let errors = list(text);
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{text}: {errors:?}"
            );
        }
    }

    /// Returns the names of the assertions in the expansion. The fixtures show their messages.
    fn assertions(attribute: &str) -> Vec<&'static str> {
        let attribute = format!("get = \"/a\" {attribute}").parse().expect("tokens");
        let item = "async fn f(p: Request) -> Answer {}"
            .parse()
            .expect("tokens");
        let expansion = crate::endpoint::endpoint(attribute, item).to_string();
        let names = [
            "assert_not_a_list",
            "assert_takes_page_request",
            "assert_no_page_request",
            "assert_returns_page",
        ];
        names
            .into_iter()
            .filter(|name| expansion.contains(name))
            .collect()
    }

    #[test]
    fn d09_a_list_must_declare_pages_and_read_the_requested_page() {
        let paginated = [
            "assert_takes_page_request",
            "assert_no_page_request",
            "assert_returns_page",
        ];
        assert_eq!(
            assertions(""),
            ["assert_not_a_list", "assert_no_page_request"]
        );
        assert_eq!(
            assertions(", unpaginated = \"few\""),
            ["assert_no_page_request"]
        );
        assert_eq!(assertions(", paginate = cursor"), paginated);
        assert_eq!(assertions(", paginate = offset"), paginated);
    }

    #[test]
    fn a_paginated_endpoint_must_name_its_return_type() {
        assert_eq!(errors("get = \"/a\", paginate = cursor").len(), 1);
        assert_eq!(
            read(
                "get = \"/a\", paginate = cursor",
                "async fn f() -> impl R {}"
            )
            .1
            .len(),
            1
        );
    }
}
