//! `paginate = cursor`, `paginate(offset, …)`, `unpaginated = "reason"`: how a list is answered.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;

use super::{Endpoint, Policy, Reason};
use crate::bounds::{DEFAULT_PAGE, MAX_OFFSET, MAX_PAGE};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::grammar;
use crate::parse::{Argument, Form, Item, Options, Value};

/// How pages can follow one another.
const KINDS: [(&str, Kind); 2] = [("cursor", Kind::Cursor), ("offset", Kind::Offset)];
const REASON: &str = "unpaginated = \"why it stays small\"";

/// What is decided; both are set only where both are written.
#[derive(Default)]
pub(crate) struct Pagination {
    pages: Option<Pages>,
    small: Option<Reason>,
}

struct Pages {
    key: Ident,
    kind: Kind,
    default: u32,
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
            "paginate" => self.pages = Some(Pages::parse(argument, sink)),
            "unpaginated" => self.small = Some(Reason::parse(argument, REASON, sink)),
            other => grammar::unread_option("endpoint", other),
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        let Some(pages) = &self.pages else {
            if self.small.is_none() {
                check_opaque_get(endpoint, sink);
            }
            return;
        };
        if let Some(reason) = &self.small {
            sink.report(
                &reason.key,
                "a list is `paginate`d or `unpaginated`: remove one",
            );
        } else if let Some(ty) = endpoint.function.opaque_result() {
            sink.report(ty, "`paginate` must know what is returned: name the type, such as `Page<T>`, instead of `impl …`");
        } else if endpoint.function.result().is_none() {
            sink.report(
                &pages.key,
                "`paginate` answers a list page by page: return a `Page<T>`",
            );
        }
    }

    fn spec(&self) -> TokenStream {
        let policy = match (&self.pages, &self.small) {
            (
                Some(Pages {
                    kind, default, max, ..
                }),
                _,
            ) => {
                let kind = match kind {
                    Kind::Cursor => quote!(Cursor),
                    Kind::Offset => quote!(Offset),
                };
                quote!(#kind(::aplomb::policies::paginate::PageLimits::new(#default, #max)))
            }
            (None, Some(Reason { text, .. })) => quote!(Unpaginated { reason: #text }),
            (None, None) => return TokenStream::new(),
        };
        quote!(.with_pagination(::aplomb::policies::paginate::PaginationPolicy::#policy))
    }

    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let result = endpoint.function.named_result();
        match (&self.pages, &self.small, result) {
            (Some(pages), _, Some(ty)) => assert_page(pages, ty, endpoint),
            (Some(_), _, None) => TokenStream::new(),
            (None, Some(_), _) | (None, None, None) => assert_no_page_request(endpoint),
            (None, None, Some(ty)) => [
                assert_no_page_request(endpoint),
                missing_decision(ty, endpoint),
            ]
            .into_iter()
            .collect(),
        }
    }
}

impl Pages {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let mut pages = Self {
            key: argument.key.clone(),
            kind: Kind::Cursor,
            default: DEFAULT_PAGE,
            max: MAX_PAGE,
        };
        match &argument.form {
            Form::Flag => {
                let forms = grammar::forms("paginate");
                sink.report(
                    &argument.key,
                    format!("how pages follow one another is missing: write {forms}"),
                );
            }
            Form::Value(_) => {
                let found = argument.one_of(&KINDS.map(|(name, _)| name), sink);
                pages.kind = found
                    .and_then(|(name, _)| Kind::named(name))
                    .unwrap_or(pages.kind);
            }
            Form::List(items) => pages.list(argument, items, sink),
        }
        pages
    }

    fn list(&mut self, argument: &Argument, items: &[Item], sink: &Sink<'_>) {
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
                    None => sink.report(
                        key,
                        format!("pages cannot follow one another by `{key}`: write `paginate(cursor, …)` or `paginate(offset, …)`"),
                    ),
                }
                options
            }
            _ => {
                sink.report(
                    &argument.key,
                    "the kind comes first: write `paginate(cursor, …)` or `paginate(offset, …)`",
                );
                items
            }
        };
        self.options(options, sink);
    }

    fn options(&mut self, items: &[Item], sink: &Sink<'_>) {
        let own = sink.child();
        let (mut default, mut max) = (None, None);
        for (name, option) in (Options {
            of: "paginate",
            keys: &grammar::options("paginate"),
        })
        .read(items, &own)
        {
            match name {
                "default" => default = size(option, DEFAULT_PAGE, &own),
                "max" => max = size(option, MAX_PAGE, &own),
                other => grammar::unread_option("paginate", other),
            }
        }
        if let Some((max, value)) =
            max.filter(|(max, _)| self.kind == Kind::Offset && *max > MAX_OFFSET)
        {
            own.report(
                &value.tokens,
                format!("counted pages end at item {MAX_OFFSET}, so that none has {max} items: write `max = {MAX_PAGE}`, or `paginate = cursor`"),
            );
        }
        self.max = max.map_or(MAX_PAGE, |(max, _)| max);
        self.default = default.map_or(DEFAULT_PAGE.min(self.max), |(default, _)| default);
        if let Some((default, value)) =
            default.filter(|(default, _)| *default > self.max && !own.failed())
        {
            own.report(
                &value.tokens,
                format!("a page has {default} items by default, but {} at most: write `max = {default}`, or lower `default`", self.max),
            );
        }
    }
}

/// Reads `default = 50` or `max = 100`.
fn size<'a>(option: &'a Argument, usual: u32, sink: &Sink<'_>) -> Option<(u32, &'a Value)> {
    let name = option.name();
    let (number, value) = option.positive(&format!("{name} = {usual}"), sink)?;
    match u32::try_from(number) {
        Ok(number) => Some((number, value)),
        Err(_) => option.wrong(
            value,
            "an integer of 32 bits",
            &format!("{name} = {MAX_PAGE}"),
            sink,
        ),
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        KINDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }

    /// Its name, the argument that asks for such pages, and the probe of that argument.
    fn words(self) -> (&'static str, &'static str, TokenStream) {
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

/// Refuses `impl …` as the result of a GET, whose list the compiler could not see.
fn check_opaque_get(endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
    if let Some(ty) = endpoint.function.opaque_result()
        && endpoint.spec.route.is("get")
    {
        sink.report(
            ty,
            format!("`impl …` hides whether this GET returns a list: name the type, such as `Json<T>`, or write `{REASON}`"),
        );
    }
}

fn assert_page(pages: &Pages, ty: &syn::Type, endpoint: &Endpoint<'_>) -> TokenStream {
    let name = endpoint.name();
    let page = format!("`{name}` is paginated, but does not return a page: return a `Page<T>`");
    let response = call_at(
        ty,
        "assert_returns_page",
        &quote!(::aplomb::__private::Probe::<#ty>::IS_PAGE, #page),
    );
    let request = assert_page_request(pages, endpoint);
    quote!(#request #response)
}

/// One argument asks for pages of this kind. One that asks for the other kind is the mistake, if there is one.
fn assert_page_request(pages: &Pages, endpoint: &Endpoint<'_>) -> TokenStream {
    let arguments = endpoint.function.arguments();
    let (name, (kind, argument, asks)) = (endpoint.name(), pages.kind.words());
    let (other_kind, other_argument, asks_other) = pages.kind.other().words();
    let missing =
        format!("`{name}` is paginated, but nothing reads which page is wanted: take `{argument}`");
    let other = format!(
        "`{name}` has pages by {kind}, but this asks for pages by {other_kind}: take `{argument}` in place of \
         `{other_argument}`, or write `paginate = {other_kind}`"
    );
    let probe = quote!(::aplomb::__private::Probe);
    let any = quote!(false #(|| #probe::<#arguments>::#asks || #probe::<#arguments>::#asks_other)*);
    let request = call_at(
        &pages.key,
        "assert_takes_page_request",
        &quote!(#any, #missing),
    );
    let others = arguments.iter().map(|ty| {
        call_at(
            ty,
            "assert_no_page_request",
            &quote!(#probe::<#ty>::#asks_other, #other),
        )
    });
    quote!(#request #(#others)*)
}

/// Where no pages are promised, no argument asks for one.
fn assert_no_page_request(endpoint: &Endpoint<'_>) -> TokenStream {
    let message = format!(
        "`{}` asks which page is wanted, but promises no pages: write `paginate = cursor` for a `PageRequest<K>`, \
         `paginate = offset` for an `OffsetRequest`",
        endpoint.name()
    );
    let assertion = |ty| {
        let probe = quote!(::aplomb::__private::Probe::<#ty>);
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

fn missing_decision(ty: &syn::Type, endpoint: &Endpoint<'_>) -> TokenStream {
    let message = format!(
        "`{}` returns a list that can grow without end: write `paginate = cursor` and return a `Page`, or `{REASON}`",
        endpoint.name()
    );
    let probe = quote!(::aplomb::__private::Probe::<#ty>);
    call_at(
        ty,
        "assert_not_a_list",
        &quote!(#probe::IS_LIST && !#probe::IS_BYTES, #message),
    )
}

#[cfg(test)]
mod tests {
    use crate::policies::{mistakes, read};

    fn list(attribute: &str) -> Vec<String> {
        read(
            &format!("get = \"/a\", {attribute}"),
            "async fn f() -> Page<T> {}",
        )
        .1
    }

    #[test]
    fn sizes_have_defaults() {
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
            let (spec, mistakes) = read(
                &format!("get = \"/a\", {text}"),
                "async fn f() -> Page<T> {}",
            );
            assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
            let pages = spec.paginate.pages.expect("declared");
            assert_eq!((pages.default, pages.max), (default, max), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, message) in [
            ("paginate", "is missing"),
            ("paginate = \"cursor\"", "a name without quotes"),
            ("paginate = page", "accepted: `cursor`, `offset`"),
            ("paginate = ofset", "did you mean `offset`"),
            ("paginate(offset, max = 10001)", "end at item 10000"),
            ("paginate(page)", "cannot follow one another"),
            ("paginate(default = 5)", "the kind comes first"),
            ("paginate(cursor, default = 0)", "at least 1"),
            ("paginate(cursor, max = 0)", "at least 1"),
            ("paginate(cursor, default = 101)", "100 at most"),
            ("paginate(cursor, default = 20, max = 10)", "10 at most"),
            ("paginate(cursor, limit = 10)", "accepted: `default`, `max`"),
            ("paginate(cursor, max = 4294967296)", "32 bits"),
            ("paginate = cursor, unpaginated = \"x\"", "remove one"),
            ("unpaginated = \"\"", "a reader will ask why"),
        ] {
            let mistakes = list(text);
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{text}: {mistakes:?}"
            );
        }
    }

    /// What the compiler is asked for this endpoint; the fixtures show its answers.
    fn asked(attribute: &str) -> Vec<&'static str> {
        let attribute = format!("get = \"/a\" {attribute}").parse().expect("tokens");
        let item = "async fn f(p: Request) -> Answer {}"
            .parse()
            .expect("tokens");
        let expansion = crate::endpoint::endpoint(attribute, item).to_string();
        let questions = [
            "assert_not_a_list",
            "assert_takes_page_request",
            "assert_no_page_request",
            "assert_returns_page",
        ];
        questions
            .into_iter()
            .filter(|question| expansion.contains(question))
            .collect()
    }

    #[test]
    fn d09_a_list_must_decide_and_ask_for_the_pages_that_it_promises() {
        let promised = [
            "assert_takes_page_request",
            "assert_no_page_request",
            "assert_returns_page",
        ];
        assert_eq!(asked(""), ["assert_not_a_list", "assert_no_page_request"]);
        assert_eq!(asked(", unpaginated = \"few\""), ["assert_no_page_request"]);
        assert_eq!(asked(", paginate = cursor"), promised);
        assert_eq!(asked(", paginate = offset"), promised);
    }

    #[test]
    fn the_type_must_be_known() {
        assert_eq!(mistakes("get = \"/a\", paginate = cursor").len(), 1);
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
