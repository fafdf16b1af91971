use aplomb::Id;

use super::{Account, Ledger, LedgerError, Payment, account};

/// The newest payments before `?2` in which `?1` stands on either side: each side is read from the
/// end of its own index, so that a page costs the same wherever it lies. The tilde sorts after every
/// identifier.
macro_rules! newest {
    ($from:literal, $to:literal) => {
        concat!(
            "SELECT id, from_account, to_account, amount, refunded FROM payments WHERE id IN (",
            newest!(@side $from),
            " UNION ",
            newest!(@side $to),
            ") ORDER BY id DESC LIMIT ?3"
        )
    };
    (@side $column:literal) => {
        concat!(
            "SELECT id FROM (SELECT id FROM payments WHERE ",
            $column,
            " = ?1 AND id < coalesce(?2, '~') ORDER BY id DESC LIMIT ?3)"
        )
    };
}

impl Ledger {
    /// Up to `limit` payments from or to the caller's accounts, or one of them, newest first:
    /// those that are older than `before`, if it is given.
    ///
    /// Going on from the last payment of each page meets every payment that was there throughout
    /// exactly once, whatever is paid meanwhile.
    ///
    /// # Errors
    ///
    /// [`LedgerError::AccountNotFound`] if `account` is not the caller's.
    pub async fn payments(
        &self,
        caller: &str,
        account: Option<Id<Account>>,
        before: Option<Id<Payment>>,
        limit: usize,
    ) -> Result<Vec<Payment>, LedgerError> {
        let mut connection = self.readers.acquire().await?;
        let rows = match account {
            None => sqlx::query_as(newest!("payer", "payee")).bind(caller),
            Some(id) => {
                account::owned(&mut connection, caller, id).await?;
                sqlx::query_as(newest!("from_account", "to_account")).bind(id.to_string())
            }
        };
        let rows = rows.bind(before.map(|id| id.to_string())).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(rows.fetch_all(&mut *connection).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;

    #[tokio::test]
    async fn a_page_is_read_from_the_ends_of_two_indexes() {
        let bench = Bench::new().await;
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(concat!("EXPLAIN QUERY PLAN ", newest!("payer", "payee")))
                .bind("alice")
                .bind(None::<String>)
                .bind(50)
                .fetch_all(&bench.ledger.readers)
                .await
                .expect("a plan");
        let steps: Vec<&str> = plan.iter().map(|(.., step)| step.as_str()).collect();
        for step in [
            "SEARCH payments USING PRIMARY KEY (id=?)",
            "SEARCH payments USING COVERING INDEX payments_by_payer (payer=? AND id<?)",
            "SEARCH payments USING COVERING INDEX payments_by_payee (payee=? AND id<?)",
        ] {
            assert!(steps.contains(&step), "{steps:#?}");
        }
    }
}
