use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::Request;
use http::header::RETRY_AFTER;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::*;
use crate::client::{ForwardedField, Networks};
use crate::policies::idempotency::{
    EndpointRuns, IdempotencyClient, IdempotencySpec, OnCrash, PendingRun, RecordNames, Settlement,
};
use crate::problem::{EndpointResponse, ResponseOrigin};
use crate::store::MemoryRecords;
use crate::testing::{Fault, FaultyRecords, StoreOperation};

fn bounds(process: u32, per_caller: u32) -> Arc<RunBounds> {
    let max = MaxRuns {
        process,
        per_caller,
    };
    let proxies = Networks::new("10.0.0.0/8").expect("a network");
    let proxies = TrustedProxies::new(proxies, ForwardedField::XForwardedFor);
    Arc::new(RunBounds::new(max, proxies))
}

/// Returns the head of a request without a peer.
fn head() -> Parts {
    Request::new(()).into_parts().0
}

/// Returns the head of a request from a peer, which a proxy may have forwarded.
fn head_from(peer: &str, forwarded_for: Option<&str>) -> Parts {
    let mut head = head();
    let peer = SocketAddr::new(peer.parse().expect("an address"), 4_000);
    head.extensions.insert(ConnectInfo(peer));
    if let Some(client) = forwarded_for {
        let client = client.parse().expect("a field");
        head.headers.insert("x-forwarded-for", client);
    }
    head
}

fn acquire(bounds: &Arc<RunBounds>, caller: &str) -> Result<RunPermit, Problem> {
    bounds.acquire(Some(&Caller::new(caller)), &head())
}

fn check(bounds: &RunBounds, caller: &str) -> Result<(), Problem> {
    bounds.check(Some(&Caller::new(caller)), &head())
}

fn running(bounds: &RunBounds) -> u32 {
    bounds.running.load(Ordering::Relaxed)
}

fn callers(bounds: &RunBounds) -> usize {
    bounds.by_caller.sum(Vec::len)
}

#[test]
fn a11_a_caller_at_its_bound_is_refused_and_another_caller_is_not() {
    let bounds = bounds(10, 2);
    let first = acquire(&bounds, "alice").expect("a permit");
    let _second = acquire(&bounds, "alice").expect("a permit");
    for refused in [
        check(&bounds, "alice").expect_err("at its bound"),
        acquire(&bounds, "alice").expect_err("at its bound"),
    ] {
        assert_eq!(refused.code(), "OVERLOADED");
    }
    assert!(check(&bounds, "bob").is_ok());
    let _other = acquire(&bounds, "bob").expect("a permit");
    drop(first);
    assert!(check(&bounds, "alice").is_ok());
    assert!(acquire(&bounds, "alice").is_ok());
}

#[test]
fn a11_the_process_refuses_every_caller_at_its_bound() {
    let bounds = bounds(2, 2);
    let permits = ["alice", "bob"].map(|caller| acquire(&bounds, caller).expect("a permit"));
    for caller in ["alice", "carol"] {
        assert!(check(&bounds, caller).is_err() && acquire(&bounds, caller).is_err());
    }
    assert_eq!((running(&bounds), callers(&bounds)), (2, 2));
    drop(permits);
    assert!(check(&bounds, "carol").is_ok() && acquire(&bounds, "carol").is_ok());
}

#[test]
fn a11_a_caller_without_runs_takes_no_memory() {
    let bounds = bounds(10, 2);
    let permits = ["alice", "alice", "alice", "bob"].map(|caller| acquire(&bounds, caller));
    assert_eq!((running(&bounds), callers(&bounds)), (3, 2));
    drop(permits);
    assert_eq!((running(&bounds), callers(&bounds)), (0, 0));
}

#[test]
fn a11_requests_without_a_caller_are_counted_by_client_address() {
    let same: [(Parts, Parts); 4] = [
        (
            head_from("192.0.2.1", None),
            head_from("::ffff:192.0.2.1", None),
        ),
        (
            head_from("2001:db8::1", None),
            head_from("2001:db8::2:0:0:1", None),
        ),
        (
            head_from("10.0.0.1", Some("192.0.2.1")),
            head_from("10.0.0.2", Some("192.0.2.1")),
        ),
        (head(), head()),
    ];
    for (one, other) in &same {
        let bounds = bounds(10, 1);
        let _permit = bounds.acquire(None, one).expect("a permit");
        assert!(bounds.check(None, other).is_err() && bounds.acquire(None, other).is_err());
    }
    let different = [
        head(),
        head_from("192.0.2.1", None),
        head_from("192.0.2.2", Some("192.0.2.9")),
        head_from("192.0.2.3", Some("192.0.2.9")),
        head_from("10.0.0.1", Some("192.0.2.9")),
        head_from("2001:db8::1", None),
        head_from("2001:db8:0:1::1", None),
    ];
    let bounds = bounds(10, 1);
    let permits: Vec<_> = different
        .iter()
        .map(|head| bounds.acquire(None, head))
        .collect();
    assert!(permits.iter().all(Result::is_ok), "{permits:?}");
}

#[test]
fn a11_a_refusal_is_retryable_after_one_to_three_seconds() {
    let bounds = bounds(1, 1);
    let _permit = acquire(&bounds, "alice").expect("a permit");
    let waits: Vec<u64> = (0..200)
        .map(|_| {
            let response = check(&bounds, "alice")
                .expect_err("at its bound")
                .into_response();
            assert_eq!(response.status(), 503);
            let wait = response.headers()[RETRY_AFTER].to_str().expect("a number");
            wait.parse().expect("a number")
        })
        .collect();
    assert!(
        (1..=3).all(|wait| waits.contains(&wait)),
        "200 random waits of three values: {waits:?}"
    );
    assert!(waits.iter().all(|wait| (1..=3).contains(wait)), "{waits:?}");
}

#[test]
fn a11_threads_never_exceed_a_bound() {
    let bounds = bounds(3, 2);
    let exceeded = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for caller in ["alice", "alice", "alice", "bob", "bob", "bob"] {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let permit = acquire(&bounds, caller);
                    if running(&bounds) > 3 {
                        exceeded.store(true, Ordering::Relaxed);
                    }
                    drop(permit);
                }
            });
        }
    });
    assert!(!exceeded.into_inner());
    assert_eq!((running(&bounds), callers(&bounds)), (0, 0));
}

type Records = FaultyRecords<Arc<MemoryRecords>>;

/// Returns a run whose permit is the only one of its bounds.
fn pending(records: &Records) -> (PendingRun, Arc<RunBounds>) {
    let bounds = bounds(10, 10);
    let runs = Arc::new(EndpointRuns {
        on_crash: OnCrash::Unknown,
        transactional: false,
        spec: IdempotencySpec::new(),
        names: RecordNames::new("test", "POST", "/orders"),
        client: Arc::new(IdempotencyClient {
            records: Arc::new(records.clone()),
            lease: Duration::from_secs(30),
            lease_renewer: None,
            bounds: Arc::clone(&bounds),
            tracker: TaskTracker::new(),
        }),
    });
    let alice = Caller::new("alice");
    let permit = bounds.acquire(Some(&alice), &head()).expect("a permit");
    let run = runs.pending("k", Some(&alice), &head(), &Bytes::new(), permit);
    (run, bounds)
}

fn placed() -> EndpointResponse {
    EndpointResponse {
        response: "placed".into_response(),
        origin: ResponseOrigin::Handler,
    }
}

#[tokio::test(start_paused = true)]
async fn a11_a_run_counts_until_its_repeated_abort_is_confirmed() {
    let records = Records::new(Arc::new(MemoryRecords::new()));
    let (run, bounds) = pending(&records);
    records.fail_next(StoreOperation::Begin, Fault::ReplyLost);
    (0..5).for_each(|_| records.fail_next(StoreOperation::Abort, Fault::Lost));
    assert!(run.begin().await.is_err());
    // The pauses between the six attempts are 50, 100, 200, 400, 800 and 1,000 ms.
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(running(&bounds), 1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(running(&bounds), 0);
}

#[tokio::test(start_paused = true)]
async fn a11_a_run_counts_until_its_repeated_completion_is_confirmed() {
    let records = Records::new(Arc::new(MemoryRecords::new()));
    let (run, bounds) = pending(&records);
    let run = run.begin().await.expect("a new record");
    (0..3).for_each(|_| records.fail_next(StoreOperation::Complete, Fault::Lost));
    let response = run.settle(placed(), Settlement::Keep).await;
    assert_eq!(response.response.status(), 200, "the client does not wait");
    // The first attempt is made at once. The pauses before the next three attempts are 50, 100 and
    // 200 ms.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(running(&bounds), 1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(running(&bounds), 0);
}

#[tokio::test]
async fn a11_a_replay_takes_a_permit_only_for_its_call_of_the_store() {
    let records = Records::new(Arc::new(MemoryRecords::new()));
    let (first, first_bounds) = pending(&records);
    let run = first.begin().await.expect("a new record");
    assert_eq!(running(&first_bounds), 1);
    run.settle(placed(), Settlement::Keep).await;
    assert_eq!(running(&first_bounds), 0);
    let (retry, bounds) = pending(&records);
    assert_eq!(running(&bounds), 1);
    let replay = retry.begin().await.expect_err("a replay");
    assert_eq!(replay.response.status(), 200);
    assert_eq!(running(&bounds), 0, "although the response still exists");
}
