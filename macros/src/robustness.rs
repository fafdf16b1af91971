//! Property tests: a macro never panics, for any tokens. The inputs are random token trees, and
//! real code with random changes.

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use proptest::prelude::*;
use quote::ToTokens;
use syn::{Expr, File};

use crate::grammar::KEYS;
use crate::{derive, endpoint, routes};

const WORDS: &[&str] = &[
    "idempotent",
    "rate_limit",
    "paginate",
    "cursor",
    "default",
    "max",
    "ttl",
    "optional",
    "anonymous",
    "on_crash",
    "on_error",
    "deny",
    "header",
    "param",
    "max_stored_body",
    "headers",
    "rerun",
    "burst",
    "algorithm",
    "token_bucket",
    "by",
    "caller",
    "ip",
    "route",
    "cost",
    "name",
    "problem",
    "resource",
    "prefix",
    "offset",
    "unique",
    "desc",
    "column",
    "conflict",
    "validation",
    "dependency",
    "code",
    "pointer",
    "retry_after",
    "effects",
    "none",
    "transparent",
    "extension",
    "cfg",
    "doc",
    "derive",
    "path",
    "postt",
    "async",
    "fn",
    "pub",
    "unsafe",
    "const",
    "extern",
    "self",
    "Self",
    "impl",
    "dyn",
    "for",
    "where",
    "mut",
    "ref",
    "move",
    "struct",
    "enum",
    "union",
    "crate",
    "super",
    "true",
    "false",
    "_",
    "r#fn",
    "été",
    "a",
    "b",
    "Json",
    "Path",
    "Caller",
    "PageRequest",
    "Option",
    "Result",
    "Page",
    "T",
];

const LITERALS: &[&str] = &[
    "0",
    "1",
    "20",
    "1u8",
    "0x_f",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1.0",
    "1e999",
    "1.5f64",
    "'a'",
    "b'a'",
    "b\"a\"",
    "c\"a\"",
    "\"\"",
    "\"a\"",
    "r#\"a\"#",
    "\"\\u{1f600}\\0\"",
    "\"/a/{b}\"",
    "\"/v1/{*rest}\"",
    "\"100/min\"",
    "\"5/s\"",
    "\"24h\"",
    "\"5s\"",
    "\"64KB\"",
    "\"#/amount\"",
    "\"99999999999999999999d\"",
    "\"18446744073709551615GB\"",
    "\"4294967295/h\"",
];

/// The parts of random string literals.
const PIECES: &[&str] = &[
    "/",
    "{",
    "}",
    "*",
    "a",
    "b1",
    "_",
    "-",
    ".",
    "..",
    "%",
    "%2F",
    "?",
    "#",
    ":",
    "~",
    " ",
    "0",
    "7",
    "999999",
    "18446744073709551615",
    "s",
    "ms",
    "min",
    "h",
    "d",
    "KB",
    "MB",
    "GiB",
    "é",
    "😀",
    "\0",
    "\"",
    "\\",
    "A_B",
];

const ATTRIBUTES: &[&str] = &[
    "post = \"/accounts/{account}/payments\", version = 1..=2, idempotent(ttl = \"48h\", optional), timeout = \"5s\"",
    "get = \"/orders\", public, paginate(cursor, default = 50, max = 100), rate_limit(\"5/s\", by = caller)",
    "get = \"/a/{b}\", version = 1.., rate_limit(\"100/min\", burst = 20, algorithm = token_bucket, cost = 1, name = \"login\", shadow)",
    "patch = \"/a\", not_idempotent = \"sets a value\", body_limit = \"1MB\", type_name = other, unpaginated = \"few\"",
];

const FUNCTIONS: &[&str] = &[
    "async fn health() {}",
    "pub async fn orders(caller: Option<Caller>, page: PageRequest<u64>) -> Page<Order> { loop {} }",
    "/// Charges.\n#[cfg(feature = \"payments\")] pub(crate) async fn create(State(app): State<App>, \
     Path(account): Path<Id<Account>>, Json(new): Json<New>) -> Result<Created<Payment>, Wrong> { app.charge(new).await }",
    "async fn a<'a, T: ?Sized + for<'b> F<'b>, const N: usize>(&mut self, #[cfg(x)] (a, b): (&'a T, [u8; N]), c: impl Fn(u8) -> _) \
     -> impl Stream<Item = u8> + 'a where T: Copy { loop { let x = |y| y?; x. } }",
    "unsafe extern \"C\" fn a(x: u8, ...) -> ! {}",
    "struct A { b: u8 }",
];

const ERRORS: &[&str] = &[
    "#[derive(Debug)] pub enum E { #[problem(conflict, code = \"NO_FUNDS\", status = 409)] A { #[problem(extension)] available: u64 }, \
     #[problem(validation, pointer = \"#/amount\")] B, #[problem(dependency, retry_after = \"2s\", effects = none)] C(u8), \
     #[problem(transparent)] D(#[from] Other) }",
    "#[problem(not_found, title = \"Gone\", detail = \"x\")] struct E<'a, T: Copy>(&'a T) where T: Send;",
    "#[problem(conflict)] union E { a: u8 }",
    "#[resource(prefix = \"pay\")] struct Payment;",
    "pub struct Newest { #[cursor(desc, column = \"a.b\")] pub at: i64, #[cursor(unique)] id: Id<Payment> }",
    "#[cursor(unique)] union K<T> { #[cursor] a: u8 }",
    "#[resource(prefix = \"a_1\")] #[resource] #[resource = 1] pub(crate) enum R<T, const N: usize = 1> where T: Copy {}",
];

const ROUTES: &[&str] = &[
    "health, payments::create, #[cfg(feature = \"x\")] ::a::b::<T>::c,",
    "self::a, #[doc = \"x\"] crate::b, <A as B>::c",
];

/// Random decisions that are generated in advance, so that proptest can shrink a failure.
struct Choices<'a>(core::slice::Iter<'a, u16>);

impl Choices<'_> {
    /// Returns a number below `count`, or `count - 1` if no decisions are left.
    fn below(&mut self, count: usize) -> usize {
        self.0
            .next()
            .map_or(count - 1, |choice| usize::from(*choice) % count)
    }

    fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// Returns real code with random changes, or random tokens.
    fn code(&mut self, real: &[&str]) -> TokenStream {
        if self.below(6) == 0 {
            return self.stream(3);
        }
        let real = self.pick(real).parse().expect("tokens");
        self.mangled(real)
    }

    fn stream(&mut self, depth: usize) -> TokenStream {
        let mut stream = TokenStream::new();
        for _ in 0..self.below(7) {
            if !self.is_over() {
                stream.extend(self.tokens(depth));
            }
        }
        stream
    }

    /// Returns one token, or a few tokens that belong together.
    fn tokens(&mut self, depth: usize) -> TokenStream {
        match self.below(9) {
            0 | 1 => self.pick(WORDS).parse().expect("a word"),
            2 => Ident::new(self.pick(KEYS).name, Span::call_site()).into_token_stream(),
            3 => {
                let key = self.pick(KEYS);
                self.pick(key.forms).parse().expect("a form")
            }
            4 => self.literal().into(),
            5 | 6 => self.punctuation().into(),
            7 if depth > 0 => self.group(depth - 1).into(),
            _ => self
                .pick(&[
                    "= ",
                    ",",
                    "::",
                    "..=",
                    "->",
                    "'a",
                    "#[cfg(x)]",
                    "#![a]",
                    "$x",
                ])
                .parse()
                .expect("tokens"),
        }
    }

    fn literal(&mut self) -> TokenTree {
        TokenTree::Literal(match self.below(5) {
            0 => Literal::i64_unsuffixed(-1),
            1 => Literal::f32_suffixed(-0.5),
            2 | 3 => Literal::string(
                &(0..self.below(7))
                    .map(|_| *self.pick(PIECES))
                    .collect::<String>(),
            ),
            _ => self.pick(LITERALS).parse().expect("a literal"),
        })
    }

    fn punctuation(&mut self) -> TokenTree {
        let character = self.pick(&[
            '=', ',', '<', '>', '!', '~', '+', '-', '*', '/', '%', '^', '&', '|', '@', '.', ';',
            ':', '#', '$', '?',
        ]);
        Punct::new(*character, *self.pick(&[Spacing::Joint, Spacing::Alone])).into()
    }

    fn group(&mut self, depth: usize) -> TokenTree {
        let delimiter = self.pick(&[
            Delimiter::Parenthesis,
            Delimiter::Brace,
            Delimiter::Bracket,
            Delimiter::None,
        ]);
        Group::new(*delimiter, self.stream(depth)).into()
    }

    /// Returns the tokens with random changes: tokens are removed, doubled, replaced or grouped, or
    /// the end is missing.
    fn mangled(&mut self, stream: TokenStream) -> TokenStream {
        let mut mangled = TokenStream::new();
        for tree in stream {
            match self.below(32) {
                0 => {}
                1 => mangled.extend([tree.clone(), tree]),
                2 => mangled.extend(self.tokens(2)),
                3 => mangled.extend(self.tokens(2).into_iter().chain([tree])),
                4 => mangled.extend([TokenTree::from(Group::new(
                    *self.pick(&[Delimiter::None, Delimiter::Parenthesis]),
                    tree.into(),
                ))]),
                5 if self.below(4) == 0 => break,
                _ => mangled.extend([self.mangled_inside(tree)]),
            }
        }
        mangled
    }

    fn mangled_inside(&mut self, tree: TokenTree) -> TokenTree {
        match tree {
            TokenTree::Group(group) => {
                Group::new(group.delimiter(), self.mangled(group.stream())).into()
            }
            tree => tree,
        }
    }
}

fn choices() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..160)
}

/// Returns true if the printed tokens can be parsed again. Random tokens sometimes cannot, for
/// example because two slashes in a row become a comment.
fn is_source(tokens: &TokenStream) -> bool {
    tokens.to_string().parse::<TokenStream>().is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn endpoint_expands_any_tokens_without_a_panic(choices in choices()) {
        let mut choices = Choices(choices.iter());
        let (arguments, item) = (choices.code(ATTRIBUTES), choices.code(FUNCTIONS));
        let output = endpoint::endpoint(arguments.clone(), item.clone());
        assert!(is_source(&output) || !is_source(&arguments) || !is_source(&item));
        let parsed = syn::parse2::<File>(output);
        assert!(parsed.is_ok() || syn::parse2::<File>(item.clone()).is_err(), "#[endpoint({arguments})] {item}");
    }

    #[test]
    fn routes_expands_any_tokens_without_a_panic(choices in choices()) {
        let entries = Choices(choices.iter()).code(ROUTES);
        let output = routes::routes(entries.clone());
        assert!(is_source(&output) || !is_source(&entries));
        syn::parse2::<Expr>(output).expect("an expression");
    }

    #[test]
    fn api_error_expands_any_tokens_without_a_panic(choices in choices()) {
        let item = Choices(choices.iter()).code(ERRORS);
        let output = derive::api_error::derive(item.clone());
        assert!(is_source(&output) || !is_source(&item));
        syn::parse2::<File>(output).expect("items");
    }

    #[test]
    fn cursor_key_expands_any_tokens_without_a_panic(choices in choices()) {
        let item = Choices(choices.iter()).code(ERRORS);
        let output = derive::cursor_key::derive(item.clone());
        assert!(is_source(&output) || !is_source(&item));
        syn::parse2::<File>(output).expect("items");
    }

    #[test]
    fn resource_expands_any_tokens_without_a_panic(choices in choices()) {
        let item = Choices(choices.iter()).code(ERRORS);
        let output = derive::resource::derive(item.clone());
        assert!(is_source(&output) || !is_source(&item));
        syn::parse2::<File>(output).expect("items");
    }
}
