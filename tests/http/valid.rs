//! Arguments with validation rules.

use std::collections::HashMap;

use aplomb::extract::ValidationContext;
use aplomb::prelude::*;
use aplomb::{Valid, routes};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::{ALICE, App, TestService};

#[derive(Deserialize, Validate)]
#[serde(rename_all = "camelCase")]
struct Order {
    #[garde(length(min = 1))]
    customer: String,
    #[garde(dive)]
    items: Vec<Item>,
    #[serde(default)]
    #[garde(dive)]
    by_name: HashMap<String, Item>,
    #[serde(default)]
    #[garde(length(max = 3))]
    gift_text: String,
    #[serde(flatten)]
    #[garde(dive)]
    flat: Option<Item>,
}

#[derive(Deserialize, Validate)]
struct Item {
    #[garde(range(min = 1), custom(even))]
    quantity: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "garde prescribes the signature"
)]
fn even(quantity: &u32, (): &()) -> garde::Result {
    if quantity.is_multiple_of(2) {
        Ok(())
    } else {
        Err(garde::Error::new("not even"))
    }
}

/// Reads a body.
#[endpoint(post = "/orders", idempotent)]
async fn order(State(app): State<App>, Valid(Json(order)): Valid<Json<Order>>) -> Created<usize> {
    app.effect();
    Created::new(
        order.items.len()
            + order.by_name.len()
            + order.customer.len()
            + order.gift_text.len()
            + usize::from(order.flat.is_some()),
    )
}

#[derive(Deserialize, Validate)]
struct Search {
    #[garde(range(max = 2100))]
    year: u32,
    #[serde(default)]
    #[garde(inner(length(min = 2)))]
    tag: Vec<String>,
}

/// Reads a query.
#[endpoint(get = "/search", public)]
async fn search(Valid(Query(search)): Valid<Query<Search>>) -> String {
    format!("{} {:?}", search.year, search.tag)
}

#[derive(Deserialize, Serialize, Validate)]
struct Place {
    #[garde(range(max = 9))]
    row: u32,
    #[garde(range(max = 9))]
    seat: u32,
}

/// Reads parameters by name.
#[endpoint(get = "/places/{row}/{seat}", public)]
async fn place(Valid(Path(place)): Valid<Path<Place>>) -> String {
    format!("{} {}", place.row, place.seat)
}

#[derive(Deserialize, Serialize, Validate)]
#[serde(transparent)]
#[garde(transparent)]
struct Small(#[garde(range(max = 9))] u32);

/// Reads parameters by position.
#[endpoint(get = "/pairs/{left}/{right}", public)]
async fn pair(Valid(Path((left, right))): Valid<Path<(Small, Small)>>) -> String {
    format!("{} {}", left.0, right.0)
}

/// Reads one parameter.
#[endpoint(get = "/small/{number}", public)]
async fn small(Valid(Path(number)): Valid<Path<Small>>) -> String {
    number.0.to_string()
}

/// The number of effects. A validation rule below uses this number as its maximum.
struct Effects(usize);

impl ValidationContext<App> for Effects {
    fn from_state(app: &App) -> Self {
        Self(app.effects())
    }
}

#[derive(Deserialize, Validate)]
#[garde(context(Effects as effects))]
struct Bounded {
    #[garde(range(max = effects.0))]
    count: usize,
}

/// Reads a body whose rules depend on the state.
#[endpoint(post = "/bounded", public, not_idempotent = "nothing is stored")]
async fn bounded(State(app): State<App>, Valid(Json(bounded)): Valid<Json<Bounded>>) -> String {
    app.effect();
    bounded.count.to_string()
}

async fn service() -> TestService {
    TestService::start(routes![order, search, place, pair, small, bounded]).await
}

fn field_errors<'a>(problem: &'a Value, member: &str) -> Vec<(&'a str, &'a str)> {
    let errors = problem["errors"].as_array().expect("errors");
    assert!(
        errors
            .iter()
            .all(|error| error["code"] == "CONSTRAINT_VIOLATED"),
        "{problem}"
    );
    let text = |value: &'a Value| value.as_str().unwrap_or("none");
    errors
        .iter()
        .map(|error| (text(&error[member]), text(&error["detail"])))
        .collect()
}

#[tokio::test]
async fn f04_all_broken_rules_of_a_body_are_reported_in_a_stable_order() {
    let service = service().await;
    let sent = json!({
        "customer": "",
        "items": (0..12).map(|index| json!({"quantity": if index == 2 || index == 10 { 0 } else { 2 }})).collect::<Vec<_>>(),
        "byName": {"b": {"quantity": 3}, "a/b~c": {"quantity": 1}, "é": {"quantity": 5}},
        "giftText": "long",
        "quantity": 1,
    })
    .to_string();
    let mut problems = Vec::new();
    for _ in 0..3 {
        let call = service
            .client
            .post("/orders")
            .bearer(ALICE)
            .idempotency_key("a")
            .json(sent.clone());
        problems.push(call.send().await.problem(422, "VALIDATION_FAILED"));
    }
    let expected = [
        ("#/byName/a~1b~0c/quantity", "not even"),
        ("#/byName/b/quantity", "not even"),
        ("#/byName/%C3%A9/quantity", "not even"),
        ("#/customer", "length is lower than 1"),
        ("#/quantity", "not even"),
        ("#/giftText", "length is greater than 3"),
        ("#/items/2/quantity", "lower than 1"),
        ("#/items/10/quantity", "lower than 1"),
    ];
    for problem in problems {
        assert_eq!(field_errors(&problem, "pointer"), expected);
    }
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn f04_a_failed_validation_frees_the_key_and_a_replay_is_not_validated_again() {
    let service = service().await;
    let send = |body: &'static str| {
        service
            .client
            .post("/orders")
            .bearer(ALICE)
            .idempotency_key("a")
            .json(body)
            .send()
    };
    send(r#"{"customer":"","items":[]}"#)
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(send(r#"{"customer":"x","items":[]}"#).await.status, 201);
    assert!(send(r#"{"customer":"x","items":[]}"#).await.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn f04_at_most_100_broken_rules_are_reported() {
    let service = service().await;
    let items: Vec<_> = (0..5_000).map(|_| json!({"quantity": 1})).collect();
    let sent = json!({"customer": "x", "items": items}).to_string();
    let reply = service
        .client
        .post("/orders")
        .bearer(ALICE)
        .idempotency_key("a")
        .json(sent)
        .send()
        .await;
    let problem = reply.problem(422, "VALIDATION_FAILED");
    let field_errors = field_errors(&problem, "pointer");
    assert_eq!(
        (field_errors.len(), field_errors[0].0, field_errors[99].0),
        (100, "#/items/0/quantity", "#/items/99/quantity")
    );
}

#[tokio::test]
async fn f04_unreadable_data_is_rejected_before_validation() {
    let service = service().await;
    let send = |body: &'static str| {
        service
            .client
            .post("/orders")
            .bearer(ALICE)
            .idempotency_key("a")
            .json(body)
            .send()
    };
    send("{").await.problem(400, "MALFORMED_JSON");
    let problem = send(r#"{"customer":"","items":{}}"#)
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(problem["errors"][0]["code"], "WRONG_SHAPE");
    let text = service
        .client
        .post("/orders")
        .bearer(ALICE)
        .idempotency_key("a")
        .body("{}")
        .send()
        .await;
    text.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    service
        .client
        .get("/search?year=x")
        .send()
        .await
        .problem(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn f04_broken_rules_of_a_parameter_are_a_400_that_names_it() {
    let service = service().await;
    for (path, expected) in [
        (
            "/search?year=3000&tag=ok&tag=a",
            &[
                ("tag", "length is lower than 2"),
                ("year", "greater than 2100"),
            ][..],
        ),
        (
            "/places/10/11",
            &[("row", "greater than 9"), ("seat", "greater than 9")],
        ),
        ("/pairs/1/11", &[("right", "greater than 9")]),
        (
            "/pairs/10/11",
            &[("left", "greater than 9"), ("right", "greater than 9")],
        ),
        ("/small/10", &[("number", "greater than 9")]),
    ] {
        let problem = service
            .client
            .get(path)
            .send()
            .await
            .problem(400, "INVALID_PARAMETER");
        assert_eq!(field_errors(&problem, "parameter"), expected, "{path}");
    }
    assert_eq!(
        service
            .client
            .get("/search?year=2026&tag=ok")
            .send()
            .await
            .body,
        "2026 [\"ok\"]"
    );
    assert_eq!(service.client.get("/places/1/2").send().await.body, "1 2");
    assert_eq!(service.client.get("/pairs/1/2").send().await.body, "1 2");
}

#[tokio::test]
async fn f04_rules_can_depend_on_the_state() {
    let service = service().await;
    let send = || {
        service
            .client
            .post("/bounded")
            .json(r#"{"count":1}"#)
            .send()
    };
    let problem = send().await.problem(422, "VALIDATION_FAILED");
    assert_eq!(
        field_errors(&problem, "pointer"),
        [("#/count", "greater than 0")]
    );
    service.app.effect();
    assert_eq!(send().await.body, "1");
}

#[test]
fn links_accept_validated_parameters() {
    assert_eq!(small::uri(&Small(7)), "/small/7");
    assert_eq!(place::uri(&Place { row: 1, seat: 2 }), "/places/1/2");
}
