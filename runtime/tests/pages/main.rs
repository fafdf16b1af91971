//! Reads the pages of a list that changes during the reads. The rows come from sorted collections
//! and from `SQLite`, in every order and in both directions.

mod table;

use core::cmp::Ordering;

use aplomb::CursorKey;
use aplomb::policies::paginate::{Page, PageRequest, Position};
use axum::extract::FromRequestParts;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use serde_json::Value;

use table::{Row, Table};

/// A cursor key, and its order in a second, simple implementation.
trait Order: CursorKey {
    fn of(row: &Row) -> Self;

    fn reference_order(left: &Row, right: &Row) -> Ordering;
}

macro_rules! orders {
    ($($name:ident: $({$(#[$options:meta])* $field:ident: $ty:ty, $ordering:expr})+)+) => {$(
        #[derive(CursorKey)]
        struct $name {
            $($(#[$options])* $field: $ty,)+
        }

        impl Order for $name {
            fn of(row: &Row) -> Self {
                Self { $($field: row.$field.clone()),+ }
            }

            fn reference_order(left: &Row, right: &Row) -> Ordering {
                Ordering::Equal $(.then_with(|| $ordering(left.$field.cmp(&right.$field))))+
            }
        }
    )+};
}

const ASCENDING: fn(Ordering) -> Ordering = |ordering| ordering;
const DESCENDING: fn(Ordering) -> Ordering = Ordering::reverse;

orders! {
    Oldest: {#[cursor(unique)] id: i64, ASCENDING}
    Newest: {#[cursor(desc, unique, column = "rows.id")] id: i64, DESCENDING}
    Upwards: {rank: i32, ASCENDING} {name: String, ASCENDING} {#[cursor(unique)] id: i64, ASCENDING}
    Downwards: {#[cursor(desc)] tag: Vec<u8>, DESCENDING} {#[cursor(desc, unique)] id: i64, DESCENDING}
    UpAndDown: {rank: i32, ASCENDING} {#[cursor(desc)] name: String, DESCENDING} {#[cursor(unique)] id: i64, ASCENDING}
    DownAndUp: {#[cursor(desc)] flag: bool, DESCENDING} {name: String, ASCENDING} {#[cursor(desc)] tag: Vec<u8>, DESCENDING}
        {#[cursor(unique, column = "rows.id")] id: i64, ASCENDING}
}

/// One read of a page: the changes of the rows before the read, and the size of the page.
#[derive(Debug, Clone)]
struct Step {
    limit: u32,
    /// The changed rows. `true` inserts the row, `false` deletes it.
    changes: Vec<(Row, bool)>,
}

/// Builds the page request of a client that sends this cursor.
async fn request<K: CursorKey>(cursor: Option<&str>, limit: u32) -> PageRequest<K> {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let request = http::Request::get(format!("/rows?limit={limit}{cursor}"))
        .body(())
        .expect("a request");
    let (mut parts, ()) = request.into_parts();
    PageRequest::from_request_parts(&mut parts, &())
        .await
        .expect("a page of this list")
}

/// Reads a page from each source, and checks that all sources agree.
async fn read<K: Order>(table: &mut Table, cursor: Option<&str>, limit: u32) -> Page<Row> {
    let request = request::<K>(cursor, limit).await;
    let bidirectional = request.bidirectional();
    let rows = table.in_slice(&bidirectional);
    assert_eq!(table.in_map(&bidirectional), rows);
    assert_eq!(
        table.in_sqlite(&bidirectional).await,
        rows,
        "{}",
        bidirectional.keyset().sql(table::QUESTION_MARKS)
    );
    bidirectional.page(rows, K::of)
}

/// Reads the whole list forward and then backward, while the temporary rows change.
async fn read_both_directions<K: Order>(permanent: &[Row], steps: &[Step]) -> TestCaseResult {
    let mut expected = permanent.to_vec();
    expected.sort_by(K::reference_order);
    let (mut table, mut steps) = (Table::new(permanent).await, steps.iter().cycle());
    let mut read_page = async |cursor: Option<&str>| {
        let step = steps.next().expect("a cycle");
        table.change(&step.changes).await;
        read::<K>(&mut table, cursor, step.limit).await
    };

    let mut page = read_page(None).await;
    let mut seen = permanent_rows_of::<K>(&page)?;
    while let Some(next) = page.next_cursor().map(str::to_owned) {
        prop_assert!(page.has_more());
        page = read_page(Some(&next)).await;
        seen.extend(permanent_rows_of::<K>(&page)?);
    }
    prop_assert!(!page.has_more());
    prop_assert_eq!(&seen, &expected, "forward");

    let mut seen = vec![permanent_rows_of::<K>(&page)?];
    while let Some(previous) = page.prev_cursor().map(str::to_owned) {
        page = read_page(Some(&previous)).await;
        seen.push(permanent_rows_of::<K>(&page)?);
    }
    seen.reverse();
    prop_assert_eq!(&seen.concat(), &expected, "backward");
    Ok(())
}

/// Returns the permanent rows of a page, and checks the order of all its rows.
fn permanent_rows_of<K: Order>(page: &Page<Row>) -> Result<Vec<Row>, TestCaseError> {
    prop_assert!(
        page.items()
            .is_sorted_by(|left, right| K::reference_order(left, right).is_lt())
    );
    Ok(page
        .items()
        .iter()
        .filter(|row| row.id % 2 == 0)
        .cloned()
        .collect())
}

/// Reads a list that does not change. Checks that the `prev_cursor` of each page leads to the
/// previous page, and that the `next_cursor` of the previous page leads to this page again.
async fn forward_and_back<K: Order>(rows: &[Row], limit: u32) -> TestCaseResult {
    let mut table = Table::new(rows).await;
    let mut page = read::<K>(&mut table, None, limit).await;
    while let Some(next) = page.next_cursor() {
        let following = read::<K>(&mut table, Some(next), limit).await;
        let back = read::<K>(&mut table, following.prev_cursor(), limit).await;
        prop_assert_eq!(back.items(), page.items());
        prop_assert_eq!(back.prev_cursor().is_some(), page.prev_cursor().is_some());
        let again = read::<K>(&mut table, back.next_cursor(), limit).await;
        prop_assert_eq!(again.items(), following.items());
        page = following;
    }
    Ok(())
}

fn row(id: impl Strategy<Value = i64>) -> impl Strategy<Value = Row> {
    let tag = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3);
    (id, -2_i32..3, "[aBé\u{0}]{0,2}", any::<bool>(), tag).prop_map(
        |(id, rank, name, flag, tag)| Row {
            id,
            rank,
            name,
            flag,
            tag,
        },
    )
}

/// Generates permanent rows, which have even numbers. Temporary rows have odd numbers.
fn permanent_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::btree_map(-20_i64..20, row(Just(0)), 0..20).prop_map(|rows| {
        rows.into_iter()
            .map(|(number, row)| Row {
                id: 2 * number,
                ..row
            })
            .collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = prop::collection::vec(
        (
            row((-20_i64..20).prop_map(|number| 2 * number + 1)),
            any::<bool>(),
        ),
        0..6,
    );
    prop::collection::vec(
        (1_u32..6, changes).prop_map(|(limit, changes)| Step { limit, changes }),
        1..12,
    )
}

/// Runs a property for every order.
macro_rules! in_every_order {
    ($property:ident($($argument:expr),+)) => {{
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            $property::<Oldest>($($argument),+).await?;
            $property::<Newest>($($argument),+).await?;
            $property::<Upwards>($($argument),+).await?;
            $property::<Downwards>($($argument),+).await?;
            $property::<UpAndDown>($($argument),+).await?;
            $property::<DownAndUp>($($argument),+).await
        })?;
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn d07_permanent_rows_appear_exactly_once_in_either_direction(permanent in permanent_rows(), steps in steps()) {
        in_every_order!(read_both_directions(&permanent, &steps));
    }

    #[test]
    fn d05_pages_are_the_same_when_read_backward(rows in permanent_rows(), limit in 1_u32..6) {
        in_every_order!(forward_and_back(&rows, limit));
    }
}

proptest! {
    #[test]
    fn d01_keys_have_the_reference_order(left in row(0_i64..3), right in row(0_i64..3)) {
        fn agrees<K: Order>(left: &Row, right: &Row) -> bool {
            K::of(left).compare(&K::of(right)) == K::reference_order(left, right)
        }
        prop_assert!(agrees::<Oldest>(&left, &right) && agrees::<Newest>(&left, &right));
        prop_assert!(agrees::<Upwards>(&left, &right) && agrees::<Downwards>(&left, &right));
        prop_assert!(agrees::<UpAndDown>(&left, &right) && agrees::<DownAndUp>(&left, &right));
    }
}

#[tokio::test]
async fn d07_every_page_query_uses_its_index_in_both_directions() {
    let row = Row {
        id: 1,
        rank: 1,
        name: "a".into(),
        flag: true,
        tag: Vec::new(),
    };
    let mut table = Table::new(&[]).await;
    for position in [Position::After(()), Position::Before(())] {
        let request = PageRequest::at(position.map(|()| Upwards::of(&row)), 5);
        let plan = table.plan(&request.bidirectional()).await;
        let bound = if position.is_backward() {
            "(rank,name,id)<(?,?,?)"
        } else {
            "(rank,name,id)>(?,?,?)"
        };
        assert_eq!(
            plan,
            [format!(
                "SEARCH rows USING COVERING INDEX rows_upwards ({bound})"
            )]
        );
        let request = PageRequest::at(position.map(|()| UpAndDown::of(&row)), 5);
        let plan = table.plan(&request.bidirectional()).await;
        let bound = if position.is_backward() {
            "rank<?"
        } else {
            "rank>?"
        };
        assert_eq!(
            plan,
            [format!(
                "SEARCH rows USING COVERING INDEX rows_up_and_down ({bound})"
            )]
        );
    }
}

#[tokio::test]
async fn d05_only_a_bidirectional_page_has_prev_cursor() {
    let members = async |page: Page<i64>| -> Vec<String> {
        let response = axum::response::IntoResponse::into_response(page);
        let body = axum::body::to_bytes(response.into_body(), 4096)
            .await
            .expect("a body");
        let page: Value = serde_json::from_slice(&body).expect("JSON");
        page.as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let request = PageRequest::<Oldest>::new(None, 1);
    let key = |id: &i64| Oldest { id: *id };
    assert_eq!(
        members(request.page(vec![1, 2], key)).await,
        ["data", "has_more", "next_cursor"]
    );
    let bidirectional = request.bidirectional().page(vec![1, 2], key);
    assert_eq!(
        members(bidirectional).await,
        ["data", "has_more", "next_cursor", "prev_cursor"]
    );
}
