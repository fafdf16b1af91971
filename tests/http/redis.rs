//! A service on Redis: round trips, secrets, combined stores and damaged values.

use core::time::Duration;
use std::sync::Arc;

use aplomb::StartErrors;
use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::store::{MemoryLimits, RedisConfig, Store};
use aplomb::testing::{
    Client, ClientRequest, ClientResponse, Proxy, RedisCluster, RedisServer, Reply as RedisReply,
    TestServer, eventually,
};
use http::request::Parts;

use crate::app::{ALICE, App};

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent, rate_limit = "100/day")]
async fn place_order(State(app): State<App>, Json(item): Json<String>) -> Created<String> {
    app.effect();
    Created::new(item)
}

/// Places an order after the test has released it.
#[endpoint(post = "/held-orders", version = 1, idempotent)]
async fn hold_order(State(app): State<App>) -> Created<usize> {
    app.hold().await;
    Created::new(app.effect())
}

/// Returns a body of the largest size that can be stored.
#[endpoint(post = "/archives", version = 1, idempotent(max_stored_body = "16MiB"))]
async fn archive(State(app): State<App>) -> String {
    app.effect();
    "x".repeat(16 << 20)
}

/// Has a limit, and no idempotency keys.
#[endpoint(get = "/ping", version = 1, rate_limit = "100/day")]
async fn ping() {}

/// Lists three numbers, one per page.
#[endpoint(get = "/numbers", version = 1, paginate(cursor, default = 1, max = 1))]
async fn list_numbers(page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(3, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

#[derive(CursorKey)]
struct Below {
    #[cursor(desc, unique)]
    id: i64,
}

/// Has a limit by caller, and a limit for all requests together.
#[endpoint(
    post = "/scarce-orders",
    version = 1,
    idempotent,
    rate_limit("100/day", name = "mine"),
    rate_limit("2/day", by = route)
)]
async fn place_scarce_order(State(app): State<App>) -> Created<usize> {
    Created::new(app.effect())
}

/// Shares the limit `mine`, so its response has the remaining tokens of the caller.
#[endpoint(get = "/remaining", version = 1, rate_limit("100/day", name = "mine"))]
async fn get_remaining_tokens() {}

/// Has a limit by tenant with `on_error = deny`, so only the store decides it.
#[endpoint(
    get = "/strict",
    version = 1,
    rate_limit("100/day", by = header("x-tenant", Tenant), cost = three, on_error = deny)
)]
async fn strict(State(app): State<App>) {
    app.effect();
}

/// A limit key that accepts every value.
struct Tenant;

impl LimitKey for Tenant {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        Some(value.to_owned())
    }
}

fn three(_: &Parts) -> u64 {
    3
}

fn api(url: &str) -> Api<App> {
    api_named("test", url)
}

fn api_named(name: &str, url: &str) -> Api<App> {
    let keys = ApiKeys::parse(&format!("alice:{ALICE}")).expect("valid keys");
    let store = Store::redis(RedisConfig::new(url).expect("a valid URL"));
    Api::new(
        name,
        aplomb::routes![
            place_order,
            hold_order,
            archive,
            ping,
            strict,
            place_scarce_order,
            get_remaining_tokens,
            list_numbers
        ],
    )
    .auth(keys)
    .store(store)
}

async fn start(api: Api<App>, app: &App) -> (TestServer, Client) {
    let server = TestServer::start(api, app.clone())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    (server, client)
}

fn order(client: &Client, key: &str) -> ClientRequest {
    client
        .post("/v1/orders")
        .bearer(ALICE)
        .idempotency_key(key)
        .json(r#""tea""#)
}

async fn start_errors(api: Api<App>) -> String {
    let errors: StartErrors = api
        .into_router(App::default())
        .await
        .expect_err("must not start");
    errors.to_string()
}

#[tokio::test]
async fn b05_a_request_without_a_key_takes_one_trip() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let (_server, client) = start(api(&proxy.url()), &App::default()).await;
    proxy.reset_counts();
    assert_eq!(
        client.get("/v1/ping").bearer(ALICE).send().await.status,
        200
    );
    assert_eq!((proxy.requests_named("EVALSHA"), proxy.requests()), (1, 1));
}

#[tokio::test]
async fn a21_redis_stores_a_response_of_the_largest_size() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_server, client) = start(api(&redis.url()), &app).await;
    let send = || {
        client
            .post("/v1/archives")
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
    };
    let first = send().await;
    // If Redis is slow to store 16 MiB, the completion is repeated after the first response was
    // sent.
    let mut replay = None;
    eventually("the response is stored", async || {
        replay = Some(send().await).filter(|reply| reply.status != 409);
        replay.is_some()
    })
    .await;
    let replay = replay.expect("a response");
    assert!(!first.replayed() && replay.replayed() && replay.body == first.body);
    assert_eq!((replay.body.len(), app.effects()), (16 << 20, 1));
}

#[tokio::test]
async fn instances_share_keys_limits_and_the_secret_of_the_store() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_first, one) = start(api(&redis.url()), &app).await;
    let (_second, two) = start(api(&redis.url()), &app).await;
    let mut remaining = 100;
    for client in [&one, &two, &one] {
        let reply = until_the_store_decides(|| order(client, "k")).await;
        assert!(
            reply.header_number("x-ratelimit-remaining") < remaining,
            "all instances share one bucket"
        );
        remaining = reply.header_number("x-ratelimit-remaining");
    }
    assert!(order(&two, "k").send().await.replayed());
    assert_eq!(app.effects(), 1);
}

/// Repeats a request until the store decides the limits. If the store replies slowly, the instance
/// decides locally.
async fn until_the_store_decides(call: impl Fn() -> ClientRequest) -> ClientResponse {
    let mut response = None;
    let decides = async || {
        response
            .insert(call().send().await)
            .header("x-ratelimit-remaining")
            .is_some()
    };
    eventually("the store decides", decides).await;
    response.expect("the last response")
}

#[tokio::test]
async fn a04_keys_survive_a_change_and_a_loss_of_the_secret() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_first, one) = start(api(&redis.url()), &app).await;
    assert_eq!(order(&one, "k").send().await.status, 201);
    let secret = aplomb::Secret::new([8; 32]).expect("long enough");
    let (_second, two) = start(api(&redis.url()).secret(secret), &app).await;
    assert_eq!(redis.command(&["DEL", SECRET]), RedisReply::Integer(1));
    let (_third, three) = start(api(&redis.url()), &app).await;
    for client in [&one, &two, &three] {
        assert!(order(client, "k").send().await.replayed());
    }
    assert_eq!(app.effects(), 1);
}

/// The Redis key of the secret that the instances share.
const SECRET: &str = "ap1:test:secret";

/// Returns the cursor of the second page from one instance, and the status of that page at another
/// instance.
async fn cursor_and_status(one: &Client, other: &Client) -> (String, u16) {
    let page = one.get("/v1/numbers").bearer(ALICE).send().await;
    let cursor = page.json()["next_cursor"]
        .as_str()
        .expect("another page")
        .to_owned();
    let next = format!("/v1/numbers?cursor={cursor}");
    (
        cursor,
        other.get(&next).bearer(ALICE).send().await.status.as_u16(),
    )
}

#[tokio::test]
async fn an_instance_keeps_the_secret_that_it_started_with_after_the_store_loses_it() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_first, one) = start(api(&redis.url()), &app).await;
    let (_second, two) = start(api(&redis.url()), &app).await;
    let (cursor, status) = cursor_and_status(&one, &two).await;
    assert_eq!(status, 200, "the instances share the secret of the store");
    let stored_secret = redis.command(&["GET", SECRET]);
    redis.restart_empty();
    let (_third, three) = start(api(&redis.url()), &app).await;
    assert_ne!(
        redis.command(&["GET", SECRET]),
        stored_secret,
        "the new instance stored a new secret"
    );
    let rejected = one.get(&format!(
        "/v1/numbers?cursor={}",
        cursor_and_status(&three, &three).await.0
    ));
    rejected
        .bearer(ALICE)
        .send()
        .await
        .problem(400, "INVALID_CURSOR");
    let page = one
        .get(&format!("/v1/numbers?cursor={cursor}"))
        .bearer(ALICE)
        .send()
        .await;
    assert_eq!(page.status, 200);
    assert_eq!(
        cursor_and_status(&one, &two).await.1,
        200,
        "running instances keep their secret"
    );
    assert_eq!(
        order(&one, "k").send().await.status,
        201,
        "keys do not depend on the secret"
    );
    assert!(order(&three, "k").send().await.replayed());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_on_a_cluster_share_keys_and_limits() {
    let cluster = RedisCluster::start();
    let app = App::default();
    let (_first, one) = start(api(&cluster.url()), &app).await;
    let (_second, two) = start(api(&cluster.url()), &app).await;
    assert_eq!(
        until_the_store_decides(|| order(&one, "k")).await.status,
        201
    );
    assert!(order(&two, "k").send().await.replayed());
    assert_eq!(app.effects(), 1);
}

/// Returns the number of keys in a cluster that match this pattern.
fn count(cluster: &RedisCluster, pattern: &str) -> usize {
    let keys = cluster
        .primaries()
        .into_iter()
        .map(|node| match node.command(&["KEYS", pattern]) {
            RedisReply::Array(keys) => keys.len(),
            other => panic!("{other:?}"),
        });
    keys.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_limits_in_several_slots_are_decided_before_the_record_and_a_rejection_gives_tokens_back()
 {
    let cluster = RedisCluster::start();
    let app = App::default();
    let (_server, client) = start(api(&cluster.url()), &app).await;
    let send = |key: &str| {
        client
            .post("/v1/scarce-orders")
            .bearer(ALICE)
            .idempotency_key(key)
            .send()
    };
    until_the_store_decides(|| order(&client, "warm")).await;
    let effects = app.effects();
    assert_eq!(
        (send("k").await.status.as_u16(), count(&cluster, "*:i:*")),
        (201, 2)
    );
    let second = send("k").await;
    assert_eq!((second.status.as_u16(), second.replayed()), (201, true));
    for key in ["l", "m", "k"] {
        send(key).await.problem(429, "RATE_LIMITED");
    }
    assert_eq!(
        (app.effects(), count(&cluster, "*:i:*")),
        (effects + 1, 2),
        "rejected requests create no record"
    );
    let reply = client.get("/v1/remaining").bearer(ALICE).send().await;
    assert_eq!(
        reply.header_number("x-ratelimit-remaining"),
        97,
        "two admitted orders and this request took tokens"
    );
}

#[tokio::test]
async fn a25_if_eviction_is_accepted_instances_share_the_secret_on_a_server_that_evicts() {
    let redis =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let errors = start_errors(api(&redis.url())).await;
    assert!(errors.contains("this server evicts records"), "{errors}");
    let store = || {
        Store::redis(
            RedisConfig::new(&redis.url())
                .expect("a valid URL")
                .accepting_eviction(),
        )
    };
    let (_first, one) = start(api(&redis.url()).store(store()), &App::default()).await;
    let (_second, two) = start(api(&redis.url()).store(store()), &App::default()).await;
    assert_eq!(cursor_and_status(&one, &two).await.1, 200);
}

#[tokio::test]
async fn a12_a_lease_survives_an_outage_that_is_shorter_than_the_lease() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let app = App::default();
    let (_server, client) = start(api(&proxy.url()).lease(LEASE), &app).await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { held_order(&client).send().await }
    });
    app.until_held().await;
    until_renewed(&proxy).await;
    // The next renewal is due during the pause, because it is due at a third of the lease. The
    // pause ends well before the lease lapses. If the failed renewal were not repeated, the lease
    // would lapse during the sleep after the pause.
    tokio::time::sleep(LEASE * 17 / 60).await;
    redis.pause();
    proxy.cut().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    redis.resume();
    tokio::time::sleep(LEASE).await;
    held_order(&client)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    app.release();
    assert_eq!(first.await.expect("no panic").status, 201);
    assert!(held_order(&client).send().await.replayed());
}

fn held_order(client: &Client) -> ClientRequest {
    client
        .post("/v1/held-orders")
        .bearer(ALICE)
        .idempotency_key("k")
}

const LEASE: Duration = Duration::from_secs(6);

/// Waits for the first renewal, which uses a separate connection.
async fn until_renewed(proxy: &Proxy) {
    proxy.reset_counts();
    let is_renewed = async || {
        proxy.connections() > 0
            && proxy.requests_named("EVALSHA") + proxy.requests_named("EVAL") > 0
    };
    eventually("the lease is renewed", is_renewed).await;
}

#[tokio::test]
async fn a_damaged_secret_is_a_start_error() {
    let redis = RedisServer::start();
    for damage in [
        &["SET", "ap1:test:secret", "x"][..],
        &["SET", "ap1:test:secret", "\x01short"],
        &["LPUSH", "ap1:test:secret", "x"],
    ] {
        redis.flush_all();
        redis.command(damage);
        let errors = start_errors(api(&redis.url())).await;
        assert!(
            errors.contains("the secret at `ap1:test:secret` is damaged"),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn an_unusable_store_is_reported_with_the_other_start_errors() {
    let redis = RedisServer::start();
    redis.kill();
    let errors = start_errors(api_named("?", &redis.url()).problem_base("problems")).await;
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(
        errors.contains(&format!("{}: cannot be used: ", redis.url())),
        "{errors}"
    );
}

#[tokio::test]
async fn a_failed_start_leaves_no_keys_in_the_store() {
    let redis = RedisServer::start();
    start_errors(api_named("?", &redis.url())).await;
    // The keys of the self-test expire within a millisecond.
    while redis.command(&["DBSIZE"]) != RedisReply::Integer(0) {
        let RedisReply::Array(keys) = redis.command(&["KEYS", "*"]) else {
            panic!("no list")
        };
        let is_lasting = |key: &RedisReply| redis_ttl(&redis, key) > 1;
        assert!(!keys.iter().any(is_lasting), "{keys:?}");
    }
}

/// Returns the milliseconds until a key expires, or `i64::MAX` if the key does not expire.
fn redis_ttl(redis: &RedisServer, key: &RedisReply) -> i64 {
    let RedisReply::Bytes(key) = key else {
        panic!("{key:?}")
    };
    match redis.command(&[b"PTTL", key.as_ref()]) {
        RedisReply::Integer(-1) => i64::MAX,
        RedisReply::Integer(remaining) => remaining,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn limits_in_memory_and_records_on_redis_can_be_combined() {
    let redis = RedisServer::start();
    let store = Store::redis(RedisConfig::new(&redis.url()).expect("a valid URL"));
    let api = api(&redis.url()).store(store.with_limits(Arc::new(MemoryLimits::new())));
    let (_server, client) = start(api, &App::default()).await;
    assert_eq!(order(&client, "k").send().await.status, 201);
    let RedisReply::Array(keys) = redis.command(&["KEYS", "*:l:*"]) else {
        panic!("no list")
    };
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_value_that_cannot_be_decoded_is_a_503_without_effect() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_server, client) = start(api(&redis.url()), &app).await;
    assert_eq!(order(&client, "k").send().await.status, 201);
    for pattern in ["*:i:*", "*:l:*"] {
        let RedisReply::Array(keys) = redis.command(&["KEYS", pattern]) else {
            panic!("no list")
        };
        let [RedisReply::Bytes(key)] = keys.as_slice() else {
            panic!("{keys:?}")
        };
        let dump = redis.command(&[b"DUMP", key.as_ref()]);
        redis.command(&[b"SET", key.as_ref(), b"\xffof another release"]);
        let rejected = order(&client, "k").send().await;
        assert_eq!(
            rejected.problem(503, "STORE_UNAVAILABLE")["retryable"],
            true
        );
        assert_eq!(
            redis.command(&[b"GET", key.as_ref()]),
            RedisReply::bytes(b"\xffof another release")
        );
        let RedisReply::Bytes(dump) = dump else {
            panic!("no dump")
        };
        redis.command(&[b"RESTORE", key.as_ref(), b"60000", &dump, b"REPLACE"]);
        assert!(order(&client, "k").send().await.replayed());
    }
    assert_eq!(app.effects(), 1);
}

#[tokio::test]
async fn b15_while_the_store_is_down_limits_admit_requests_and_requests_with_a_key_are_a_503() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_server, client) = start(api(&redis.url()), &app).await;
    let ping = || client.get("/v1/ping").bearer(ALICE);
    until_the_store_decides(ping).await;
    redis.kill();
    let local = ping().send().await;
    assert_eq!(
        (local.status.as_u16(), local.header("x-ratelimit-remaining")),
        (200, None)
    );
    order(&client, "k")
        .send()
        .await
        .problem(503, "STORE_UNAVAILABLE");
    assert_eq!(app.effects(), 0);
    redis.restart();
    until_the_store_decides(ping).await;
    assert_eq!(order(&client, "k").send().await.status, 201);
    assert_eq!(app.effects(), 1);
}

#[tokio::test]
async fn b15_with_on_error_deny_no_handler_runs_while_redis_is_down() {
    let redis = RedisServer::start();
    let app = App::default();
    let (_server, client) = start(api(&redis.url()), &app).await;
    let strict = || {
        client
            .get("/v1/strict")
            .bearer(ALICE)
            .header("x-tenant", "acme")
    };
    until_the_store_decides(strict).await;
    let before = app.effects();
    redis.pause();
    for _ in 0..4 {
        strict().send().await.problem(503, "STORE_UNAVAILABLE");
    }
    redis.resume();
    until_the_store_decides(strict).await;
    assert_eq!(app.effects(), before + 1);
    redis.kill();
    for _ in 0..4 {
        let rejected = strict().send().await;
        rejected.problem(503, "STORE_UNAVAILABLE");
        assert_eq!(rejected.header_number("retry-after"), 1);
    }
    assert_eq!(app.effects(), before + 1);
    redis.restart_empty();
    until_the_store_decides(strict).await;
    assert_eq!(app.effects(), before + 2);
}

#[tokio::test]
async fn b09_the_bucket_of_a_tenant_does_not_contain_its_name() {
    let redis = RedisServer::start();
    let (_server, client) = start(api(&redis.url()), &App::default()).await;
    let send = |tenant: &str| {
        client
            .get("/v1/strict")
            .bearer(ALICE)
            .header("x-tenant", tenant)
    };
    for tenant in ["acme", "globex", "alice"] {
        until_the_store_decides(|| send(tenant)).await;
    }
    // There are four buckets: three of tenants, and one of the caller Alice. The bucket of the
    // caller differs from the bucket of the tenant `alice`.
    until_the_store_decides(|| client.get("/v1/strict").bearer(ALICE)).await;
    let RedisReply::Array(keys) = redis.command(&["KEYS", "*:l:*"]) else {
        panic!("no list")
    };
    let contains_name = |key: &RedisReply| matches!(key, RedisReply::Bytes(key) if key.windows(4).any(|name| name == b"acme"));
    assert!(
        keys.len() == 4 && !keys.iter().any(contains_name),
        "{keys:?}"
    );
}
