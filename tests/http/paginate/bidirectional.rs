use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aplomb::policies::paginate::InOrder;
use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{Client, ClientResponse, TestServer};
use axum::Router;

use crate::app::serve;

use super::{cursor, data, random_numbers};

#[derive(CursorKey)]
struct ByNumber {
    #[cursor(unique)]
    number: i64,
}

#[derive(Clone, Default)]
struct Rows(Arc<Mutex<BTreeMap<InOrder<ByNumber>, i64>>>);

impl Rows {
    fn of(numbers: impl IntoIterator<Item = i64>) -> Self {
        let rows = Self::default();
        rows.insert(numbers);
        rows
    }

    fn insert(&self, numbers: impl IntoIterator<Item = i64>) {
        let rows = numbers
            .into_iter()
            .map(|number| (InOrder(ByNumber { number }), number));
        self.0.lock().expect("no panic").extend(rows);
    }

    fn retain(&self, mut keeps: impl FnMut(i64) -> bool) {
        self.0
            .lock()
            .expect("no panic")
            .retain(|_, number| keeps(*number));
    }
}

/// Lists rows in ascending order. Clients can read the pages forward and backward.
#[endpoint(
    get = "/rows",
    version = 1,
    public,
    paginate(cursor, default = 3, max = 10)
)]
async fn rows(State(Rows(rows)): State<Rows>, page: PageRequest<ByNumber>) -> Page<i64> {
    let page = page.bidirectional();
    let rows = page
        .in_map(&rows.lock().expect("no panic"))
        .map(|(_, number)| *number)
        .collect();
    page.page(rows, |number| ByNumber { number: *number })
}

/// Lists the same rows, as before the list became bidirectional: clients can read the pages only
/// forward.
#[endpoint(
    get = "/rows",
    version = 1,
    public,
    paginate(cursor, default = 3, max = 10)
)]
async fn forward_rows(State(Rows(rows)): State<Rows>, page: PageRequest<ByNumber>) -> Page<i64> {
    let after = page.after().map_or(i64::MIN, |key| key.number);
    let rows = rows.lock().expect("no panic");
    let numbers = rows.values().copied().filter(|number| *number > after);
    page.page(numbers.take(page.fetch_limit()).collect(), |number| {
        ByNumber { number: *number }
    })
}

struct RowService {
    client: Client,
    rows: Rows,
    _server: TestServer,
}

impl RowService {
    async fn start(numbers: impl IntoIterator<Item = i64>) -> Self {
        let rows = Rows::of(numbers);
        let server = TestServer::start(
            Api::new("rows", routes![rows]).secret(secret()),
            rows.clone(),
        );
        let server = server.await.expect("a valid API");
        Self {
            client: Client::new(server.address()),
            rows,
            _server: server,
        }
    }

    async fn page(&self, query: &str) -> ClientResponse {
        self.client.get(&format!("/v1/rows{query}")).send().await
    }

    async fn next(&self, of: &ClientResponse) -> ClientResponse {
        self.page(&format!("?cursor={}", cursor(of))).await
    }

    async fn previous(&self, of: &ClientResponse) -> ClientResponse {
        self.page(&format!(
            "?cursor={}",
            previous_cursor(of).expect("a previous page")
        ))
        .await
    }
}

fn secret() -> aplomb::Secret {
    aplomb::Secret::new([7; 32]).expect("long enough")
}

fn previous_cursor(reply: &ClientResponse) -> Option<String> {
    let page = reply.json();
    let cursor = page
        .get("prev_cursor")
        .unwrap_or_else(|| panic!("no member: {page}"));
    cursor.as_str().map(str::to_owned)
}

fn is_last(reply: &ClientResponse) -> bool {
    let page = reply.json();
    assert_eq!(
        page["has_more"].as_bool(),
        Some(!page["next_cursor"].is_null())
    );
    page["next_cursor"].is_null()
}

/// Returns the target of the link with this relation.
fn link<'r>(reply: &'r ClientResponse, relation: &str) -> Option<&'r str> {
    let mut links = reply.header("link").expect("links").split(", ");
    links.find_map(|link| {
        link.strip_suffix(&format!(">; rel=\"{relation}\""))?
            .strip_prefix('<')
    })
}

#[tokio::test]
async fn d05_pages_read_backward_equal_the_pages_read_forward() {
    let service = RowService::start(1..=8).await;
    let first = service.page("").await;
    let second = service.next(&first).await;
    let third = service.next(&second).await;
    assert_eq!(
        [&first, &second, &third].map(data),
        [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8]]
    );
    assert_eq!(
        [is_last(&first), is_last(&second), is_last(&third)],
        [false, false, true]
    );
    assert_eq!(
        previous_cursor(&first),
        None,
        "the first page has no previous page"
    );

    let back = service.previous(&third).await;
    assert_eq!(data(&back), data(&second));
    let start = service.previous(&back).await;
    assert_eq!(data(&start), data(&first));
    assert_eq!((previous_cursor(&start), is_last(&start)), (None, false));
    assert_eq!(data(&service.next(&start).await), data(&second));
    assert_eq!(data(&service.next(&back).await), data(&third));
}

#[tokio::test]
async fn d03_a_new_limit_is_applied_to_a_backward_cursor() {
    let service = RowService::start(1..=8).await;
    let second = service.next(&service.page("").await).await;
    let cursor = previous_cursor(&second).expect("a previous page");
    let back = service.page(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (data(&back), previous_cursor(&back).is_some()),
        (vec![2, 3], true)
    );
}

#[tokio::test]
async fn d02_a_cursor_keeps_its_direction() {
    let service = RowService::start(1..=9).await;
    let second = service.next(&service.page("").await).await;
    let (forward_cursor, back) = (
        cursor(&second),
        previous_cursor(&second).expect("a previous page"),
    );
    assert_ne!(forward_cursor, back);
    assert_eq!(
        data(&service.page(&format!("?cursor={forward_cursor}")).await),
        [7, 8, 9]
    );
    assert_eq!(
        data(&service.page(&format!("?cursor={back}")).await),
        [1, 2, 3]
    );
    // A list that is not bidirectional rejects a backward cursor.
    let api = Api::new("rows", routes![forward_rows]).secret(secret());
    let server = TestServer::start(api, service.rows.clone())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    let forward = client
        .get(&format!("/v1/rows?cursor={forward_cursor}"))
        .send()
        .await;
    assert_eq!(
        data(&forward),
        [7, 8, 9],
        "both lists accept forward cursors"
    );
    client
        .get(&format!("/v1/rows?cursor={back}"))
        .send()
        .await
        .problem(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn d07_an_emptied_previous_page_links_to_the_rows_after_it() {
    let service = RowService::start(1..=9).await;
    let second = service.next(&service.page("").await).await;
    service.rows.retain(|number| number > 3);
    let empty = service.previous(&second).await;
    assert_eq!(
        (data(&empty), previous_cursor(&empty), is_last(&empty)),
        (vec![], None, false)
    );
    assert_eq!(
        data(&service.next(&empty).await),
        [4, 5, 6],
        "the next page starts at the first remaining row"
    );
}

#[tokio::test]
async fn d07_an_emptied_next_page_links_to_the_rows_before_it() {
    let service = RowService::start(1..=5).await;
    let first = service.page("").await;
    service.rows.retain(|number| number <= 3);
    let empty = service.next(&first).await;
    assert_eq!((data(&empty), is_last(&empty)), (vec![], true));
    let back = service.previous(&empty).await;
    assert_eq!(
        (data(&back), previous_cursor(&back), is_last(&back)),
        (vec![1, 2, 3], None, true)
    );
}

#[tokio::test]
async fn d07_a_cursor_stays_valid_after_its_row_is_deleted() {
    let service = RowService::start(1..=9).await;
    let second = service.next(&service.page("").await).await;
    service
        .rows
        .retain(|number| number != 3 && number != 4 && number != 6);
    assert_eq!(data(&service.next(&second).await), [7, 8, 9]);
    assert_eq!(data(&service.previous(&second).await), [1, 2]);
}

#[tokio::test]
async fn d07_rows_present_throughout_appear_exactly_once_backward() {
    let permanent: BTreeSet<i64> = (0..50).map(|number| number * 10).collect();
    let (service, random) = (RowService::start(permanent.clone()).await, random_numbers());
    let mut reply = service.page("?limit=10").await;
    while !is_last(&reply) {
        reply = service
            .page(&format!("?limit=10&cursor={}", cursor(&reply)))
            .await;
    }
    let mut pages = vec![data(&reply)];
    while let Some(cursor) = previous_cursor(&reply) {
        service
            .rows
            .retain(|number| number % 10 == 0 || random(2) == 0);
        service.rows.insert(
            (0..20)
                .map(|_| random(500))
                .filter(|number| number % 10 != 0),
        );
        reply = service
            .page(&format!("?limit={}&cursor={cursor}", 1 + random(9)))
            .await;
        pages.push(data(&reply));
    }
    pages.reverse();
    let seen = pages.concat();
    assert!(
        seen.is_sorted_by(|left, right| left < right),
        "a row appears twice: {seen:?}"
    );
    assert!(
        permanent.iter().all(|number| seen.contains(number)),
        "a row is missing"
    );
}

#[tokio::test]
async fn d06_links_lead_in_both_directions_and_keep_the_other_parameters() {
    let service = RowService::start(1..=9).await;
    let first = service.page("?b=2&a=%26&limit=2").await;
    assert_eq!(link(&first, "first"), Some("/v1/rows?a=%26&b=2&limit=2"));
    assert_eq!(link(&first, "prev"), None);
    let second = service
        .client
        .get(link(&first, "next").expect("a next page"))
        .send()
        .await;
    assert_eq!(data(&second), [3, 4]);
    let back = service
        .client
        .get(link(&second, "prev").expect("a previous page"))
        .send()
        .await;
    assert_eq!((data(&back), link(&back, "prev")), (vec![1, 2], None));
    assert_eq!(
        data(
            &service
                .client
                .get(link(&back, "next").expect("a next page"))
                .send()
                .await
        ),
        [3, 4]
    );
}

#[tokio::test]
async fn d06_links_have_the_prefix_of_the_outer_router() {
    let router = Api::new("rows", routes![rows])
        .into_router(Rows::of(1..=9))
        .await
        .expect("a valid API");
    let client = serve(Router::new().nest("/api", router)).await;
    let first = client.get("/api/v1/rows?limit=2").send().await;
    assert_eq!(link(&first, "first"), Some("/api/v1/rows?limit=2"));
    let second = client
        .get(link(&first, "next").expect("a next page"))
        .send()
        .await;
    let back = client
        .get(link(&second, "prev").expect("a previous page"))
        .send()
        .await;
    assert_eq!((data(&second), data(&back)), (vec![3, 4], vec![1, 2]));
}
