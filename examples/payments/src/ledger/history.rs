use aplomb::policies::paginate::{Keyset, KeysetSql, Placeholders};
use aplomb::{CursorKey, Id};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Pool};

use super::super::Db;
use super::{Account, LedgerError, Payment, account};

/// The order of the list. Identifiers increase with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, CursorKey)]
pub struct NewestFirst {
    /// The identifier of a payment.
    #[cursor(desc, unique)]
    pub id: Id<Payment>,
}

/// Returns a page of the payments from or to the caller's accounts. With `account`, returns only
/// payments from or to this account of the caller. The payment that is nearest to the position of
/// the page comes first.
///
/// A reader of all pages gets every payment that existed from the first page to the last one exactly
/// once, even if payments are added meanwhile.
///
/// # Errors
///
/// [`LedgerError::AccountNotFound`] if `account` does not belong to the caller.
pub async fn payments(
    pool: &Pool<Db>,
    caller: &str,
    account: Option<Id<Account>>,
    page: &Keyset,
) -> Result<Vec<Payment>, LedgerError> {
    let page = page.sql(Placeholders::DollarFrom(2));
    let mut transaction = pool.begin().await?;
    let rows = match account {
        None => sqlx::query_as(AssertSqlSafe(select("payer", "payee", &page))).bind(caller),
        Some(id) => {
            account::select_owned(&mut *transaction, caller, id).await?;
            sqlx::query_as(AssertSqlSafe(select("from_account", "to_account", &page))).bind(id)
        }
    };
    let rows = page.binds.into_iter().fold(rows, QueryAs::bind);
    Ok(rows.fetch_all(&mut *transaction).await?)
}

/// Returns the query of a page of the payments in which `from` or `to` is `$1`. Each of these
/// columns has an index, so a page costs the same at any depth. A condition with OR would read and
/// sort all payments of the caller.
pub(crate) fn select(from: &str, to: &str, page: &KeysetSql) -> String {
    let side = |column| {
        format!("SELECT id FROM (SELECT id FROM payments WHERE {column} = $1 AND {page}) AS side")
    };
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
