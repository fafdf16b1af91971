//! Responses that are encrypted in the store.

use std::sync::Arc;

use aplomb::Secret;
use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::store::{MemoryLimits, RedisConfig, Store};
use aplomb::testing::{RedisServer, Reply as RedisReply};

use super::*;

const ITEM: &str = "a most particular oolong";
const ORDER: &str = r#"{"item": "a most particular oolong"}"#;
const LOCATION: &str = "/orders/0";

fn keys(id: &str, byte: u8) -> EncryptionKeys {
    EncryptionKeys::new(id, [byte; 32]).expect("a valid id")
}

/// Another instance of the service.
struct Instance {
    client: Client,
    _server: TestServer,
}

/// Starts another instance of the service, with other settings.
async fn instance(service: &TestService, adjust: impl FnOnce(Api<App>) -> Api<App>) -> Instance {
    let api = adjust(service.configure(Api::new("test", routes())));
    let server = TestServer::start(api, service.app.clone())
        .await
        .expect("a valid API");
    Instance {
        client: Client::new(server.address()),
        _server: server,
    }
}

async fn service_with_keys(keys: EncryptionKeys) -> TestService {
    TestService::start_with(routes(), |api| api.encryption_keys(keys)).await
}

#[tokio::test]
async fn a26_a_replay_of_an_encrypted_response_equals_the_first_response() {
    let service = service_with_keys(keys("a", 1)).await;
    let send = || order(&service.client, "k", ORDER).send();
    let (first, second) = (send().await, send().await);
    assert!(first.status == 201 && !first.replayed() && second.replayed());
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    for field in ["location", "content-type"] {
        assert!(
            first.header(field).is_some() && second.header(field) == first.header(field),
            "{field}"
        );
    }
    order(&service.client, "k", VALID_ORDER)
        .send()
        .await
        .problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a26_the_location_of_a_response_without_a_stored_body_is_replayed() {
    let service = service_with_keys(keys("a", 1)).await;
    for (key, how, status) in [("k", "large", 303), ("l", "large_without_location", 410)] {
        let body = format!(r#"{{"item": "tea", "how": "{how}"}}"#);
        assert_eq!(order(&service.client, key, &body).send().await.status, 201);
        assert_eq!(
            order(&service.client, key, &body).send().await.status,
            status,
            "{how}"
        );
    }
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a26_encryption_keys_can_be_rotated_while_clients_retry() {
    let service = service_with_keys(keys("old", 1)).await;
    let both_keys = keys("old", 1).with_key("new", [2; 32]).expect("another id");
    let rotated = keys("new", 2).with_key("old", [1; 32]).expect("another id");
    let with_both = instance(&service, |api| api.encryption_keys(both_keys)).await;
    let rotated = instance(&service, |api| api.encryption_keys(rotated)).await;
    let by_old = order(&service.client, "k", ORDER).send().await;
    let by_new = order(&rotated.client, "l", ORDER).send().await;
    for client in [&with_both.client, &rotated.client] {
        for (key, first) in [("k", &by_old), ("l", &by_new)] {
            let replay = order(client, key, ORDER).send().await;
            assert!(replay.replayed() && replay.body == first.body, "{key}");
        }
    }
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a26_without_its_encryption_key_a_retry_is_a_503_and_no_handler_runs() {
    let service = service_with_keys(keys("a", 1)).await;
    let first = order(&service.client, "k", ORDER).send().await;
    let instances = [
        instance(&service, |api| api).await,
        instance(&service, |api| api.encryption_keys(keys("b", 2))).await,
        instance(&service, |api| api.encryption_keys(keys("a", 2))).await,
    ];
    for instance in &instances {
        for _ in 0..2 {
            let reply = order(&instance.client, "k", ORDER).send().await;
            assert_eq!(reply.problem(503, "STORE_UNAVAILABLE")["retryable"], true);
            assert!(reply.header_number("retry-after") >= 1);
        }
        order(&instance.client, "k", VALID_ORDER)
            .send()
            .await
            .problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(service.app.effects(), 1);
    let replay = order(&service.client, "k", ORDER).send().await;
    assert!(
        replay.replayed() && replay.body == first.body,
        "the record is unchanged"
    );
}

#[tokio::test]
async fn a26_responses_stored_in_clear_text_are_replayed() {
    let service = service().await;
    let first = order(&service.client, "k", ORDER).send().await;
    let encrypting = instance(&service, |api| api.encryption_keys(keys("a", 1))).await;
    let replay = order(&encrypting.client, "k", ORDER).send().await;
    assert!(replay.replayed() && replay.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a26_encrypted_responses_survive_a_change_of_the_secret() {
    let service = service_with_keys(keys("a", 1)).await;
    let first = order(&service.client, "k", ORDER).send().await;
    let secret = Secret::new([8; 32]).expect("long enough");
    let changed = |api: Api<App>| api.secret(secret).encryption_keys(keys("a", 1));
    let instance = instance(&service, changed).await;
    let replay = order(&instance.client, "k", ORDER).send().await;
    assert!(replay.replayed() && replay.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

/// Starts a run whose lease lapses, and then another run under the same key. Returns the responses
/// of both runs.
async fn two_runs(service: &TestService, other: &Client) -> (ClientResponse, ClientResponse) {
    let put = |client: Client| async move {
        let put = client
            .request(http::Method::PUT, "/v1/orders/1")
            .bearer(ALICE)
            .idempotency_key("k");
        put.json(r#"{"item": "tea", "how": "first_held"}"#)
            .send()
            .await
    };
    let first = tokio::spawn(put(service.client.clone()));
    service.app.until_held().await;
    service.clock.advance(Duration::from_secs(31));
    let second = put(other.clone()).await;
    assert!(second.status == 201 && !second.replayed());
    service.app.release();
    (first.await.expect("a response"), second)
}

#[tokio::test]
async fn a26_a_run_that_lost_its_record_responds_with_the_encrypted_response() {
    let service = service_with_keys(keys("a", 1)).await;
    let other = instance(&service, |api| api.encryption_keys(keys("a", 1))).await;
    let (first, second) = two_runs(&service, &other.client).await;
    assert!(first.replayed() && first.body == second.body);
}

#[tokio::test]
async fn a26_a_run_sends_its_own_response_if_the_response_of_the_other_run_is_unreadable() {
    let service = service().await;
    let encrypting = instance(&service, |api| api.encryption_keys(keys("a", 1))).await;
    let (first, second) = two_runs(&service, &encrypting.client).await;
    assert!(first.status == 201 && !first.replayed() && first.body != second.body);
    assert_eq!(service.app.effects(), 2);
}

/// Returns all keys and values of a Redis server.
fn dump(redis: &RedisServer) -> Vec<u8> {
    let RedisReply::Array(keys) = redis.command(&["KEYS", "*"]) else {
        panic!("no list of keys")
    };
    let mut dump = Vec::new();
    for key in keys {
        let RedisReply::Bytes(key) = key else {
            panic!("{key:?}")
        };
        let RedisReply::Bytes(value) = redis.command(&[b"GET", &key[..]]) else {
            panic!("{key:?}: no text")
        };
        dump.extend_from_slice(&key);
        dump.extend_from_slice(&value);
    }
    dump
}

/// Places an order on a Redis server. Returns the number of bytes on the server, and the parts of
/// the request and the response that the server contains in clear text.
async fn clear_text_on_redis(
    encryption_keys: Option<EncryptionKeys>,
) -> (usize, Vec<&'static str>) {
    let redis = RedisServer::start();
    let store = Store::redis(RedisConfig::new(&redis.url()).expect("a valid URL"));
    let store = store.with_limits(Arc::new(MemoryLimits::new()));
    let callers = ApiKeys::parse(&format!("alice:{ALICE}")).expect("valid keys");
    let secret = Secret::new([7; 32]).expect("long enough");
    let api = Api::new("test", routes())
        .auth(callers)
        .store(store)
        .secret(secret);
    let api = match encryption_keys {
        Some(keys) => api.encryption_keys(keys),
        None => api,
    };
    let server = TestServer::start(api, App::default())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    let first = order(&client, UUID, ORDER).send().await;
    assert!(order(&client, UUID, ORDER).send().await.body == first.body);
    assert_eq!(first.header("location"), Some(LOCATION));
    let dump = dump(&redis);
    let holds = |part: &str| {
        dump.windows(part.len())
            .any(|window| window == part.as_bytes())
    };
    let parts = [
        UUID,
        "alice",
        ALICE,
        ITEM,
        LOCATION,
        "location",
        "application/json",
    ];
    (
        dump.len(),
        parts.into_iter().filter(|part| holds(part)).collect(),
    )
}

#[tokio::test]
async fn a26_redis_contains_no_clear_text_of_an_encrypted_response_its_key_or_its_caller() {
    let (length, found) = clear_text_on_redis(Some(keys("a", 1))).await;
    assert!(length > 150, "Redis must contain a record");
    assert_eq!(found, Vec::<&str>::new());
}

#[tokio::test]
async fn a26_without_encryption_keys_redis_contains_only_the_response_in_clear_text() {
    let (_, found) = clear_text_on_redis(None).await;
    assert_eq!(found, [ITEM, LOCATION, "location", "application/json"]);
}
