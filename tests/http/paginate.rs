//! Tests of lists that clients can page only forward. The submodules test numbered pages, and lists
//! that clients can also page backward.

mod bidirectional;
mod offset;

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{Client, ClientResponse, TestServer};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::app::{ALICE, BOB, TestService};

#[derive(CursorKey)]
struct Below {
    #[cursor(desc, unique)]
    id: i64,
}

/// Lists the numbers below 120 in descending order.
#[endpoint(get = "/numbers", version = 1, paginate = cursor)]
async fn numbers(page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(120, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

/// Lists at most three numbers per page.
#[endpoint(get = "/few", version = 1, paginate(cursor, default = 2, max = 3))]
async fn few(page: PageRequest<Below>) -> aplomb::Result<Page<i64>> {
    let below = page.after().map_or(6, |key| key.id);
    Ok(
        page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
            Below { id: *id }
        }),
    )
}

/// Lists the numbers of the list with this id.
#[endpoint(
    get = "/lists/{id}/numbers",
    version = 1,
    paginate(cursor, default = 2, max = 2)
)]
async fn list_numbers(Path(id): Path<i64>, page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(6, |key| key.id);
    page.page(
        (0..below)
            .rev()
            .take(page.fetch_limit())
            .map(|n| n * id)
            .collect(),
        |n| Below { id: n / id },
    )
}

/// Lists the numbers of the list with this name.
#[endpoint(
    get = "/named/{name}/numbers",
    version = 1,
    paginate(cursor, default = 2, max = 2)
)]
async fn list_named_numbers(Path(_): Path<String>, page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(6, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

/// A value that cannot be serialized.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this value cannot be serialized"))
    }
}

/// Lists values that cannot be serialized.
#[endpoint(
    get = "/unwritable",
    version = 1,
    paginate(cursor, default = 2, max = 2)
)]
async fn unwritable(page: PageRequest<Below>) -> Page<Unwritable> {
    page.page(vec![Unwritable, Unwritable, Unwritable], |_| Below {
        id: 1,
    })
}

/// Lists the books of a shelf.
#[endpoint(
    get = "/shelves/{name}",
    version = 1,
    paginate(cursor, default = 2, max = 2)
)]
async fn shelf(Path(_): Path<String>, page: PageRequest<Below>) -> Page<i64> {
    page.page(vec![3, 2, 1], |id| Below { id: *id })
}

async fn service() -> TestService {
    TestService::start(routes![
        shelf,
        numbers,
        few,
        list_numbers,
        list_named_numbers,
        unwritable
    ])
    .await
}

async fn get(service: &TestService, path: &str) -> ClientResponse {
    service.client.get(path).bearer(ALICE).send().await
}

fn data(reply: &ClientResponse) -> Vec<i64> {
    serde_json::from_value(reply.json()["data"].clone()).expect("numbers")
}

fn cursor(reply: &ClientResponse) -> String {
    reply.json()["next_cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned()
}

#[tokio::test]
async fn d05_following_next_cursors_reads_the_whole_list() {
    let service = service().await;
    let (mut seen, mut path) = (Vec::new(), String::from("/v1/numbers"));
    for length in [50, 50, 20] {
        let reply = get(&service, &path).await;
        assert_eq!(data(&reply).len(), length);
        seen.extend(data(&reply));
        let page = reply.json();
        assert_eq!(page["has_more"].as_bool(), Some(length == 50));
        assert_eq!(
            page["next_cursor"].is_null(),
            length == 20,
            "next_cursor is null exactly at the end"
        );
        if length == 50 {
            path = format!("/v1/numbers?cursor={}", cursor(&reply));
        }
    }
    assert_eq!(seen, (0..120).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn d03_a_cursor_is_valid_for_every_encoding_of_its_path() {
    let service = service().await;
    let own = cursor(&get(&service, "/v1/shelves/sh%C3%A9lf").await);
    for path in ["sh%C3%A9lf", "sh%c3%a9l%66", "%73h%C3%A9lf"] {
        let path = format!("/v1/shelves/{path}?cursor={own}");
        assert_eq!(get(&service, &path).await.status, 200, "{path}");
    }
    for other in ["sh%C3%A8lf", "sh%25C3%25A9lf"] {
        let path = format!("/v1/shelves/{other}?cursor={own}");
        get(&service, &path).await.problem(400, "INVALID_CURSOR");
    }
}

#[tokio::test]
async fn d05_a_full_page_at_the_end_of_the_list_has_no_next_page() {
    let service = service().await;
    let reply = get(&service, "/v1/few?limit=3").await;
    let last = get(
        &service,
        &format!("/v1/few?limit=3&cursor={}", cursor(&reply)),
    )
    .await;
    assert_eq!(
        (data(&last), last.json()["has_more"].as_bool()),
        (vec![2, 1, 0], Some(false))
    );
}

#[tokio::test]
async fn d04_limit_has_a_default_and_a_maximum_and_rejects_zero() {
    let service = service().await;
    assert_eq!(data(&get(&service, "/v1/few").await).len(), 2);
    assert_eq!(data(&get(&service, "/v1/few?limit=1").await).len(), 1);
    assert_eq!(data(&get(&service, "/v1/few?limit=1000").await).len(), 3);
    for wrong in ["0", "-1", "x", "", "1.5", "1&limit=2"] {
        let problem = get(&service, &format!("/v1/few?limit={wrong}"))
            .await
            .problem(400, "INVALID_PARAMETER");
        assert_eq!(problem["errors"][0]["parameter"], "limit");
    }
}

#[tokio::test]
async fn d03_a_new_limit_is_applied_to_an_old_cursor() {
    let service = service().await;
    let first = get(&service, "/v1/few?limit=1").await;
    assert_eq!(
        data(
            &get(
                &service,
                &format!("/v1/few?limit=3&cursor={}", cursor(&first))
            )
            .await
        ),
        [4, 3, 2]
    );
}

#[tokio::test]
async fn d03_cursors_of_the_previous_secret_are_valid() {
    let service = service().await;
    let path = format!("/v1/few?cursor={}", cursor(&get(&service, "/v1/few").await));
    let secret = |byte: u8| aplomb::Secret::new([byte; 32]).expect("long enough");
    // `TestService` uses a secret in which each byte is 7.
    let changed = || {
        service
            .configure(Api::new("test", routes![few]))
            .secret(secret(8))
    };
    let start = async |api| {
        TestServer::start(api, service.app.clone())
            .await
            .expect("a valid API")
    };
    let (with_previous, without_previous) = (
        start(changed().previous_secret(secret(7))).await,
        start(changed()).await,
    );
    let send = async |server: &TestServer| {
        Client::new(server.address())
            .get(&path)
            .bearer(ALICE)
            .send()
            .await
    };
    assert_eq!(data(&send(&with_previous).await), [3, 2]);
    send(&without_previous).await.problem(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn d03_foreign_and_broken_cursors_are_rejected_with_constant_text() {
    let service = service().await;
    let own = cursor(&get(&service, "/v1/few?filter=a").await);
    let mut texts = BTreeSet::new();
    let flipped: String = own
        .chars()
        .map(|letter| if letter == 'A' { 'B' } else { 'A' })
        .collect();
    for path in [
        format!("/v1/few?filter=b&cursor={own}"),
        format!("/v1/few?cursor={own}"),
        format!("/v1/numbers?filter=a&cursor={own}"),
        format!("/v1/few?filter=a&cursor={}", &own[1..]),
        format!("/v1/few?filter=a&cursor={flipped}"),
        String::from("/v1/few?cursor="),
        String::from("/v1/few?cursor=%00%ff"),
        format!("/v1/few?cursor={}", "A".repeat(10_000)),
    ] {
        texts.insert(
            get(&service, &path).await.problem(400, "INVALID_CURSOR")["detail"].to_string(),
        );
    }
    let bob = service
        .client
        .get(&format!("/v1/few?filter=a&cursor={own}"))
        .bearer(BOB)
        .send()
        .await;
    texts.insert(bob.problem(400, "INVALID_CURSOR")["detail"].to_string());
    assert_eq!(texts.len(), 1);
    assert_eq!(
        get(&service, &format!("/v1/few?filter=a&cursor={own}"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn d02_a_cursor_is_rejected_by_another_list() {
    let service = service().await;
    let one = cursor(&get(&service, "/v1/lists/1/numbers").await);
    get(&service, &format!("/v1/lists/2/numbers?cursor={one}"))
        .await
        .problem(400, "INVALID_CURSOR");
    assert_eq!(
        data(&get(&service, &format!("/v1/lists/1/numbers?cursor={one}")).await),
        [3, 2]
    );
}

#[tokio::test]
async fn d05_a_forward_list_has_no_previous_page() {
    let service = service().await;
    let first = get(&service, "/v1/few").await;
    let second = get(&service, &format!("/v1/few?cursor={}", cursor(&first))).await;
    for reply in [first, second] {
        assert!(reply.json().get("prev_cursor").is_none());
        assert!(!reply.header("link").expect("links").contains("prev"));
    }
}

#[tokio::test]
async fn d06_links_lead_to_the_next_page_and_keep_the_other_parameters() {
    let service = service().await;
    let reply = get(&service, "/v1/few?b=2&a=%26&limit=1").await;
    let links = reply.header("link").expect("links").to_owned();
    assert!(
        links.starts_with("</v1/few?a=%26&b=2&limit=1>; rel=\"first\", "),
        "{links}"
    );
    let next = links
        .split('<')
        .nth(2)
        .and_then(|rest| rest.split_once(">; rel=\"next\""))
        .expect("next")
        .0;
    assert_eq!(data(&get(&service, next).await), [4]);
}

#[tokio::test]
async fn d06_links_are_valid_uris_for_any_characters_in_the_path() {
    let service = service().await;
    for name in [
        "é", "a{b}", "a|b", "a^b", "a\\b", "%C3%A9", "%2F%3E", "a;b=c,d",
    ] {
        let mut raw = service.client.raw().await;
        let request = format!(
            "GET /v1/named/{name}/numbers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\r\n"
        );
        raw.write(&request).await;
        let reply = raw.response().await;
        let links = reply
            .lines()
            .find_map(|line| line.strip_prefix("link: "))
            .expect("links");
        let next = links
            .split('<')
            .nth(2)
            .and_then(|rest| rest.split_once('>'))
            .expect("next")
            .0;
        assert!(
            next.is_ascii() && !next.contains(['{', '}', '|', '^', '\\']),
            "{name}: {next}"
        );
        assert_eq!(data(&get(&service, next).await), [3, 2], "{name}: {next}");
    }
}

#[tokio::test]
async fn d06_a_page_that_cannot_be_serialized_has_no_links() {
    let service = service().await;
    let reply = get(&service, "/v1/unwritable").await;
    reply.problem(500, "INTERNAL");
    assert_eq!(reply.header("link"), None);
}

/// Returns a deterministic generator of numbers below its argument.
fn random_numbers() -> impl Fn(i64) -> i64 {
    let state = AtomicU64::new(7);
    move |sides| {
        let next = state
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
            .rotate_left(23);
        (next >> 1).cast_signed() % sides
    }
}

/// The rows of the list.
type Rows = Arc<Mutex<BTreeSet<i64>>>;

/// Lists rows while the test inserts and deletes rows.
#[endpoint(
    get = "/rows",
    version = 1,
    public,
    paginate(cursor, default = 7, max = 7)
)]
async fn rows(State(rows): State<Rows>, page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(i64::MAX, |key| key.id);
    let rows = rows.lock().expect("no panic");
    page.page(
        rows.range(..below)
            .rev()
            .take(page.fetch_limit())
            .copied()
            .collect(),
        |id| Below { id: *id },
    )
}

#[tokio::test]
async fn d07_rows_present_throughout_appear_exactly_once() {
    // The rows with multiples of ten are permanent. All other rows are inserted and deleted between
    // the pages, including the rows at which cursors point.
    let permanent: BTreeSet<i64> = (0..50).map(|n| n * 10).collect();
    let table: Rows = Arc::new(Mutex::new(permanent.clone()));
    let api = Api::new("rows", routes![rows]);
    let server = TestServer::start(api, Arc::clone(&table))
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    let random = random_numbers();
    let (mut seen, mut path) = (Vec::new(), String::from("/v1/rows"));
    loop {
        let reply = client.get(&path).send().await;
        seen.extend(data(&reply));
        if !reply.json()["has_more"].as_bool().expect("a flag") {
            break;
        }
        path = format!("/v1/rows?cursor={}", cursor(&reply));
        let mut table = table.lock().expect("no panic");
        table.retain(|id| id % 10 == 0 || random(2) == 0);
        table.extend((0..20).map(|_| random(500)).filter(|id| id % 10 != 0));
    }
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(once, seen, "a row appears twice");
    assert!(
        permanent.iter().all(|id| seen.contains(id)),
        "a row is missing"
    );
}
