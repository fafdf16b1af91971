//! Rate limits and idempotency keys on Redis: the number of round trips, and the behaviour while
//! Redis is slow, full or down.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use aplomb::Secret;
use aplomb::policies::idempotency::{Begin, EncryptionKeys};
use aplomb::policies::rate_limit::LimitRequest;
use aplomb::prelude::*;
use aplomb::store::{
    Admission, AdmissionStore, MemoryLimits, RedisConfig, RedisStore, Store, StoreFuture,
};
use aplomb::testing::{
    Client, ClientRequest, ClientResponse, Proxy, RedisServer, Reply as RedisReply, TestServer,
    eventually,
};
use tokio::time::Instant;

use crate::app::{ALICE, App, BOB};

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent, rate_limit = "100/day")]
async fn place_order(State(app): State<App>, Json(item): Json<String>) -> Created<String> {
    app.effect();
    Created::new(item)
}

/// Prefetches nine tokens.
#[endpoint(
    get = "/prices",
    version = 1,
    rate_limit("1000/hour", burst = 100, prefetch = 9)
)]
async fn list_prices() {}

/// Prefetches nine tokens, so the record is created in a separate call.
#[endpoint(
    post = "/prefetched-orders",
    version = 1,
    idempotent,
    rate_limit("1000/hour", burst = 100, prefetch = 9)
)]
async fn place_prefetched_order(
    State(app): State<App>,
    Json(item): Json<String>,
) -> Created<String> {
    app.effect();
    Created::new(item)
}

/// Places an order. Each caller can place one order per hour.
#[endpoint(
    post = "/rare-orders",
    version = 1,
    idempotent,
    rate_limit("1/hour", name = "rare")
)]
async fn place_rarely(State(app): State<App>, Json(item): Json<String>) -> Created<usize> {
    drop(item);
    Created::new(app.effect())
}

/// Places an order. Each caller can place twenty orders per day.
#[endpoint(
    post = "/few-orders",
    version = 1,
    idempotent,
    rate_limit("20/day", name = "few"),
    rate_limit("500/day")
)]
async fn place_few(State(app): State<App>) -> Created<usize> {
    Created::new(app.effect())
}

/// Places an order under a shadow limit.
#[endpoint(
    post = "/shadow-orders",
    version = 1,
    idempotent,
    rate_limit("1/hour", shadow)
)]
async fn place_with_shadow_limit(State(app): State<App>) -> Created<usize> {
    Created::new(app.effect())
}

/// Has a limit of one request per hour, and no idempotency keys.
#[endpoint(get = "/rarely", version = 1, rate_limit = "1/hour")]
async fn call_rarely(State(app): State<App>) {
    app.effect();
}

fn api_on(store: Store) -> Api<App> {
    let keys = ApiKeys::parse(&format!("alice:{ALICE},bob:{BOB}")).expect("valid keys");
    let routes = aplomb::routes![
        place_order,
        place_rarely,
        place_few,
        place_with_shadow_limit,
        call_rarely,
        list_prices,
        place_prefetched_order
    ];
    Api::new("test", routes)
        .auth(keys)
        .store(store)
        .secret(secret())
}

fn secret() -> Secret {
    Secret::new([7; 32]).expect("long enough")
}

/// A service that reaches its Redis through a proxy, and a client of the service.
struct RedisService {
    redis: RedisServer,
    proxy: Proxy,
    app: App,
    client: Client,
    _server: TestServer,
}

impl RedisService {
    async fn start() -> Self {
        Self::start_with(|store| store, |api| api).await
    }

    async fn start_with(
        store: impl FnOnce(Store) -> Store,
        adjust: impl FnOnce(Api<App>) -> Api<App>,
    ) -> Self {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.address()).await;
        let app = App::default();
        let api = adjust(api_on(store(Store::redis(
            RedisConfig::new(&proxy.url()).expect("a valid URL"),
        ))));
        let server = TestServer::start(api, app.clone())
            .await
            .expect("a valid API");
        let client = Client::new(server.address());
        let service = Self {
            redis,
            proxy,
            app,
            client,
            _server: server,
        };
        // Sends an order of each size, so that Redis has all scripts. A script that Redis does not
        // have takes a second request.
        for (key, body) in [("small", SMALL.to_owned()), ("large", large())] {
            let warm = service
                .client
                .post("/v1/orders")
                .bearer(BOB)
                .idempotency_key(key)
                .json(body);
            assert_eq!(warm.send().await.status, 201);
        }
        service.redis.flush_all();
        service.proxy.reset_counts();
        service
    }

    fn order_request(&self, path: &str, key: &str) -> ClientRequest {
        self.client.post(path).idempotency_key(key).json(SMALL)
    }

    /// Sends an order as Alice, with this idempotency key.
    async fn order_as_alice(&self, path: &str, key: &str) -> ClientResponse {
        self.order_request(path, key).bearer(ALICE).send().await
    }

    /// Returns the number of round trips to Redis since the last call of this method.
    fn take_trips(&self) -> u64 {
        let trips = self.proxy.requests();
        assert_eq!(
            self.proxy.requests_named("EVALSHA"),
            trips,
            "every trip is one EVALSHA"
        );
        self.proxy.reset_counts();
        trips
    }

    /// Returns the number of Redis keys that match this pattern.
    fn count(&self, pattern: &str) -> usize {
        match self.redis.command(&["KEYS", pattern]) {
            RedisReply::Array(keys) => keys.len(),
            other => panic!("{other:?}"),
        }
    }

    /// Repeats an order until its response has this status.
    async fn until_status(&self, path: &str, key: &str, status: u16) -> ClientResponse {
        let mut response = None;
        let answered =
            async || response.insert(self.order_as_alice(path, key).await).status == status;
        eventually("the response has the expected status", answered).await;
        response.expect("the last response")
    }
}

/// The number of orders that `start_with` places.
const WARM: usize = 2;

const SMALL: &str = r#""tea, a small order""#;

/// Returns a body that is too large to be read before the limits have decided.
fn large() -> String {
    format!("\"{}\"", "x".repeat(100 << 10))
}

fn has_limit_fields(reply: &ClientResponse) -> bool {
    reply.header("x-ratelimit-remaining").is_some()
}

#[tokio::test]
async fn b05_a_new_key_takes_one_trip_before_and_one_after_the_handler() {
    let service = RedisService::start().await;
    for (key, trips, remaining) in [("k", 2, 99), ("k", 1, 98), ("l", 2, 97), ("l", 1, 96)] {
        let reply = service.order_as_alice("/v1/orders", key).await;
        assert_eq!((reply.status.as_u16(), reply.replayed()), (201, trips == 1));
        assert_eq!(reply.header_number("x-ratelimit-remaining"), remaining);
        assert_eq!(service.take_trips(), trips, "{key}");
    }
    assert_eq!(service.app.effects() - WARM, 2);
}

#[tokio::test]
async fn b05_a_reused_key_takes_one_trip_and_an_invalid_body_takes_two() {
    let service = RedisService::start().await;
    assert_eq!(service.order_as_alice("/v1/orders", "k").await.status, 201);
    service.take_trips();
    let other = service
        .client
        .post("/v1/orders")
        .bearer(ALICE)
        .idempotency_key("k")
        .json(r#""salt""#)
        .send()
        .await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(
        (
            service.take_trips(),
            other.header_number("x-ratelimit-remaining")
        ),
        (1, 98)
    );
    let invalid = service
        .client
        .post("/v1/orders")
        .bearer(ALICE)
        .idempotency_key("m")
        .json("7")
        .send()
        .await;
    invalid.problem(422, "VALIDATION_FAILED");
    assert_eq!(
        (service.take_trips(), service.count("*:i:*")),
        (2, 1),
        "the record is created and removed"
    );
}

#[tokio::test]
async fn b05_scripts_that_were_flushed_are_sent_again() {
    let service = RedisService::start().await;
    for (key, effects) in [("k", 1), ("k", 1), ("l", 2)] {
        service.redis.flush_scripts();
        assert_eq!(service.order_as_alice("/v1/orders", key).await.status, 201);
        assert_eq!(service.app.effects() - WARM, effects);
    }
}

#[tokio::test]
async fn b05_prefetched_tokens_take_no_trip() {
    let service = RedisService::start().await;
    for remaining in (41..91).rev() {
        let reply = service.client.get("/v1/prices").bearer(ALICE).send().await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header_number("x-ratelimit-remaining")
            ),
            (200, remaining)
        );
    }
    assert_eq!(service.take_trips(), 5, "one trip for ten tokens");
    let mut trips = Vec::new();
    for key in ["k", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"] {
        assert_eq!(
            service
                .order_as_alice("/v1/prefetched-orders", key)
                .await
                .status,
            201
        );
        trips.push(service.take_trips());
    }
    assert_eq!(
        trips,
        [3, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3],
        "the record needs its own trips"
    );
}

#[tokio::test]
async fn b05_prefetched_tokens_admit_no_request_beyond_the_burst() {
    let service = RedisService::start().await;
    let mut admitted = 0;
    loop {
        let reply = service.client.get("/v1/prices").bearer(ALICE).send().await;
        if reply.status != 200 {
            reply.problem(429, "RATE_LIMITED");
            break;
        }
        admitted += 1;
    }
    // Instances may hold nine of the hundred tokens, so the bucket admits only 91 requests.
    assert_eq!(admitted, 91);
    service.take_trips();
    assert_eq!(
        service
            .client
            .get("/v1/prices")
            .bearer(ALICE)
            .send()
            .await
            .status,
        429
    );
    assert_eq!(service.take_trips(), 0, "the rejection is cached");
}

#[tokio::test]
async fn b05_limits_and_records_in_different_stores_take_separate_trips() {
    let limits = |store: Store| store.with_limits(Arc::new(MemoryLimits::new()));
    let service = RedisService::start_with(limits, |api| api).await;
    for trips in [2, 1] {
        let reply = service.order_as_alice("/v1/orders", "k").await;
        assert!(reply.status == 201 && has_limit_fields(&reply));
        assert_eq!((service.take_trips(), service.count("*:l:*")), (trips, 0));
    }
}

/// A store that keeps limits and records in different places.
#[derive(Debug)]
struct SeparateStores(RedisStore);

impl AdmissionStore for SeparateStores {
    fn joins(&self, _: &[LimitRequest<'_>], _: &Begin) -> bool {
        false
    }

    fn admit<'a>(
        &'a self,
        requests: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        self.0.admit(requests, begin)
    }
}

#[tokio::test]
async fn b05_a_custom_store_saves_a_trip_only_if_it_admits_in_one_step() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let config = RedisConfig::new(&proxy.url()).expect("a valid URL");
    let redis_store = RedisStore::connect(&config, "test")
        .await
        .expect("a usable server");
    let separate = || Store::new(Arc::new(redis_store.clone()), Arc::new(redis_store.clone()));
    let joined = || separate().with_admission(Arc::new(redis_store.clone()));
    for (store, trips) in [
        (separate(), [3, 2]),
        (joined(), [2, 1]),
        (
            separate().with_admission(Arc::new(SeparateStores(redis_store.clone()))),
            [3, 2],
        ),
        (joined().with_limits(Arc::new(redis_store.clone())), [3, 2]),
        (joined().with_records(Arc::new(redis_store.clone())), [3, 2]),
    ] {
        let server = TestServer::start(api_on(store), App::default())
            .await
            .expect("a valid API");
        let client = Client::new(server.address());
        let send = |key| {
            client
                .post("/v1/orders")
                .bearer(ALICE)
                .idempotency_key(key)
                .json(SMALL)
                .send()
        };
        assert_eq!(send("warm").await.status, 201);
        for trips in trips {
            proxy.reset_counts();
            let reply = send("k").await;
            assert!(reply.status == 201 && has_limit_fields(&reply));
            assert_eq!(
                (proxy.requests_named("EVALSHA"), proxy.requests()),
                (trips, trips)
            );
        }
        redis.flush_all();
    }
}

#[tokio::test]
async fn b13_a_large_body_is_read_after_its_limits_have_decided() {
    let service = RedisService::start().await;
    let send = |path: &str, key: &str| {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key(key)
            .json(large())
            .send()
    };
    for (key, trips) in [("k", 3), ("k", 2)] {
        assert_eq!(send("/v1/orders", key).await.status, 201);
        assert_eq!(service.take_trips(), trips);
    }
    assert_eq!(send("/v1/rare-orders", "k").await.status, 201);
    service.take_trips();
    let head = format!(
        "POST /v1/rare-orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: l\r\n\
         content-length: 100000\r\nexpect: 100-continue\r\n\r\n"
    );
    let started = Instant::now();
    for trips in [1, 0] {
        let mut raw = service.client.raw().await;
        raw.write(&head).await;
        let response = raw.response().await;
        assert!(
            response.starts_with("HTTP/1.1 429 "),
            "a 429 comes instead of 100 Continue: {response}"
        );
        assert!(service.take_trips() <= trips + started.elapsed().as_secs());
    }
}

#[tokio::test]
async fn b02_a_rejected_request_creates_no_record_on_redis() {
    let service = RedisService::start().await;
    assert_eq!(
        service.order_as_alice("/v1/rare-orders", "k").await.status,
        201
    );
    let effects = service.app.effects();
    for key in ["l", "m", "k"] {
        let rejected = service.order_as_alice("/v1/rare-orders", key).await;
        rejected.problem(429, "RATE_LIMITED");
        assert_eq!(rejected.header_number("x-ratelimit-remaining"), 0);
    }
    assert_eq!(
        (
            service.count("*:i:*"),
            service.count("*:a:*"),
            service.app.effects()
        ),
        (1, 0, effects)
    );
    // Starts another instance, whose cache of rejections is empty.
    let app = App::default();
    let api = api_on(Store::redis(
        RedisConfig::new(&service.redis.url()).expect("a valid URL"),
    ));
    let server = TestServer::start(api, app.clone())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    service.redis.age(Duration::from_hours(1));
    let reply = client
        .post("/v1/rare-orders")
        .bearer(ALICE)
        .idempotency_key("l")
        .json(SMALL)
        .send()
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.replayed(), app.effects()),
        (201, false, 1)
    );
}

#[tokio::test]
async fn b14_a_request_with_a_cached_rejection_takes_no_trip() {
    let service = RedisService::start().await;
    for path in ["/v1/rare-orders", "/v1/rarely"] {
        let send = |key: &str| match path {
            "/v1/rarely" => service.client.get(path).bearer(ALICE).send(),
            _ => service.order_request(path, key).bearer(ALICE).send(),
        };
        assert!(send("k").await.status.is_success());
        let (effects, started) = (service.app.effects(), Instant::now());
        service.take_trips();
        for key in 0..20 {
            let rejected = send(&format!("other-{key}")).await;
            rejected.problem(429, "RATE_LIMITED");
            assert!((3_590..=3_600).contains(&rejected.header_number("retry-after")));
            assert_eq!(rejected.header_number("x-ratelimit-remaining"), 0);
        }
        assert!(
            service.take_trips() <= 1 + started.elapsed().as_secs(),
            "at most one trip per second"
        );
        assert_eq!(service.app.effects(), effects);
        // The cached rejection of Alice does not apply to Bob.
        let other = service.client.get("/v1/rarely").bearer(BOB).send().await;
        assert!((other.status == 200) == (path == "/v1/rare-orders"));
        service.take_trips();
    }
}

#[tokio::test]
async fn b17_a_request_with_an_idempotency_key_runs_despite_an_exhausted_shadow_limit() {
    let service = RedisService::start().await;
    for key in ["k", "l", "m"] {
        let reply = service.order_as_alice("/v1/shadow-orders", key).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.replayed(),
                has_limit_fields(&reply)
            ),
            (201, false, false)
        );
        assert_eq!(service.take_trips(), 2);
    }
}

#[tokio::test]
async fn a26_an_encrypted_response_is_replayed_in_one_trip() {
    let keys = EncryptionKeys::new("a", [7; 32]).expect("a valid id");
    let service = RedisService::start_with(|store| store, |api| api.encryption_keys(keys)).await;
    let first = service.order_as_alice("/v1/orders", "k").await;
    service.take_trips();
    let replay = service.order_as_alice("/v1/orders", "k").await;
    assert!(replay.replayed() && replay.body == first.body && replay.status == first.status);
    assert_eq!(service.take_trips(), 1);
    let RedisReply::Array(keys) = service.redis.command(&["KEYS", "*:i:*"]) else {
        panic!("no list")
    };
    let [RedisReply::Bytes(key)] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    let RedisReply::Bytes(record) = service.redis.command(&[b"GET", key.as_ref()]) else {
        panic!("no record")
    };
    assert!(
        !String::from_utf8_lossy(&record).contains("tea"),
        "the record contains the response in clear text"
    );
}

#[tokio::test]
async fn b15_while_redis_is_paused_a_request_with_a_key_is_a_503_and_leaves_no_running_record() {
    let service = RedisService::start().await;
    let effects = service.app.effects();
    service.redis.pause();
    let started = Instant::now();
    let rejected = service.order_as_alice("/v1/orders", "k").await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the timeout of the store is 1 s: {:?}",
        started.elapsed()
    );
    assert_eq!(
        rejected.problem(503, "STORE_UNAVAILABLE")["retryable"],
        true
    );
    assert_eq!(
        (service.app.effects(), has_limit_fields(&rejected)),
        (effects, false)
    );
    service.redis.resume();
    // After `resume`, Redis executes the delayed call. The service removes the record of that call
    // long before its lease ends.
    assert!(
        !service
            .until_status("/v1/orders", "k", 201)
            .await
            .replayed()
    );
    assert_eq!(service.app.effects(), effects + 1);
}

#[tokio::test]
async fn b15_while_redis_is_down_a_request_with_an_idempotency_key_never_runs() {
    let service = RedisService::start().await;
    assert_eq!(
        service.order_as_alice("/v1/rare-orders", "k").await.status,
        201
    );
    let effects = service.app.effects();
    service.redis.kill();
    for key in ["l", "m", "n", "o", "p"] {
        let rejected = service.order_as_alice("/v1/rare-orders", key).await;
        // The instance decides the limit locally, with a bucket of one token. A request that passes
        // the limit gets a 503, because its record cannot be created. Later requests get a 429.
        assert!(
            [503, 429].contains(&rejected.status.as_u16()) && !has_limit_fields(&rejected),
            "{key}"
        );
    }
    assert_eq!(service.app.effects(), effects);
    service.redis.restart();
    service.until_status("/v1/orders", "q", 201).await;
}

#[tokio::test]
async fn b15_after_slow_replies_limits_are_decided_locally_and_only_the_record_is_on_redis() {
    let service = RedisService::start().await;
    // A reply counts as slow after 250 ms.
    service.proxy.delay(Duration::from_millis(300));
    for key in ["a", "b", "c"] {
        let reply = service.order_as_alice("/v1/orders", key).await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (201, true),
            "a slow reply of the store is still used"
        );
        service.take_trips();
    }
    // Redis stays slow, so the instance calls it for limits only once per second.
    let mut alone = 0;
    for key in ["d", "e", "f", "g"] {
        let reply = service.order_as_alice("/v1/orders", key).await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (201, false)
        );
        alone += usize::from(service.take_trips() == 2);
    }
    assert!(
        alone > 0,
        "at least one request does not call Redis for its limits"
    );
    let admitted = service.order_as_alice("/v1/rare-orders", "h").await;
    let rejected = service.order_as_alice("/v1/rare-orders", "i").await;
    assert_eq!(
        (admitted.status.as_u16(), has_limit_fields(&admitted)),
        (201, false)
    );
    assert_eq!(
        (rejected.status.as_u16(), has_limit_fields(&rejected)),
        (429, false)
    );
    assert_eq!(
        service.count("*:i:*"),
        8,
        "a local rejection creates no record"
    );
}

#[tokio::test]
async fn b15_a_full_redis_still_replays_stored_responses() {
    let service = RedisService::start().await;
    assert_eq!(service.order_as_alice("/v1/orders", "k").await.status, 201);
    let effects = service.app.effects();
    service.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        let replay = service.order_as_alice("/v1/orders", "k").await;
        assert_eq!(
            (
                replay.status.as_u16(),
                replay.replayed(),
                has_limit_fields(&replay)
            ),
            (201, true, false)
        );
        service
            .order_as_alice("/v1/orders", "l")
            .await
            .problem(503, "STORE_UNAVAILABLE");
    }
    assert_eq!(service.app.effects(), effects);
    service.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(
        !service
            .until_status("/v1/orders", "l", 201)
            .await
            .replayed()
    );
}

#[tokio::test]
async fn b06_a_response_to_an_unreadable_record_has_no_limit_fields() {
    let service = RedisService::start().await;
    assert_eq!(service.order_as_alice("/v1/orders", "k").await.status, 201);
    let RedisReply::Array(keys) = service.redis.command(&["KEYS", "*:i:*"]) else {
        panic!("no list")
    };
    let [RedisReply::Bytes(key)] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    service
        .redis
        .command(&[b"SET", key.as_ref(), b"\xffof another release"]);
    let rejected = service.order_as_alice("/v1/orders", "k").await;
    rejected.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(
        rejected.header("x-ratelimit-remaining"),
        None,
        "the limits are not checked again"
    );
    assert_eq!(
        service
            .order_as_alice("/v1/orders", "other")
            .await
            .header_number("x-ratelimit-remaining"),
        97
    );
}

#[tokio::test]
async fn b02_concurrent_requests_run_once_per_key_and_stay_within_the_limit() {
    let service = RedisService::start().await;
    let api = api_on(Store::redis(
        RedisConfig::new(&service.redis.url()).expect("a valid URL"),
    ));
    let server = TestServer::start(api, service.app.clone())
        .await
        .expect("a valid API");
    let (before, other) = (service.app.effects(), Client::new(server.address()));
    let tasks = (0..120).map(|number| {
        let client = if number % 2 == 0 {
            service.client.clone()
        } else {
            other.clone()
        };
        let key = format!("key-{}", number % 7);
        tokio::spawn(async move {
            let reply = client
                .post("/v1/few-orders")
                .bearer(ALICE)
                .idempotency_key(&key)
                .send()
                .await;
            (key, reply)
        })
    });
    let (mut runs, mut admitted) = (HashMap::<String, usize>::new(), 0);
    for task in tasks.collect::<Vec<_>>() {
        let (key, reply) = task.await.expect("no panic");
        match reply.status.as_u16() {
            201 if !reply.replayed() => *runs.entry(key).or_default() += 1,
            201 => {}
            409 => drop(reply.problem(409, "IDEMPOTENCY_IN_FLIGHT")),
            429 => continue,
            other => panic!("{other}: {:?}", reply.body),
        }
        // On a slow machine, the instance may decide locally. Its response then has no limit
        // fields.
        admitted += usize::from(has_limit_fields(&reply));
    }
    assert!(admitted <= 20, "{admitted}");
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    assert_eq!(runs.len(), service.app.effects() - before);
}
