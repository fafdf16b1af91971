//! Tests of the query for a page: its plan, and the steps that it takes.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use aplomb::Id;
use aplomb::policies::paginate::{Keyset, PageRequest, Placeholders, Position};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::ledger::history::select;
use super::super::ledger::tests::{ALICE, BOB, TestLedger};
use super::super::ledger::{NewestFirst, Payment};

fn keyset(position: Position<Id<Payment>>) -> Keyset {
    PageRequest::at(position.map(|id| NewestFirst { id }), 20)
        .bidirectional()
        .keyset()
}

async fn query_plan(test: &TestLedger, page: &Keyset) -> Vec<String> {
    let page = page.sql(Placeholders::DollarFrom(2));
    let statement = format!("EXPLAIN QUERY PLAN {}", select("payer", "payee", &page));
    let rows = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(statement)).bind(ALICE);
    let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
    let rows = rows.fetch_all(&test.database.pool).await.expect("a plan");
    rows.into_iter().map(|(.., step)| step).collect()
}

#[tokio::test]
async fn d07_a_page_is_read_from_two_indexes_in_either_direction() {
    let test = TestLedger::new().await;
    for (position, bound) in [
        (Position::Start, ""),
        (Position::After(Id::new()), " AND id<?"),
        (Position::Before(Id::new()), " AND id>?"),
        (Position::End, ""),
    ] {
        let query_plan = query_plan(&test, &keyset(position)).await;
        for step in [
            String::from("SEARCH payments USING PRIMARY KEY (id=?)"),
            format!("SEARCH payments USING COVERING INDEX payments_by_payer (payer=?{bound})"),
            format!("SEARCH payments USING COVERING INDEX payments_by_payee (payee=?{bound})"),
        ] {
            assert!(
                query_plan.contains(&step),
                "{position:?}: {step} is not in {query_plan:#?}"
            );
        }
        let reads_all = |step: &&String| step.starts_with("SCAN payments");
        assert_eq!(
            query_plan.iter().find(reads_all),
            None,
            "{position:?}: {query_plan:#?}"
        );
    }
}

/// Returns the number of steps that the virtual machine of `SQLite` takes for a page.
async fn count_steps(connection: &mut SqliteConnection, position: Position<Id<Payment>>) -> usize {
    let page = keyset(position).sql(Placeholders::DollarFrom(2));
    let step_count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&step_count);
    connection
        .lock_handle()
        .await
        .expect("the connection")
        .set_progress_handler(1, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            true
        });
    let rows = sqlx::query_as(AssertSqlSafe(select("payer", "payee", &page))).bind(ALICE);
    let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
    let rows: Vec<Payment> = rows.fetch_all(&mut *connection).await.expect("a page");
    assert_eq!(rows.len(), 21);
    connection
        .lock_handle()
        .await
        .expect("the connection")
        .remove_progress_handler();
    step_count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn d07_a_page_costs_the_same_at_any_depth() {
    let test = TestLedger::new().await;
    let (alice, bob) = (test.account(ALICE, 1).await, test.account(BOB, 1).await);
    let mut transaction = test.database.pool.begin().await.expect("a transaction");
    let ids: Vec<Id<Payment>> = (0..4_000).map(|_| Id::new()).collect();
    for id in &ids {
        let insert = "INSERT INTO payments (id, from_account, to_account, payer, payee, amount)
                      VALUES ($1, $2, $3, $4, $5, 1)";
        let insert = sqlx::query(insert)
            .bind(id)
            .bind(alice)
            .bind(bob)
            .bind(ALICE)
            .bind(BOB);
        insert.execute(&mut *transaction).await.expect("inserted");
    }
    transaction.commit().await.expect("committed");

    let mut connection = test.database.pool.acquire().await.expect("a connection");
    // The first query of a connection also reads the schema.
    count_steps(&mut connection, Position::After(ids[100])).await;
    for direction in [Position::After, Position::Before] {
        let mut costs = Vec::new();
        for depth in [100, 2_000, 3_900] {
            costs.push(count_steps(&mut connection, direction(ids[depth])).await);
        }
        let (min, max) = (
            costs.iter().min().expect("three costs"),
            costs.iter().max().expect("three costs"),
        );
        assert!(*min > 100 && max - min < min / 10, "{costs:?}");
    }
}
