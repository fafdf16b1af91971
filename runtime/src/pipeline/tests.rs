use core::time::Duration;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::*;
use crate::auth::{ApiKeys, Authenticate};
use crate::client::TrustedProxies;
use crate::policies::idempotency::{
    EndpointRuns, IdempotencyClient, IdempotencyPolicy, IdempotencySpec, RecordNames,
};
use crate::policies::paginate::{Cursors, PageLimits, PaginationPolicy};
use crate::policies::rate_limit::{
    AuthFailures, EndpointLimits, Instances, LimitClient, Limits, MaxCosts, Overrides,
    RateLimitSpec,
};
use crate::problem::{EndpointResponse, ResponseOrigin};
use crate::request::{
    IncomingRequest, RequestInfo, RequestState, ResponseWriter, Stage, StageResult,
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

fn mount(spec: &'static EndpointSpec, auth: Option<Arc<dyn Authenticate>>) -> Mount {
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
        reads_body: true,
        takes_request_id: false,
        timeout: Duration::from_secs(30),
        body_limit: 1 << 20,
        deprecation: None,
        limits: limits(spec),
        runs: runs(spec),
        shared: Arc::new(shared),
    }
}

fn limits(spec: &'static EndpointSpec) -> Option<Arc<EndpointLimits>> {
    let dearest = MaxCosts::from_specs([spec].into_iter());
    let limits =
        Limits::new(spec, &Overrides::default(), &dearest, "test").expect("valid limits")?;
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
    let client = IdempotencyClient {
        records: Arc::new(MemoryRecords::new()),
        lease: Duration::from_secs(30),
        lease_renewer: None,
        tracker: TaskTracker::new(),
    };
    let names = RecordNames::new("test", endpoint.method.as_str(), endpoint.path);
    Some(Arc::new(EndpointRuns {
        spec: endpoint.idempotency.spec()?,
        names,
        client: Arc::new(client),
    }))
}

/// Answers at once, and reads nothing.
fn handler() -> Handler {
    Box::new(|_| {
        let response = "made".into_response();
        Box::pin(core::future::ready(EndpointResponse {
            response,
            origin: ResponseOrigin::Handler,
        }))
    })
}

fn names(endpoint: &MountedEndpoint) -> Vec<String> {
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
fn stages_stand_in_the_order_of_the_declared_policies() {
    let keys = ApiKeys::parse("alice:sk_test_alice").expect("valid keys");
    let endpoint = MountedEndpoint::new(mount(&WITH_ALL, Some(Arc::new(keys))), handler());
    let order = [
        "AuthenticationStage",
        "PageStage",
        "KeyStage",
        "LimitStage",
        "BodyStage",
    ];
    assert_eq!(names(&endpoint), order);
    assert!(endpoint.admission.is_some());
}

/// Notes in the response that it was entered, at once or after it has waited.
#[derive(Debug)]
struct Noted {
    name: &'static str,
    waits: bool,
}

impl Stage for Noted {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        _: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let exit = Arc::new(NotedExit(self.name));
        if !self.waits {
            state.writers.push(exit);
            return StageResult::PASS;
        }
        StageResult::Waiting(Box::pin(async move {
            tokio::task::yield_now().await;
            state.writers.push(exit);
            Ok(())
        }))
    }
}

#[derive(Debug)]
struct NotedExit(&'static str);

impl ResponseWriter for NotedExit {
    fn write(&self, _: &RequestInfo, response: &mut Response) {
        response
            .headers_mut()
            .append("x-noted", http::HeaderValue::from_static(self.0));
    }
}

async fn noted(stages: Vec<Noted>) -> (bool, Vec<String>) {
    let mut endpoint = MountedEndpoint::new(mount(&BARE, None), handler());
    endpoint.stages = stages
        .into_iter()
        .map(|stage| Box::new(stage) as Box<dyn Stage>)
        .collect();
    let mut answering = EndpointService::new(endpoint).call(Request::new(Body::empty()));
    let at_once = (&mut answering).now_or_never();
    let was_at_once = at_once.is_some();
    let response = match at_once {
        Some(response) => response,
        None => answering.await,
    };
    let Ok(response) = response;
    let noted = response.headers().get_all("x-noted").iter();
    (
        was_at_once,
        noted
            .map(|name| name.to_str().expect("ASCII").to_owned())
            .collect(),
    )
}

#[tokio::test]
async fn each_stage_leaves_one_exit_and_exits_run_in_reverse() {
    for (waits, at_once) in [
        ([false, false, false], true),
        ([false, true, false], false),
        ([true; 3], false),
    ] {
        let stages = ["a", "b", "c"]
            .into_iter()
            .zip(waits)
            .map(|(name, waits)| Noted { name, waits });
        assert_eq!(
            noted(stages.collect()).await,
            (at_once, ["c", "b", "a"].map(String::from).to_vec())
        );
    }
}
