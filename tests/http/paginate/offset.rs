use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::ClientResponse;

use super::{data, get};
use crate::app::TestService;

/// Lists the numbers below 12,000.
#[endpoint(
    get = "/counted",
    version = 1,
    paginate(offset, default = 20, max = 50)
)]
async fn counted(page: OffsetRequest) -> Page<i64> {
    let rows = (0..12_000)
        .skip(page.offset())
        .take(page.fetch_limit())
        .collect();
    page.page(rows, Some(12_000))
}

/// Lists the numbers below 45, and counts the total only on request.
#[endpoint(get = "/few", version = 1, paginate(offset, default = 20, max = 50))]
async fn few(page: OffsetRequest) -> aplomb::Result<Page<i64>> {
    let total = page.wants_total().then_some(45);
    Ok(page.page(
        (0..45)
            .skip(page.offset())
            .take(page.fetch_limit())
            .collect(),
        total,
    ))
}

async fn service() -> TestService {
    TestService::start(routes![counted, few]).await
}

/// Returns the relations of the links, and their targets.
fn links(reply: &ClientResponse) -> Vec<(&str, &str)> {
    let links = reply.header("link").expect("links").split(", ");
    let parts = links.map(|link| {
        link.strip_prefix('<')
            .and_then(|link| link.strip_suffix('"'))
            .expect("a link")
    });
    parts
        .map(|link| link.split_once(">; rel=\"").expect("a relation"))
        .map(|(target, name)| (name, target))
        .collect()
}

#[tokio::test]
async fn d08_pages_are_numbered_from_1() {
    let service = service().await;
    let first = get(&service, "/v1/few").await;
    assert_eq!(data(&first), (0..20).collect::<Vec<_>>());
    assert_eq!(
        first.json(),
        get(&service, "/v1/few?page=1&limit=20").await.json()
    );
    let last = get(&service, "/v1/few?page=3").await;
    assert_eq!(
        (data(&last), last.json()["page"].as_u64()),
        ((40..45).collect(), Some(3))
    );
    assert_eq!(
        [&first, &last].map(|page| page.json()["has_more"].as_bool()),
        [Some(true), Some(false)]
    );
    let beyond = get(&service, "/v1/few?page=4").await;
    assert_eq!(
        (data(&beyond), beyond.json()["has_more"].as_bool()),
        (vec![], Some(false))
    );
    assert!(first.json().get("next_cursor").is_none());
}

#[tokio::test]
async fn d04_the_limit_of_numbered_pages_has_a_default_and_a_maximum() {
    let service = service().await;
    assert_eq!(data(&get(&service, "/v1/few?limit=1000").await).len(), 45);
    assert_eq!(
        data(&get(&service, "/v1/counted?limit=1000").await).len(),
        50
    );
    get(&service, "/v1/few?limit=0")
        .await
        .problem(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn d08_numbered_pages_end_at_item_10_000() {
    let service = service().await;
    let last = get(&service, "/v1/counted?page=200&limit=50").await;
    assert_eq!(
        (data(&last).last(), last.json()["has_more"].as_bool()),
        (Some(&9_999), Some(true))
    );
    assert!(
        links(&last).iter().all(|(relation, _)| *relation != "next"),
        "the last page has no next link"
    );
    let longest = "9".repeat(40);
    for (page, limit) in [
        ("201", "50"),
        ("501", "20"),
        ("1000000000", "1"),
        (&longest[..], "50"),
    ] {
        let path = format!("/v1/counted?page={page}&limit={limit}");
        let problem = get(&service, &path).await.problem(400, "INVALID_PARAMETER");
        assert_eq!(problem["errors"][0]["parameter"], "page");
        assert!(
            problem["errors"][0]["detail"]
                .as_str()
                .expect("a text")
                .contains("by cursor"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn d08_an_invalid_page_parameter_is_a_400_that_names_it() {
    let service = service().await;
    for (query, parameter) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1e9", "page"),
        ("page=", "page"),
        ("page=1&page=2", "page"),
        ("limit=-1", "limit"),
        ("total=yes", "total"),
        ("total=true&total=true", "total"),
    ] {
        let problem = get(&service, &format!("/v1/few?{query}"))
            .await
            .problem(400, "INVALID_PARAMETER");
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}");
    }
}

#[tokio::test]
async fn d08_the_total_is_sent_only_on_request() {
    let service = service().await;
    for silent in ["/v1/few", "/v1/few?total=false", "/v1/counted"] {
        assert!(
            get(&service, silent).await.json().get("total").is_none(),
            "{silent}"
        );
    }
    assert_eq!(
        get(&service, "/v1/few?total=true").await.json()["total"],
        45
    );
    assert_eq!(
        get(&service, "/v1/few?total=true&page=9").await.json()["total"],
        45
    );
}

#[tokio::test]
async fn d06_links_of_numbered_pages_keep_the_other_parameters() {
    let service = service().await;
    assert_eq!(
        links(&get(&service, "/v1/few?b=2&a=%26&page=2").await),
        [
            ("first", "/v1/few?a=%26&b=2&page=1&limit=20"),
            ("prev", "/v1/few?a=%26&b=2&page=1&limit=20"),
            ("next", "/v1/few?a=%26&b=2&page=3&limit=20"),
        ]
    );
    let counted = get(&service, "/v1/few?total=true").await;
    let last = links(&counted)
        .into_iter()
        .find(|(relation, _)| *relation == "last")
        .expect("a last page")
        .1;
    assert_eq!(last, "/v1/few?page=3&limit=20&total=true");
    assert_eq!(
        data(&get(&service, last).await),
        (40..45).collect::<Vec<_>>()
    );
}
