//! Links to endpoints.

use aplomb::prelude::*;

#[derive(Resource)]
#[resource(prefix = "pay")]
struct Payment;

/// Reads a payment.
#[endpoint(get = "/payments/{id}", version = 1..=2)]
async fn get_payment(Path(_): Path<Id<Payment>>) {}

/// Reads an item.
#[endpoint(get = "/orders/{order}/items/{item}")]
async fn get_item(State(()): State<()>, axum::extract::Path(_): axum::extract::Path<(String, u8)>) {
}

/// Lists payments.
#[endpoint(get = "/payments", version = 1)]
async fn list_payments() {}

#[test]
fn links_follow_the_declared_path_and_version() {
    let id: Id<Payment> = "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6"
        .parse()
        .expect("an identifier");
    assert_eq!(
        get_payment::uri(&id),
        "/v2/payments/pay_01HZQK7P3WVXBN4Y9MRDTJC8E6"
    );
    assert_eq!(
        get_item::uri(&(String::from("a/b ü"), 7)),
        "/orders/a%2Fb%20%C3%BC/items/7"
    );
    assert_eq!(list_payments::uri(), "/v1/payments");
}
