//! Snapshots of whole expansions, as `cargo expand` prints them, and tests of incomplete code.

use proc_macro2::TokenStream;
use quote::quote;

use super::endpoint;

fn expanded(arguments: TokenStream, item: TokenStream) -> String {
    let tokens = endpoint(arguments, item);
    let file = syn::parse2(tokens).expect("the expansion is a list of items");
    prettyplease::unparse(&file)
}

#[test]
fn an_endpoint_with_every_policy() {
    let expansion = expanded(
        quote! {
            post = "/accounts/{account}/payments",
            version = 1..=2,
            idempotent(ttl = "48h"),
            rate_limit = "100/min",
            rate_limit("5/s", by = caller, name = "burst"),
            timeout = "5s",
            body_limit = "64KB",
            unpaginated = "a payment has few lines",
        },
        quote! {
            /// Charges an account.
            ///
            /// Once.
            #[cfg(feature = "payments")]
            pub(crate) async fn create_payment(
                State(app): State<App>,
                Path(account): Path<Id<Account>>,
                Json(new): Json<NewPayment>,
            ) -> Result<Created<Payment>, PaymentError> {
                app.charge(account, new).await
            }
        },
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn the_smallest_endpoint() {
    let expansion = expanded(
        quote!(get = "/health", public),
        quote!(
            async fn health() {}
        ),
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_page_of_a_public_list_limited_by_caller() {
    let expansion = expanded(
        quote!(
            get = "/orders",
            public,
            paginate(cursor, max = 20),
            rate_limit("5/s", by = caller)
        ),
        quote! {
            pub async fn orders(caller: Option<Caller>, page: PageRequest<u64>) -> Page<Order> {
                find(page)
            }
        },
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_deprecated_endpoint() {
    let expansion = expanded(
        quote! {
            get = "/accounts",
            version = 1,
            public,
            deprecated("2026-06-30", info = "https://api.example/v2"),
            sunset("2026-12-31", enforce),
            successor = v2::accounts,
        },
        quote! {
            pub async fn accounts() -> String {
                String::new()
            }
        },
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn an_error_keeps_the_item_and_emits_stubs() {
    let expansion = expanded(
        quote!(get = "/orders/{id}", idempotent),
        quote! {
            pub async fn order(Path(id): Path<u64>) -> Json<Order> {
                find(id)
            }
        },
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_list_of_routes() {
    let list = crate::routes::routes(quote!(
        users::list,
        #[cfg(feature = "orders")]
        orders
    ));
    let file = syn::parse2(quote!(fn main() { #list })).expect("the expansion is an expression");
    insta::assert_snapshot!(prettyplease::unparse(&file));
}

fn derived(tokens: TokenStream) -> String {
    let text =
        prettyplease::unparse(&syn::parse2(tokens).expect("the expansion is a list of items"));
    assert!(
        !text.contains("::aplomb::"),
        "only the import in the scope may name the crate: {text}"
    );
    text
}

#[test]
fn a_renamed_crate() {
    let list = crate::routes::routes(quote!(crate = framework::web; users));
    let list: syn::Item = syn::parse_quote!(
        fn main() {
            #list
        }
    );
    let items = [
        endpoint(
            quote!(get = "/users", public, crate = ::web),
            quote!(
                #[deprecated]
                #[expect(dead_code)]
                async fn users() {}
            ),
        ),
        crate::derive::resource::derive(quote!(
            #[resource(prefix = "pay", crate = crate::web)]
            struct Payment;
        )),
        quote!(#list),
    ];
    insta::assert_snapshot!(derived(items.into_iter().collect()));
}

#[test]
fn an_error_of_several_kinds() {
    let expansion = derived(crate::derive::api_error::derive(quote! {
        enum PaymentError {
            #[problem(conflict, code = "INSUFFICIENT_FUNDS")]
            InsufficientFunds {
                #[problem(extension)]
                available: i64,
            },
            #[problem(validation, code = "NOT_POSITIVE", pointer = "#/amount")]
            Amount,
            #[problem(dependency, retry_after = "2s", effects = none)]
            Network(#[source] NetworkError),
            #[problem(transparent)]
            Account(AccountError),
        }
    }));
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_resource_with_its_prefix() {
    let expansion = derived(crate::derive::resource::derive(quote! {
        #[resource(prefix = "pay")]
        struct Payment;
    }));
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_key_of_a_cursor() {
    let expansion = derived(crate::derive::cursor_key::derive(quote! {
        struct Newest {
            #[cursor(desc)]
            created_at: i64,
            #[cursor(desc, unique, column = "payments.id")]
            id: Id<Payment>,
        }
    }));
    insta::assert_snapshot!(expansion);
}

/// Returns the expansion of an endpoint with this body, which may be incomplete.
fn with_body(body: &str) -> String {
    let body: TokenStream = body.parse().expect("tokens");
    let item = quote! {
        async fn order(State(app): State<App>, Path(id): Path<u64>) -> Json<Order> { #body }
    };
    endpoint(quote!(get = "/orders/{id}"), item).to_string()
}

/// An editor expands a function while its body is incomplete. The item stays unchanged, the
/// generated code equals the code for a complete body, and the macro reports no error.
#[test]
fn an_incomplete_body_does_not_change_the_expansion() {
    let complete = with_body("find(app, id)");
    let generated = complete
        .split_once("find (app , id) }")
        .expect("the item and what follows it")
        .1;
    assert!(!generated.contains("compile_error"), "{complete}");
    for body in [
        "app.",
        "let x = ",
        "app.find(id, )",
        "if let Some(order) ",
        "match id { 7 => }",
        "Json(Order { id: })",
    ] {
        let incomplete = with_body(body);
        let body: TokenStream = body.parse().unwrap_or_default();
        let item = format!("-> Json < Order > {{ {body} }}");
        let (_, after) = incomplete
            .split_once(&item)
            .unwrap_or_else(|| panic!("{incomplete}"));
        assert_eq!(after, generated, "{body}");
    }
}

#[test]
fn a_half_typed_body_as_it_is_expanded() {
    let text = with_body("app.");
    let (item, generated) = text
        .split_once("app . }")
        .expect("the item and what follows it");
    let file = syn::parse_str(generated).expect("the generated items parse");
    insta::assert_snapshot!(format!("{item}app . }}\n{}", prettyplease::unparse(&file)));
}

/// An incomplete attribute causes one error. The expansion still contains the item, the type with
/// its name, and its link.
#[test]
fn an_incomplete_attribute_keeps_the_item_and_its_names() {
    let incomplete = [
        (
            quote!(get = "/orders/{id}", rate_li),
            "did you mean `rate_limit = ",
        ),
        (quote!(get = ), "`get` needs a value"),
        (
            quote!(get = "/orders/{id}", timeout = ),
            "write `timeout = \"5s\"`",
        ),
        (
            quote!(post = "/orders/{id}", idempotent(ttl = )),
            "write `ttl = \"24h\"`",
        ),
        (quote!(get), "`get` needs a value"),
        (quote!(), "write `get = \"/path\"`"),
    ];
    for (arguments, message) in incomplete {
        let text = expanded(
            arguments.clone(),
            quote!(
                async fn order(Path(id): Path<u64>) -> Json<Order> {
                    find(id)
                }
            ),
        );
        assert!(
            text.starts_with(
                "async fn order(Path(id): Path<u64>) -> Json<Order> {\n    find(id)\n}"
            ),
            "{text}"
        );
        assert!(
            text.contains("struct order {}") && text.contains("Endpoint for order"),
            "{text}"
        );
        assert!(text.contains("fn uri"), "{arguments}: {text}");
        assert_eq!(text.matches("compile_error!").count(), 1, "{text}");
        assert!(
            text.contains(&message.escape_default().to_string()) || text.contains(message),
            "{text}"
        );
    }
}

#[test]
fn a_half_typed_attribute_as_it_is_expanded() {
    let expansion = expanded(
        quote!(get = "/orders/{id}", rate_li),
        quote!(
            async fn order(Path(id): Path<u64>) -> Json<Order> {
                find(id)
            }
        ),
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_half_typed_list_of_routes_keeps_the_other_entries() {
    let list = crate::routes::routes(quote!(users::list, orders::, users::create payments));
    let file = syn::parse2(quote!(fn main() { #list })).expect("the expansion is an expression");
    insta::assert_snapshot!(prettyplease::unparse(&file));
}

/// An editor expands an attribute before the signature of its function is complete.
#[test]
fn an_incomplete_signature_keeps_the_item_and_its_names() {
    let text = endpoint(
        quote!(get = "/orders/{id}"),
        quote!(pub async fn order(id: ) -> Json<Order> {}),
    )
    .to_string();
    assert!(
        text.starts_with("pub async fn order (id :) -> Json < Order > { }"),
        "{text}"
    );
    assert!(
        text.contains("pub struct order") && text.contains("Endpoint for order"),
        "{text}"
    );
    assert_eq!(text.matches("compile_error !").count(), 1, "{text}");
}
