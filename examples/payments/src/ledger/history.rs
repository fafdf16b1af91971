use aplomb::policies::paginate::{Keyset, KeysetSql, Placeholders};
use aplomb::{CursorKey, Id};
use sqlx::AssertSqlSafe;
use sqlx::query::QueryAs;

use super::{Account, Ledger, LedgerError, Payment, account};

/// The order of the list. Identifiers increase with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, CursorKey)]
pub struct NewestFirst {
    /// The identifier of a payment.
    #[cursor(desc, unique)]
    pub id: Id<Payment>,
}

impl Ledger {
    /// Returns a page of the payments from or to the caller's accounts. With `account`, returns
    /// only payments from or to this account of the caller. The payment that is nearest to the
    /// position of the page comes first.
    ///
    /// A reader of all pages gets every payment that existed from the first page to the last one
    /// exactly once, even if payments are added meanwhile.
    ///
    /// # Errors
    ///
    /// [`LedgerError::AccountNotFound`] if `account` does not belong to the caller.
    pub async fn payments(
        &self,
        caller: &str,
        account: Option<Id<Account>>,
        page: &Keyset,
    ) -> Result<Vec<Payment>, LedgerError> {
        let mut connection = self.readers.acquire().await?;
        let page = page.sql(Placeholders::QuestionFrom(2));
        let rows = match account {
            None => sqlx::query_as(AssertSqlSafe(select("payer", "payee", &page))).bind(caller),
            Some(id) => {
                account::find_owned(&mut connection, caller, id).await?;
                sqlx::query_as(AssertSqlSafe(select("from_account", "to_account", &page))).bind(id)
            }
        };
        let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
        Ok(rows.fetch_all(&mut *connection).await?)
    }
}

/// Returns the query of a page of the payments in which `from` or `to` is `?1`. Each of these
/// columns has an index, so a page costs the same at any depth. A condition with OR would read and
/// sort all payments of the caller.
fn select(from: &str, to: &str, page: &KeysetSql) -> String {
    let side =
        |column| format!("SELECT id FROM (SELECT id FROM payments WHERE {column} = ?1 AND {page})");
    let (
        from,
        to,
        KeysetSql {
            order_by, limit, ..
        },
    ) = (side(from), side(to), page);
    format!(
        "SELECT id, from_account, to_account, amount, refunded FROM payments WHERE id IN ({from} UNION {to})
         ORDER BY {order_by} LIMIT {limit}"
    )
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    use aplomb::policies::paginate::{PageRequest, Position};

    use super::super::tests::{ALICE, BOB, TestLedger};
    use super::*;

    fn keyset(position: Position<Id<Payment>>) -> Keyset {
        PageRequest::at(position.map(|id| NewestFirst { id }), 20)
            .bidirectional()
            .keyset()
    }

    async fn query_plan(test: &TestLedger, page: &Keyset) -> Vec<String> {
        let page = page.sql(Placeholders::QuestionFrom(2));
        let statement = format!("EXPLAIN QUERY PLAN {}", select("payer", "payee", &page));
        let rows =
            sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(statement)).bind(ALICE);
        let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
        let rows = rows.fetch_all(&test.ledger.readers).await.expect("a plan");
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
    async fn count_steps(test: &TestLedger, position: Position<Id<Payment>>) -> usize {
        let page = keyset(position).sql(Placeholders::QuestionFrom(2));
        let mut connection = test.ledger.readers.acquire().await.expect("a connection");
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
        let mut transaction = test.ledger.begin().await.expect("a transaction");
        let ids: Vec<Id<Payment>> = (0..4_000).map(|_| Id::new()).collect();
        for id in &ids {
            let insert = "INSERT INTO payments (id, from_account, to_account, payer, payee, amount)
                          VALUES (?, ?, ?, ?, ?, 1)";
            let insert = sqlx::query(insert)
                .bind(id)
                .bind(alice)
                .bind(bob)
                .bind(ALICE)
                .bind(BOB);
            insert.execute(&mut *transaction).await.expect("inserted");
        }
        transaction.commit().await.expect("committed");

        for direction in [Position::After, Position::Before] {
            let mut costs = Vec::new();
            for depth in [100, 2_000, 3_900] {
                costs.push(count_steps(&test, direction(ids[depth])).await);
            }
            let (min, max) = (
                costs.iter().min().expect("three costs"),
                costs.iter().max().expect("three costs"),
            );
            assert!(*min > 100 && max - min < min / 10, "{costs:?}");
        }
    }
}
