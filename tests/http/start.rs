//! Start errors: all of them are reported together.

use core::time::Duration;

use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::{StartErrors, routes};
use axum::extract::Request;
use bytes::Bytes;
use serde::Deserialize;

/// Needs a caller.
#[endpoint(get = "/guarded")]
async fn guarded() {}

/// Is idempotent.
#[endpoint(post = "/guests", idempotent)]
async fn guests() {}

#[derive(Deserialize)]
struct Wrong {
    #[expect(dead_code, reason = "only its name matters")]
    order: u64,
}

/// Reads a parameter that the path does not name.
#[endpoint(get = "/orders/{id}", public)]
async fn order(Path(_): Path<Wrong>) {}

/// Has a named limit.
#[endpoint(get = "/a", public, rate_limit("10/min", name = "shared", by = ip))]
async fn limited_a() {}

/// Has another limit with the same name.
#[endpoint(get = "/b", public, rate_limit("20/min", name = "shared", by = ip))]
async fn limited_b() {}

/// Has a named limit.
#[endpoint(get = "/c", public, rate_limit("10/min", name = "maybe_shadow", by = ip))]
async fn limited_c() {}

/// Has the same limit, as a shadow limit.
#[endpoint(get = "/d", public, rate_limit("10/min", name = "maybe_shadow", by = ip, shadow))]
async fn limited_d() {}

/// Has a limit that an instance decides locally while the store is down.
#[endpoint(get = "/e", public, rate_limit("10/min", name = "strict", by = ip))]
async fn limited_e() {}

/// Has the same limit with `on_error = deny`.
#[endpoint(get = "/f", public, rate_limit("10/min", name = "strict", by = ip, on_error = deny))]
async fn limited_f() {}

/// A limit key that verifies tenants.
struct Tenant;

impl LimitKey for Tenant {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        Some(value.to_owned())
    }
}

/// Another limit key that verifies the same values.
struct Region;

impl LimitKey for Region {
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
        Tenant::verify(value, caller)
    }
}

/// Counts by tenant.
#[endpoint(get = "/g", public, rate_limit("10/min", name = "tenants", by = header("x-tenant", Tenant)))]
async fn limited_g() {}

/// Counts by tenant with another cost, which is allowed.
#[endpoint(get = "/h", public, rate_limit("10/min", name = "tenants", cost = ten, by = header("x-tenant", Tenant)))]
async fn limited_h() {}

fn ten(_: &http::request::Parts) -> u64 {
    10
}

/// Counts by region.
#[endpoint(get = "/i", public, rate_limit("10/min", name = "tenants", by = header("x-tenant", Region)))]
async fn limited_i() {}

/// Reads two parameters or no parameters, but its path has one.
#[endpoint(get = "/optional/{id}", public)]
async fn optional(_: Option<Path<(u64, u64)>>) {}

async fn errors(api: Api<()>) -> Vec<String> {
    let errors: StartErrors = api.into_router(()).await.expect_err("must not start");
    errors.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_optional_path_argument_with_other_parameters_than_the_path_is_an_error() {
    let errors = errors(Api::new("test", routes![optional])).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("`optional` (GET /optional/{id}): its `Path` argument reads 2"),
        "{errors:?}"
    );
}

/// Reads bytes.
#[endpoint(put = "/files", public, body_limit = "2MB")]
async fn read_file(_: Bytes) {}

/// Reads its body part by part.
#[endpoint(put = "/streams", public, body_limit = "500MB")]
async fn read_stream(_: Request) {}

#[tokio::test]
async fn a_body_limit_over_the_memory_for_bodies_is_an_error() {
    let api = |memory| Api::new("test", routes![read_file, read_stream]).body_memory(memory);
    assert!(api(2_000_000).into_router(()).await.is_ok());
    let expected = "`read_file` (PUT /files) accepts bodies of 2MB, but all bodies together may use \
                    only 1999999B: raise APLOMB_BODY_MEMORY or lower `body_limit`";
    assert_eq!(errors(api(1_999_999)).await, [expected]);
}

#[tokio::test]
async fn all_start_errors_are_reported_together() {
    let api =
        Api::new("test", routes![guarded, order, limited_a, limited_b]).problem_base("problems");
    let errors = errors(api).await;
    let count_containing = |text: &str| errors.iter().filter(|error| error.contains(text)).count();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(
        count_containing(
            "`guarded` (GET /guarded) needs an authenticated caller, but the API has no authentication"
        ),
        1
    );
    assert_eq!(
        count_containing(
            "`order` (GET /orders/{id}): its `Path` argument reads `order`, but its path has `id`"
        ),
        1
    );
    assert_eq!(
        count_containing(
            "`limited_a` (GET /a) and `limited_b` (GET /b) declare the limit `shared` differently"
        ),
        1
    );
    assert_eq!(count_containing("\"problems\" is not an absolute URI"), 1);
}

/// Has an open range of versions.
#[endpoint(get = "/ever", version = 1.., public)]
async fn ever() {}

/// Has a date as its version.
#[endpoint(get = "/dated", version = 20_260_101, public)]
async fn dated() {}

/// Has the highest version that an open range can reach.
#[endpoint(get = "/hundredth", version = 100, public)]
async fn hundredth() {}

#[tokio::test]
async fn e01_an_open_version_range_of_more_than_100_versions_is_a_start_error() {
    let errors = errors(Api::new("test", routes![ever, dated])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let expected = "`ever` (GET /ever) has an open range of versions, which would end at 20260101, the newest version of the API; an \
                endpoint can serve at most 100 versions";
    assert!(error.starts_with(expected), "{error}");
    assert!(
        Api::new("test", routes![ever, hundredth])
            .without_auth()
            .into_router(())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn b17_a_named_limit_that_is_a_shadow_in_one_endpoint_only_is_a_start_error() {
    let errors = errors(Api::new("test", routes![limited_c, limited_d])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert!(error.starts_with(
        "`limited_c` (GET /c) and `limited_d` (GET /d) declare the limit `maybe_shadow` differently"
    ));
    assert!(
        error.ends_with(": write `shadow` in both or in neither"),
        "{error}"
    );
}

#[tokio::test]
async fn b15_a_named_limit_that_denies_in_one_endpoint_only_is_a_start_error() {
    let errors = errors(Api::new("test", routes![limited_e, limited_f])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert!(
        error.contains("declare the limit `strict` differently"),
        "{error}"
    );
    assert!(
        error.ends_with(": write `on_error = deny` in both or in neither"),
        "{error}"
    );
}

#[tokio::test]
async fn b09_a_named_limit_with_two_kinds_of_keys_is_a_start_error() {
    let errors = errors(Api::new("test", routes![limited_g, limited_h, limited_i])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let expected = "`limited_g` (GET /g) and `limited_i` (GET /i) declare the limit `tenants` differently: write the same rate and \
         the same options in both, except `cost`";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn an_idempotent_endpoint_without_authentication_must_be_anonymous() {
    let errors = errors(Api::new("test", routes![guests]).without_auth()).await;
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("write `idempotent(anonymous)`"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn an_api_name_that_is_not_a_slug_is_a_start_error_with_a_suggestion() {
    let errors = errors(Api::new("Online Payments", routes![guarded]).without_auth()).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let expected = "the API's name \"Online Payments\" is not a slug: expected 1 to 64 characters of a-z, 0-9 and `-`";
    assert!(error.starts_with(expected), "{error}");
    assert!(
        error.contains("write Api::new(\"online-payments\", …).title(\"Online Payments\")"),
        "{error}"
    );
    let api = Api::new("online-payments", routes![guarded])
        .without_auth()
        .title("支払い");
    assert!(api.into_router(()).await.is_ok());
}

/// Has a limit whose bucket takes too long to refill.
#[endpoint(get = "/rare", public, rate_limit("1/day", burst = 99999999, by = ip))]
async fn rare() {}

#[tokio::test]
async fn a_limit_whose_bucket_refills_too_slowly_is_a_start_error() {
    let errors = errors(Api::new("test", routes![guarded, rare])).await;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[1].starts_with("`rare` (GET /rare): a rate limit needs"),
        "{errors:?}"
    );
}

/// Needs a caller.
#[endpoint(get = "/mine", public)]
async fn mine(_: Caller) {}

/// Takes a caller, if there is one.
#[endpoint(get = "/maybe-mine", public)]
async fn maybe_mine(_: Option<Caller>) {}

#[tokio::test]
async fn i01_a_caller_argument_in_an_api_without_authentication_is_a_start_error() {
    let expected = "`mine` (GET /mine) takes a `Caller`, but the API has no authentication, so every request would get \
                    a 401: call Api::auth(…), or take an `Option<Caller>`";
    for api in [
        Api::new("test", routes![mine, maybe_mine]),
        Api::new("test", routes![mine, maybe_mine]).without_auth(),
    ] {
        assert_eq!(errors(api).await, [expected]);
    }
}

#[tokio::test]
async fn auth_together_with_without_auth_is_a_start_error() {
    let keys = ApiKeys::parse("alice:sk_test_alice").expect("a key");
    let errors = errors(Api::new("test", routes![guarded]).auth(keys).without_auth()).await;
    assert_eq!(
        errors,
        ["the API calls both Api::auth(…) and Api::without_auth(): remove one of them"]
    );
}

#[tokio::test]
async fn a11_an_invalid_bound_of_runs_is_a_start_error() {
    let api = Api::new("test", routes![]).max_runs(0);
    assert_eq!(
        errors(api.max_runs_per_caller(0)).await,
        [
            "Api::max_runs(0): expected at least 1",
            "Api::max_runs_per_caller(0): expected at least 1"
        ]
    );
}

#[tokio::test]
async fn b15_an_invalid_number_of_instances_is_a_start_error() {
    let errors = errors(
        Api::new("test", routes![guarded])
            .without_auth()
            .instances(0),
    )
    .await;
    assert_eq!(errors, ["Api::instances(0): expected 1 to 10000 instances"]);
}

#[derive(Deserialize)]
struct Aliased {
    #[expect(dead_code, reason = "only its names matter")]
    #[serde(alias = "id")]
    order: u64,
}

/// Reads its parameter by an alias.
#[endpoint(get = "/aliased/{id}", public)]
async fn aliased(Path(_): Path<Aliased>) {}

#[tokio::test]
async fn a_path_parameter_can_be_read_by_a_serde_alias() {
    assert!(
        Api::new("test", routes![aliased])
            .into_router(())
            .await
            .is_ok()
    );
}

/// Stores responses for a minute.
#[endpoint(post = "/short", public, idempotent(anonymous, ttl = "1min"))]
async fn short_lived() {}

#[tokio::test]
async fn a_ttl_shorter_than_the_lease_is_a_start_error() {
    let lease = Duration::from_secs(61);
    let errors = errors(Api::new("test", routes![short_lived]).lease(lease)).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("stores responses for 60s, which is shorter than the lease of 61s"),
        "{errors:?}"
    );
}

#[test]
fn a12_the_default_lease_is_30_seconds_and_the_default_duration_15_minutes() {
    assert_eq!(Api::<()>::DEFAULT_LEASE, Duration::from_secs(30));
    assert_eq!(
        Api::<()>::DEFAULT_MAX_HANDLER_DURATION,
        Duration::from_mins(15)
    );
}
