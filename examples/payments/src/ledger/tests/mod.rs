//! The tests of both databases. `TestDatabase` is the database of the module that includes the
//! ledger.

mod concurrency;
mod history;
mod payouts;
mod refunds;
mod tables;

use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aplomb::Id;
use aplomb::policies::paginate::Keyset;
use aplomb::prelude::*;
use aplomb::testing::{Client, TestServer};
use axum::http::{Method, StatusCode};
use tokio::sync::oneshot;

use super::super::Db;
use super::super::tests::TestDatabase;
use super::{
    Account, Amount, Currency, LedgerError, NewPayment, NewPayout, Owner, Payment, Payout,
};

pub(crate) const ALICE: &str = "alice";
pub(crate) const BOB: &str = "bob";

/// A ledger in a new database, for one test.
///
/// Only the pipeline commits a `Tx`, so the functions that write run in the handler of a service.
pub(crate) struct TestLedger {
    pub(crate) database: TestDatabase,
    client: Client,
    writes: Writes,
    next_number: AtomicU64,
    _server: TestServer,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A function that writes, and returns `true` to commit.
type Write = Box<dyn for<'a> FnOnce(&'a mut Tx<Db>) -> BoxFuture<'a, bool> + Send>;

/// The functions that wait for their request.
type Writes = Arc<Mutex<HashMap<u64, Write>>>;

/// Runs a function of the test, and commits if it succeeds.
#[endpoint(put = "/writes/{number}")]
async fn run_write(
    State(writes): State<Writes>,
    mut tx: Tx<Db>,
    Path(number): Path<u64>,
) -> StatusCode {
    let write = writes.lock().expect("no panic").remove(&number);
    if write.expect("one request for each function")(&mut tx).await {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::CONFLICT
    }
}

impl TestLedger {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::new().await;
        super::create_tables(&database.pool)
            .await
            .expect("a ledger");
        let writes = Writes::default();
        let api = Api::new("test", routes![run_write])
            .store(database.store())
            .without_auth();
        let server = TestServer::start(api, Arc::clone(&writes)).await;
        let server = server.expect("a valid API");
        Self {
            database,
            client: server.client(),
            writes,
            next_number: AtomicU64::new(0),
            _server: server,
        }
    }

    /// Runs a function in a transaction, which is committed if the function succeeds.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl for<'a> FnOnce(&'a mut Tx<Db>) -> BoxFuture<'a, Result<T, LedgerError>>
        + Send
        + 'static,
    ) -> Result<T, LedgerError> {
        let (sender, receiver) = oneshot::channel();
        let write: Write = Box::new(move |tx| {
            Box::pin(async move {
                let result = write(tx).await;
                let is_ok = result.is_ok();
                // The test may have stopped waiting.
                let _ = sender.send(result);
                is_ok
            })
        });
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.writes.lock().expect("no panic").insert(number, write);
        let request = self
            .client
            .request(Method::PUT, &format!("/writes/{number}"));
        let response = request.send().await;
        let result = receiver.await.expect("the function has ended");
        if result.is_ok() {
            assert_eq!(response.status, 204, "not committed: {}", response.text());
        }
        result
    }

    /// Opens an account in EUR with this balance, in minor units.
    pub(crate) async fn account(&self, caller: &str, balance: i64) -> Id<Account> {
        self.account_in(caller, "EUR", balance).await
    }

    pub(crate) async fn account_in(
        &self,
        caller: &str,
        currency: &str,
        balance: i64,
    ) -> Id<Account> {
        let currency: Currency = currency.parse().expect("a currency");
        let account = self.open_account(caller, owner(caller), currency).await;
        let id = account.expect("opened").id;
        if balance > 0 {
            self.deposit(caller, id, balance).await.expect("deposited");
        }
        id
    }

    pub(crate) async fn open_account(
        &self,
        caller: &str,
        owner: Owner,
        currency: Currency,
    ) -> Result<Account, LedgerError> {
        let caller = caller.to_owned();
        self.write(move |tx| {
            Box::pin(async move { super::open_account(tx, &caller, owner, currency).await })
        })
        .await
    }

    pub(crate) async fn deposit(
        &self,
        caller: &str,
        id: Id<Account>,
        minor_units: i64,
    ) -> Result<Account, LedgerError> {
        let caller = caller.to_owned();
        self.write(move |tx| {
            Box::pin(async move { super::deposit(tx, &caller, id, amount(minor_units)).await })
        })
        .await
    }

    pub(crate) async fn pay(
        &self,
        caller: &str,
        from: Id<Account>,
        to: Id<Account>,
        minor_units: i64,
    ) -> Result<Payment, LedgerError> {
        let caller = caller.to_owned();
        let new = NewPayment {
            from,
            to,
            amount: amount(minor_units),
        };
        self.write(move |tx| Box::pin(async move { super::pay(tx, &caller, new).await }))
            .await
    }

    pub(crate) async fn refund(
        &self,
        caller: &str,
        id: Id<Payment>,
    ) -> Result<Payment, LedgerError> {
        let caller = caller.to_owned();
        self.write(move |tx| Box::pin(async move { super::refund(tx, &caller, id).await }))
            .await
    }

    pub(crate) async fn pay_out(
        &self,
        caller: &str,
        id: Id<Account>,
        new: NewPayout,
        reference: &str,
    ) -> Result<Payout, LedgerError> {
        let (caller, reference) = (caller.to_owned(), reference.to_owned());
        self.write(move |tx| {
            Box::pin(async move { super::pay_out(tx, &caller, id, new, reference).await })
        })
        .await
    }

    pub(crate) async fn read_account(
        &self,
        caller: &str,
        id: Id<Account>,
    ) -> Result<Account, LedgerError> {
        super::account(&self.database.pool, caller, id).await
    }

    pub(crate) async fn balance(&self, caller: &str, id: Id<Account>) -> i64 {
        let account = self.read_account(caller, id).await;
        account.expect("an account").balance
    }

    pub(crate) async fn payment(
        &self,
        caller: &str,
        id: Id<Payment>,
    ) -> Result<Payment, LedgerError> {
        super::payment(&self.database.pool, caller, id).await
    }

    pub(crate) async fn payments(
        &self,
        caller: &str,
        account: Option<Id<Account>>,
        page: &Keyset,
    ) -> Result<Vec<Payment>, LedgerError> {
        super::payments(&self.database.pool, caller, account, page).await
    }

    /// Returns the sum of the balances and the sum of the deposits of all accounts in a currency.
    pub(crate) async fn balances_and_deposits(&self, currency: &str) -> (i64, i64) {
        sqlx::query_as(
            "SELECT (SELECT CAST(coalesce(sum(balance), 0) AS BIGINT) FROM accounts
                     WHERE currency = $1),
                    (SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM deposits
                     JOIN accounts ON id = account WHERE currency = $1)",
        )
        .bind(currency)
        .fetch_one(&self.database.pool)
        .await
        .expect("sums")
    }
}

pub(crate) fn amount(minor_units: i64) -> Amount {
    Amount::try_from(minor_units).expect("positive")
}

pub(crate) fn owner(name: &str) -> Owner {
    name.parse().expect("a name")
}
