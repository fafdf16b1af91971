use aplomb::policies::paginate::{Keyset, KeysetSql, Placeholders};
use aplomb::{CursorKey, Id};
use sqlx::AssertSqlSafe;
use sqlx::query::QueryAs;

use super::{Account, Ledger, LedgerError, Payment, account};

/// The order of the list: identifiers rise with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, CursorKey)]
pub struct NewestFirst {
    /// The payment.
    #[cursor(desc, unique)]
    pub id: Id<Payment>,
}

impl Ledger {
    /// A page of the payments from or to the caller's accounts, or one of them, nearest first.
    ///
    /// Pages meet every payment that was there throughout exactly once, whatever is paid meanwhile.
    ///
    /// # Errors
    ///
    /// [`LedgerError::AccountNotFound`] if `account` is not the caller's.
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
                account::owned(&mut connection, caller, id).await?;
                sqlx::query_as(AssertSqlSafe(select("from_account", "to_account", &page))).bind(id)
            }
        };
        let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
        Ok(rows.fetch_all(&mut *connection).await?)
    }
}

/// A page of the payments in which `?1` stands on either side: each side is read from its own index, so that a
/// page costs the same wherever it lies.
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

    use super::super::tests::{ALICE, BOB, Bench};
    use super::*;

    fn keyset(position: Position<Id<Payment>>) -> Keyset {
        PageRequest::at(position.map(|id| NewestFirst { id }), 20)
            .bidirectional()
            .keyset()
    }

    async fn plan(bench: &Bench, page: &Keyset) -> Vec<String> {
        let page = page.sql(Placeholders::QuestionFrom(2));
        let text = format!("EXPLAIN QUERY PLAN {}", select("payer", "payee", &page));
        let rows = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(text)).bind(ALICE);
        let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
        let rows = rows.fetch_all(&bench.ledger.readers).await.expect("a plan");
        rows.into_iter().map(|(.., step)| step).collect()
    }

    #[tokio::test]
    async fn d07_a_page_is_read_from_two_indexes_in_either_direction() {
        let bench = Bench::new().await;
        for (position, bound) in [
            (Position::Start, ""),
            (Position::After(Id::new()), " AND id<?"),
            (Position::Before(Id::new()), " AND id>?"),
            (Position::End, ""),
        ] {
            let plan = plan(&bench, &keyset(position)).await;
            for step in [
                String::from("SEARCH payments USING PRIMARY KEY (id=?)"),
                format!("SEARCH payments USING COVERING INDEX payments_by_payer (payer=?{bound})"),
                format!("SEARCH payments USING COVERING INDEX payments_by_payee (payee=?{bound})"),
            ] {
                assert!(
                    plan.contains(&step),
                    "{position:?}: {step} is not in {plan:#?}"
                );
            }
            let reads_all = |step: &&String| step.starts_with("SCAN payments");
            assert_eq!(plan.iter().find(reads_all), None, "{position:?}: {plan:#?}");
        }
    }

    /// How many steps the database takes for a page.
    async fn steps(bench: &Bench, position: Position<Id<Payment>>) -> usize {
        let page = keyset(position).sql(Placeholders::QuestionFrom(2));
        let mut connection = bench.ledger.readers.acquire().await.expect("a connection");
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
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
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn d07_a_page_costs_the_same_wherever_it_lies() {
        let bench = Bench::new().await;
        let (alice, bob) = (bench.account(ALICE, 1).await, bench.account(BOB, 1).await);
        let mut transaction = bench.ledger.begin().await.expect("a transaction");
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

        for at in [Position::After, Position::Before] {
            let mut costs = Vec::new();
            for depth in [100, 2_000, 3_900] {
                costs.push(steps(&bench, at(ids[depth])).await);
            }
            let (least, most) = (
                costs.iter().min().expect("three"),
                costs.iter().max().expect("three"),
            );
            assert!(*least > 100 && most - least < least / 10, "{costs:?}");
        }
    }
}
