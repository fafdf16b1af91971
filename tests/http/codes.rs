//! Each code has one meaning. If two endpoints declare a code with different meanings, the API does
//! not start.

use aplomb::prelude::*;
use aplomb::problem::{Category, ProblemKinds, ProblemSpec, registry};
use aplomb::{Json, StartErrors, routes};

#[derive(Debug, thiserror::Error, ApiError)]
enum Closing {
    #[error("closed")]
    #[problem(conflict, code = "CLOSED")]
    Closed,
    #[error("not here")]
    #[problem(not_found)]
    NotFound,
    #[error(transparent)]
    #[problem(transparent)]
    Inner(#[from] Box<Inner>),
}

#[derive(Debug, thiserror::Error, ApiError)]
enum Inner {
    #[error("closed, too")]
    #[problem(conflict, code = "CLOSED", title = "Closed", effects = none)]
    ClosedToo,
    #[error("one of these")]
    #[problem(transparent)]
    Again(#[from] Box<Closing>),
    #[error("busy")]
    #[problem(dependency, code = "BUSY")]
    Busy,
}

#[derive(Debug, thiserror::Error, ApiError)]
enum ConflictingError {
    #[error("closed for ever")]
    #[problem(gone, code = "CLOSED")]
    Closed,
    #[error("no such page")]
    #[problem(not_found, title = "No such page")]
    NotFound,
}

#[derive(Debug, thiserror::Error, ApiError)]
#[error("closed at night")]
#[problem(conflict, code = "CLOSED", title = "Closed at night")]
struct ClosedAtNight;

/// Declares codes of the framework whose titles cannot be derived from the codes.
#[derive(Debug, thiserror::Error, ApiError)]
#[error("as the framework has it")]
#[expect(dead_code, reason = "the API only reads the codes when it starts")]
enum AsTheFramework {
    #[problem(conflict, retryable = true)]
    IdempotencyInFlight,
    #[problem(internal)]
    IdempotencyOutcomeUnknown,
    #[problem(gone)]
    IdempotencyResponseNotRetained,
    #[problem(rate_limited)]
    RateLimited,
    #[problem(validation, status = 400)]
    MalformedJson,
    #[problem(internal)]
    Internal,
}

type ClosingResult<T> = Result<T, Closing>;

/// Declares codes through a type alias.
#[endpoint(get = "/a", public)]
async fn a() -> ClosingResult<String> {
    Err(Closing::Closed)
}

/// Declares the same codes as `a`.
#[endpoint(get = "/b", public)]
async fn b() -> Result<Json<u8>, Closing> {
    Err(Box::new(Inner::Busy))?
}

/// Declares a code of `a` and a code of the framework, each with a different meaning.
#[endpoint(get = "/c", public)]
async fn c() -> Result<(), ConflictingError> {
    Err(ConflictingError::Closed)
}

/// Declares the same codes as `c`.
#[endpoint(get = "/d", public)]
async fn d() -> Result<(), ConflictingError> {
    Err(ConflictingError::NotFound)
}

/// Declares a code of `a` and `c` with a third meaning.
#[endpoint(get = "/e", public)]
async fn e() -> Result<(), ClosedAtNight> {
    Err(ClosedAtNight)
}

/// Declares codes of the framework.
#[endpoint(get = "/framework", public)]
async fn framework() -> Result<(), AsTheFramework> {
    Err(AsTheFramework::Internal)
}

/// Declares no codes.
#[endpoint(get = "/f", public)]
async fn f() -> Result<String, http::StatusCode> {
    Err(http::StatusCode::CONFLICT)
}

async fn errors(api: Api<()>) -> Vec<String> {
    let errors: StartErrors = api.into_router(()).await.expect_err("must not start");
    errors.iter().map(ToString::to_string).collect()
}

fn problem_codes() -> Vec<&'static str> {
    ProblemKinds::of::<Closing>()
        .iter()
        .map(|kind| kind.spec.code)
        .collect()
}

#[tokio::test]
async fn f03_a_code_with_two_meanings_is_a_start_error() {
    let errors = errors(Api::new("test", routes![a, b, c, d, e, f])).await;
    let module = module_path!();
    assert_eq!(
        errors,
        [
            format!(
                "the code `CLOSED` has two meanings: 409 `conflict` \"Closed\" in `{module}::Closing::Closed` of `a` \
                 (GET /a), and 410 `gone` \"Closed\" in `{module}::ConflictingError::Closed` of `c` (GET /c): give one of \
                 them another code"
            ),
            format!(
                "the code `NOT_FOUND` has two meanings: 404 `not_found` \"Not found\" in the framework, and 404 \
                 `not_found` \"No such page\" in `{module}::ConflictingError::NotFound` of `c` (GET /c): give your error \
                 another code, or the status and title of the framework"
            ),
            format!(
                "the code `CLOSED` has two meanings: 409 `conflict` \"Closed\" in `{module}::Closing::Closed` of `a` \
                 (GET /a), and 409 `conflict` \"Closed at night\" in `{module}::ClosedAtNight` of `e` (GET /e): give one of \
                 them another code"
            ),
        ]
    );
}

#[tokio::test]
async fn f03_the_same_code_with_the_same_meaning_can_be_declared_twice() {
    assert!(
        Api::new("test", routes![a, b, f])
            .into_router(())
            .await
            .is_ok()
    );
}

#[test]
fn f03_an_endpoint_lists_the_problems_of_its_error() {
    let api: Api<()> = Api::new("test", routes![a, f]);
    let listed: Vec<Vec<_>> = api
        .endpoints()
        .map(|endpoint| {
            endpoint
                .problems()
                .iter()
                .map(|kind| (kind.variant, kind.spec.code))
                .collect()
        })
        .collect();
    let problems_of_a = [
        ("Closed", "CLOSED"),
        ("NotFound", "NOT_FOUND"),
        ("ClosedToo", "CLOSED"),
        ("Busy", "BUSY"),
    ];
    assert_eq!(listed, [&problems_of_a[..], &[]]);
}

#[test]
fn f03_transparent_errors_have_the_problems_of_their_inner_errors() {
    let closed = || Box::new(Inner::Again(Box::new(Closing::Closed)));
    let problem = Closing::from(closed()).problem();
    assert_eq!(
        (problem.code(), problem.spec().category),
        ("CLOSED", Category::Conflict)
    );
    let problem = Problem::from(Closing::Inner(Box::new(Inner::Busy)));
    assert_eq!((problem.code(), problem.cause()), ("BUSY", Some("busy")));
    for inner in [
        Closing::NotFound,
        Closing::Inner(Box::new(Inner::ClosedToo)),
    ] {
        assert!(problem_codes().contains(&inner.problem().code()));
    }
}

#[tokio::test]
async fn f03_an_error_can_declare_a_code_of_the_framework_with_the_same_meaning() {
    let kinds = ProblemKinds::of::<AsTheFramework>();
    let title_of = |code: &str| code[..1].to_owned() + &code[1..].to_lowercase().replace('_', " ");
    // `ApiError` does not accept the status 414.
    let has_own_title =
        |spec: &&ProblemSpec| spec.title != title_of(spec.code) && spec.status != 414;
    for spec in registry::ALL.iter().filter(has_own_title) {
        let own = kinds
            .iter()
            .find(|kind| kind.spec.code == spec.code)
            .expect(spec.code)
            .spec;
        assert_eq!(
            (own.category, own.title),
            (spec.category, spec.title),
            "{}",
            spec.code
        );
    }
    assert!(
        Api::new("test", routes![framework])
            .into_router(())
            .await
            .is_ok()
    );
}
