//! What keeps a service from starting: all of it, at once.

use core::time::Duration;

use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::{StartErrors, routes};
use serde::Deserialize;

/// Wants a caller.
#[endpoint(get = "/guarded")]
async fn guarded() {}

/// Is idempotent for everybody.
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

/// Names a limit.
#[endpoint(get = "/a", public, rate_limit("10/min", name = "shared", by = ip))]
async fn limited_a() {}

/// Names the same limit and means another.
#[endpoint(get = "/b", public, rate_limit("20/min", name = "shared", by = ip))]
async fn limited_b() {}

/// Names a limit that the other only tries.
#[endpoint(get = "/c", public, rate_limit("10/min", name = "tried", by = ip))]
async fn limited_c() {}

/// Only tries it.
#[endpoint(get = "/d", public, rate_limit("10/min", name = "tried", by = ip, shadow))]
async fn limited_d() {}

/// Lets instances decide alone.
#[endpoint(get = "/e", public, rate_limit("10/min", name = "strict", by = ip))]
async fn limited_e() {}

/// Does not.
#[endpoint(get = "/f", public, rate_limit("10/min", name = "strict", by = ip, on_error = deny))]
async fn limited_f() {}

/// Is a kind of key.
struct Tenant;

impl LimitKey for Tenant {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        Some(value.to_owned())
    }
}

/// Is another, although it says the same.
struct Region;

impl LimitKey for Region {
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
        Tenant::verify(value, caller)
    }
}

/// Counts by tenant.
#[endpoint(get = "/g", public, rate_limit("10/min", name = "tenants", by = header("x-tenant", Tenant)))]
async fn limited_g() {}

/// Counts by tenant and costs more, which it may.
#[endpoint(get = "/h", public, rate_limit("10/min", name = "tenants", cost = ten, by = header("x-tenant", Tenant)))]
async fn limited_h() {}

fn ten(_: &http::request::Parts) -> u64 {
    10
}

/// Counts by region.
#[endpoint(get = "/i", public, rate_limit("10/min", name = "tenants", by = header("x-tenant", Region)))]
async fn limited_i() {}

/// Reads two parameters or none, and its path has one.
#[endpoint(get = "/optional/{id}", public)]
async fn optional(_: Option<Path<(u64, u64)>>) {}

async fn errors(api: Api<()>) -> Vec<String> {
    let errors: StartErrors = api.into_router(()).await.expect_err("must not start");
    errors.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let api =
        Api::new("test", routes![guarded, order, limited_a, limited_b]).problem_base("problems");
    let errors = errors(api).await;
    let said = |text: &str| errors.iter().filter(|error| error.contains(text)).count();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(
        said("`guarded` (GET /guarded) wants a caller and the API has no authentication"),
        1
    );
    assert_eq!(
        said("`order` (GET /orders/{id}): its `Path` argument reads `order`; the path names `id`"),
        1
    );
    assert_eq!(
        said(
            "`limited_a` (GET /a) and `limited_b` (GET /b) declare the limit `shared` differently"
        ),
        1
    );
    assert_eq!(said("\"problems\" is not an absolute URI"), 1);
}

#[tokio::test]
async fn an_optional_path_reads_all_parameters_of_the_template_or_of_a_template_without() {
    let errors = errors(Api::new("test", routes![optional])).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains(
            "`optional` (GET /optional/{id}): its `Path` argument reads 2; the path names `id`"
        ),
        "{errors:?}"
    );
}

/// Is there from the first version on.
#[endpoint(get = "/ever", version = 1.., public)]
async fn ever() {}

/// Has a day for a version.
#[endpoint(get = "/dated", version = 20_260_101, public)]
async fn dated() {}

/// Has the last version that an open range can reach.
#[endpoint(get = "/hundredth", version = 100, public)]
async fn hundredth() {}

#[tokio::test]
async fn e01_an_open_range_that_would_serve_millions_of_versions_is_refused() {
    let errors = errors(Api::new("test", routes![ever, dated])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let said = "`ever` (GET /ever): its versions go up to 20260101, which another endpoint names, and it can serve 100 at most";
    assert!(error.starts_with(said), "{error}");
    assert!(
        Api::new("test", routes![ever, hundredth])
            .without_auth()
            .into_router(())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn b17_a_limit_is_a_shadow_wherever_it_is_named_or_nowhere() {
    let errors = errors(Api::new("test", routes![limited_c, limited_d])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert!(error.starts_with(
        "`limited_c` (GET /c) and `limited_d` (GET /d) declare the limit `tried` differently"
    ));
    assert!(
        error.ends_with("; say `shadow` in both or in neither"),
        "{error}"
    );
}

#[tokio::test]
async fn b15_a_limit_denies_wherever_it_is_named_or_nowhere() {
    let errors = errors(Api::new("test", routes![limited_e, limited_f])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    assert!(
        error.contains("declare the limit `strict` differently"),
        "{error}"
    );
    assert!(
        error.ends_with("; say `on_error = deny` in both or in neither"),
        "{error}"
    );
}

#[tokio::test]
async fn b09_a_limit_counts_by_one_kind_of_key_wherever_it_is_named() {
    let errors = errors(Api::new("test", routes![limited_g, limited_h, limited_i])).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let said =
        "`limited_g` (GET /g) and `limited_i` (GET /i) declare the limit `tenants` differently";
    assert_eq!(error, said);
}

#[tokio::test]
async fn open_must_say_what_it_means_for_keys() {
    let errors = errors(Api::new("test", routes![guests]).without_auth()).await;
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("say `idempotent(anonymous)`"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_name_that_is_no_slug_is_refused_with_a_suggestion() {
    let errors = errors(Api::new("Online Payments", routes![guarded]).without_auth()).await;
    let [error] = errors.as_slice() else {
        panic!("{errors:?}")
    };
    let said = "the API's name \"Online Payments\" is not a slug: expected 1 to 64 characters of a-z, 0-9 and `-`";
    assert!(error.starts_with(said), "{error}");
    assert!(
        error.contains("write Api::new(\"online-payments\", …).title(\"Online Payments\")"),
        "{error}"
    );
    let api = Api::new("online-payments", routes![guarded])
        .without_auth()
        .title("支払い");
    assert!(api.into_router(()).await.is_ok());
}

/// Has a limit that no bucket can keep.
#[endpoint(get = "/rare", public, rate_limit("1/day", burst = 99999999, by = ip))]
async fn rare() {}

#[tokio::test]
async fn a_limit_that_no_bucket_can_keep_is_said_with_the_rest() {
    let errors = errors(Api::new("test", routes![guarded, rare])).await;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[1].starts_with("`rare` (GET /rare): a rate limit needs"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn authentication_and_its_absence_exclude_each_other() {
    let keys = ApiKeys::parse("alice:sk_test_alice").expect("a key");
    let errors = errors(Api::new("test", routes![guarded]).auth(keys).without_auth()).await;
    assert_eq!(
        errors,
        ["the API says both Api::auth(…) and Api::without_auth(); remove one"]
    );
}

#[tokio::test]
async fn b15_a_number_of_instances_that_cannot_be_is_said() {
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
async fn an_alias_is_a_name() {
    assert!(
        Api::new("test", routes![aliased])
            .into_router(())
            .await
            .is_ok()
    );
}

/// Keeps its answers for a minute.
#[endpoint(post = "/short", public, idempotent(anonymous, ttl = "1min"))]
async fn short_lived() {}

#[tokio::test]
async fn answers_must_outlive_leases() {
    let lease = Duration::from_secs(61);
    let errors = errors(Api::new("test", routes![short_lived]).lease(lease)).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("keeps answers for 60s only, less than the lease of 61s"),
        "{errors:?}"
    );
}

#[test]
fn a12_a_run_has_30_seconds_of_lease_and_15_minutes_in_all() {
    assert_eq!(Api::<()>::DEFAULT_LEASE, Duration::from_secs(30));
    assert_eq!(
        Api::<()>::DEFAULT_MAX_HANDLER_DURATION,
        Duration::from_mins(15)
    );
}
