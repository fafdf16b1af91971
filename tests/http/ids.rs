//! Identifiers in paths, queries and bodies.

use aplomb::Id;
use aplomb::prelude::*;
use aplomb::routes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::TestService;

#[derive(Resource)]
#[resource(prefix = "acc")]
struct Account;

#[derive(Resource)]
#[resource(prefix = "pay")]
struct Payment;

/// Reads one identifier from the path.
#[endpoint(get = "/payments/{payment}", public)]
async fn single(Path(id): Path<Id<Payment>>) -> String {
    id.to_string()
}

/// Reads two identifiers from the path, by position.
#[endpoint(get = "/accounts/{account}/payments/{payment}", public)]
async fn tuple(Path((account, payment)): Path<(Id<Account>, Id<Payment>)>) -> String {
    format!("{account} {payment}")
}

#[derive(Deserialize)]
struct Place {
    account: Id<Account>,
    payment: Id<Payment>,
}

/// Reads two identifiers from the path, by name.
#[endpoint(get = "/places/{account}/{payment}", public)]
async fn by_name(Path(place): Path<Place>) -> String {
    format!("{} {}", place.account, place.payment)
}

#[derive(Deserialize)]
struct Filter {
    account: Option<Id<Account>>,
    #[serde(default, rename = "payment")]
    payments: Vec<Id<Payment>>,
}

/// Reads one identifier and a list of identifiers from the query.
#[endpoint(get = "/search", public)]
async fn query(Query(filter): Query<Filter>) -> String {
    format!("{:?} {:?}", filter.account, filter.payments)
}

#[derive(Serialize, Deserialize)]
struct Transfer {
    from: Id<Account>,
    to: Vec<Id<Account>>,
}

/// Reads identifiers from the body.
#[endpoint(post = "/transfers", public, not_idempotent = "nothing is stored")]
async fn body(Json(transfer): Json<Transfer>) -> Json<Transfer> {
    Json(transfer)
}

async fn service() -> TestService {
    TestService::start(routes![single, tuple, by_name, query, body]).await
}

const PAY: &str = "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6";
const ACC: &str = "acc_01HZQK7P3WVXBN4Y9MRDTJC8E6";

fn first_error(problem: &Value) -> (&str, &str) {
    let error = &problem["errors"][0];
    let place = error["parameter"].as_str().or(error["pointer"].as_str());
    (
        place.expect("a place"),
        error["detail"].as_str().expect("a detail"),
    )
}

#[tokio::test]
async fn h01_identifiers_are_written_in_upper_case_and_read_in_any_case() {
    let service = service().await;
    let get = |path: String| service.client.get(&path).send();
    let lower = |id: &str| format!("{}{}", &id[..4], id[4..].to_lowercase());
    let (pay, acc) = (lower(PAY), lower(ACC));
    assert_eq!(get(format!("/payments/{pay}")).await.body, PAY);
    assert_eq!(
        get(format!("/accounts/{acc}/payments/{pay}")).await.body,
        format!("{ACC} {PAY}")
    );
    assert_eq!(
        get(format!("/places/{acc}/{pay}")).await.body,
        format!("{ACC} {PAY}")
    );
    let found = get(format!("/search?account={acc}&payment={pay}&payment={PAY}")).await;
    assert_eq!(found.body, format!("Some({ACC}) [{PAY}, {PAY}]"));
    let sent = format!(r#"{{"from":"{acc}","to":["{ACC}"]}}"#);
    let reply = service.client.post("/transfers").json(sent).send().await;
    assert_eq!(reply.body, format!(r#"{{"from":"{ACC}","to":["{ACC}"]}}"#));
}

#[tokio::test]
async fn h01_a_wrong_prefix_is_a_400_that_names_the_parameter() {
    let service = service().await;
    for (path, name) in [
        (format!("/payments/{ACC}"), "payment"),
        (format!("/accounts/{ACC}/payments/{ACC}"), "payment"),
        (format!("/accounts/{PAY}/payments/{PAY}"), "account"),
        (format!("/places/{ACC}/{ACC}"), "payment"),
        (format!("/places/{PAY}/{PAY}"), "account"),
        (format!("/search?account={PAY}"), "account"),
        (format!("/search?payment={PAY}&payment={ACC}"), "payment"),
    ] {
        let problem = service
            .client
            .get(&path)
            .send()
            .await
            .problem(400, "INVALID_PARAMETER");
        let (place, detail) = first_error(&problem);
        let example = if name == "payment" { PAY } else { ACC };
        assert_eq!(place, name, "{path}");
        assert_eq!(
            detail,
            format!("expected an identifier such as {example}"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn h01_a_wrong_prefix_in_a_body_is_a_422_that_names_the_member() {
    let service = service().await;
    let sent = format!(r#"{{"from":"{ACC}","to":["{ACC}","{PAY}"]}}"#);
    let problem = service
        .client
        .post("/transfers")
        .json(sent)
        .send()
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(
        first_error(&problem),
        (
            "#/to/1",
            format!("expected an identifier such as {ACC}").as_str()
        )
    );
}

#[tokio::test]
async fn h02_an_identifier_without_a_valid_ulid_is_a_400() {
    let service = service().await;
    for ulid in [
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01HZQK7P3WVXBN4Y9MRDTJC8EI",
        "01HZQK7P3WVXBN4Y9MRDTJC8E",
        "%F0%9F%98%80",
        "%00",
    ] {
        let path = format!("/payments/pay_{ulid}");
        let problem = service
            .client
            .get(&path)
            .send()
            .await
            .problem(400, "INVALID_PARAMETER");
        assert_eq!(first_error(&problem).0, "payment", "{ulid}");
    }
}

#[tokio::test]
async fn h01_a_link_contains_the_identifier() {
    let id: Id<Payment> = PAY.parse().expect("valid");
    assert_eq!(single::uri(&id), format!("/payments/{PAY}").as_str());
}
