use core::time::Duration;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::*;
use crate::auth::{ApiKeys, Authenticator};
use crate::client::TrustedProxies;
use crate::policies::idempotency::{
    EndpointRuns, IdempotencyClient, IdempotencyPolicy, IdempotencySpec, MaxRuns, OnCrash,
    RecordNames, RunBounds,
};
use crate::policies::paginate::{Cursors, PageLimits, PaginationPolicy};
use crate::policies::rate_limit::{
    AuthFailures, EndpointLimits, Instances, LimitClient, Limits, MaxCosts, Overrides,
    RateLimitSpec,
};
use crate::problem::{EndpointResponse, ResponseOrigin};
use crate::request::{
    BodyArgument, BodyMemory, BodyPace, BodyRules, IncomingRequest, RequestInfo, RequestState,
    ResponseWriter, Stage, StageResult,
};
use crate::spec::{EndpointSpec, Method};
use crate::store::{MemoryLimits, MemoryRecords};
use crate::{Secret, problem};

const LIMITS: &[RateLimitSpec] = &[RateLimitSpec::new(100, Duration::from_mins(1))];

const BARE: EndpointSpec = EndpointSpec::new(Method::Post, "/things", "make").public();
const WITH_ALL: EndpointSpec = EndpointSpec::new(Method::Post, "/things", "make_one")
    .with_idempotency(IdempotencyPolicy::Idempotent(IdempotencySpec::new()))
    .with_rate_limits(LIMITS)
    .with_pagination(PaginationPolicy::Cursor(PageLimits::new(50, 100)));

fn mount(spec: &'static EndpointSpec, auth: Option<Arc<dyn Authenticator>>) -> Mount {
    let shared = Shared {
        auth,
        failures: Arc::new(AuthFailures::new()),
        proxies: TrustedProxies::default(),
        cursors: Cursors::new(&Secret::random(), None, "test"),
        admission: None,
        tracker: TaskTracker::new(),
        problem_base: problem::TYPE_BASE.to_owned(),
    };
    Mount {
        spec,
        route: spec.path.to_owned(),
        takes_request_id: false,
        transactions: None,
        timeout: Duration::from_secs(30),
        body: BodyRules {
            limit: 1 << 20,
            pace: BodyPace::DEFAULT,
            argument: BodyArgument::Buffered,
            memory: Arc::new(BodyMemory::new(BodyMemory::DEFAULT_LIMIT)),
        },
        deprecation: None,
        limits: limits(spec),
        runs: runs(spec),
        shared: Arc::new(shared),
    }
}

fn limits(spec: &'static EndpointSpec) -> Option<Arc<EndpointLimits>> {
    let max_costs = MaxCosts::from_specs([spec].into_iter());
    let limits =
        Limits::new(spec, &Overrides::default(), &max_costs, "test").expect("valid limits")?;
    let client = LimitClient::new(
        Arc::new(MemoryLimits::new()),
        Instances::new(1).expect("a number of instances"),
    );
    Some(Arc::new(EndpointLimits {
        spec,
        limits,
        client: Arc::new(client),
        proxies: TrustedProxies::default(),
    }))
}

fn runs(endpoint: &EndpointSpec) -> Option<Arc<EndpointRuns>> {
    let max = MaxRuns {
        process: 1_000,
        per_caller: 100,
    };
    let client = IdempotencyClient {
        records: Arc::new(MemoryRecords::new()),
        lease: Duration::from_secs(30),
        lease_renewer: None,
        bounds: Arc::new(RunBounds::new(max, TrustedProxies::default())),
        tracker: TaskTracker::new(),
    };
    let names = RecordNames::new("test", endpoint.method.as_str(), endpoint.path);
    Some(Arc::new(EndpointRuns {
        on_crash: OnCrash::Unknown,
        transactional: false,
        spec: endpoint.idempotency.spec()?,
        names,
        client: Arc::new(client),
    }))
}

/// Returns a handler that responds immediately and does not read the request.
fn handler() -> Handler {
    Box::new(|_| {
        let response = "made".into_response();
        Box::pin(core::future::ready(EndpointResponse {
            response,
            origin: ResponseOrigin::Handler,
        }))
    })
}

fn stage_names(endpoint: &MountedEndpoint) -> Vec<String> {
    let name = |stage: &dyn Stage| {
        let text = format!("{stage:?}");
        text.split(|letter: char| !letter.is_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    endpoint.stages.iter().map(|stage| name(&**stage)).collect()
}

#[test]
fn an_endpoint_without_policies_has_no_stages() {
    let endpoint = MountedEndpoint::new(mount(&BARE, None), handler());
    assert!(endpoint.stages.is_empty() && endpoint.admission.is_none());
}

#[test]
fn the_stages_are_in_the_order_of_the_policies() {
    let keys = ApiKeys::parse("alice:sk_test_alice").expect("valid keys");
    let endpoint = MountedEndpoint::new(mount(&WITH_ALL, Some(Arc::new(keys))), handler());
    let order = [
        "AuthenticationStage",
        "PageStage",
        "KeyStage",
        "LimitStage",
        "RunBoundsStage",
        "BodyStage",
    ];
    assert_eq!(stage_names(&endpoint), order);
    assert!(endpoint.admission.is_some());
}

/// A stage that adds its name to the response, immediately or after it has waited.
#[derive(Debug)]
struct NamedStage {
    name: &'static str,
    waits: bool,
}

impl Stage for NamedStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        _: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let writer = Arc::new(NameWriter(self.name));
        if !self.waits {
            state.writers.push(writer);
            return StageResult::PASS;
        }
        StageResult::Waiting(Box::pin(async move {
            tokio::task::yield_now().await;
            state.writers.push(writer);
            Ok(())
        }))
    }
}

#[derive(Debug)]
struct NameWriter(&'static str);

impl ResponseWriter for NameWriter {
    fn write(&self, _: &RequestInfo, response: &mut Response) {
        response
            .headers_mut()
            .append("x-stage", http::HeaderValue::from_static(self.0));
    }
}

/// Sends a request through these stages. Returns `true` if the request did not wait, and the names
/// in the response.
async fn handle_with(stages: Vec<NamedStage>) -> (bool, Vec<String>) {
    let mut endpoint = MountedEndpoint::new(mount(&BARE, None), handler());
    endpoint.stages = stages
        .into_iter()
        .map(|stage| Box::new(stage) as Box<dyn Stage>)
        .collect();
    let mut handling = EndpointService::new(endpoint).call(Request::new(Body::empty()));
    let immediate = (&mut handling).now_or_never();
    let was_immediate = immediate.is_some();
    let response = match immediate {
        Some(response) => response,
        None => handling.await,
    };
    let Ok(response) = response;
    let names = response.headers().get_all("x-stage").iter();
    (
        was_immediate,
        names
            .map(|name| name.to_str().expect("ASCII").to_owned())
            .collect(),
    )
}

#[tokio::test]
async fn each_stage_writes_once_and_the_first_stage_writes_last() {
    for (waits, immediate) in [
        ([false, false, false], true),
        ([false, true, false], false),
        ([true; 3], false),
    ] {
        let stages = ["a", "b", "c"]
            .into_iter()
            .zip(waits)
            .map(|(name, waits)| NamedStage { name, waits });
        assert_eq!(
            handle_with(stages.collect()).await,
            (immediate, ["c", "b", "a"].map(String::from).to_vec())
        );
    }
}
