//! Snapshots of whole expansions: what a reader sees of `cargo expand`.

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
        quote!(get = "/orders", public, paginate(cursor, max = 20), rate_limit("5/s", by = caller)),
        quote! {
            pub async fn orders(caller: Option<Caller>, page: PageRequest<u64>) -> Page<Order> {
                find(page)
            }
        },
    );
    insta::assert_snapshot!(expansion);
}

#[test]
fn a_mistake_leaves_the_item_and_inert_implementations() {
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
    prettyplease::unparse(&syn::parse2(tokens).expect("the expansion is a list of items"))
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

#[test]
fn a_half_typed_body_is_passed_on() {
    let text = endpoint(quote!(get = "/a"), quote!(async fn a() { let x = })).to_string();
    assert!(text.starts_with("async fn a () { let x = }"), "{text}");
    assert!(!text.contains("compile_error"), "{text}");
}
