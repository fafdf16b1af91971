mod accounts;
mod concurrency;
mod disk_full;
mod files;
mod history;
mod payments;
mod refunds;
mod values;

use aplomb::Id;
use aplomb::policies::paginate::PageRequest;
use tempfile::TempDir;

use super::{
    Account, Amount, Currency, Ledger, LedgerError, NewPayment, NewestFirst, Owner, Payment,
};

pub(super) const ALICE: &str = "alice";
pub(super) const BOB: &str = "bob";

/// A ledger in a temporary directory, for one test.
pub(super) struct TestLedger {
    pub(super) ledger: Ledger,
    pub(super) directory: TempDir,
}

impl TestLedger {
    pub(super) async fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let ledger = Ledger::open(&directory.path().join("ledger.sqlite"))
            .await
            .expect("a ledger");
        Self { ledger, directory }
    }

    /// Opens an account in EUR with this balance, in minor units.
    pub(super) async fn account(&self, caller: &str, balance: i64) -> Id<Account> {
        self.account_in(caller, "EUR", balance).await
    }

    pub(super) async fn account_in(
        &self,
        caller: &str,
        currency: &str,
        balance: i64,
    ) -> Id<Account> {
        let currency: Currency = currency.parse().expect("a currency");
        let account = self
            .ledger
            .open_account(caller, owner(caller), currency)
            .await
            .expect("opened");
        if balance > 0 {
            self.ledger
                .deposit(caller, account.id, amount(balance))
                .await
                .expect("deposited");
        }
        account.id
    }

    pub(super) async fn balance(&self, caller: &str, id: Id<Account>) -> i64 {
        self.ledger
            .account(caller, id)
            .await
            .expect("an account")
            .balance
    }

    pub(super) async fn pay(
        &self,
        caller: &str,
        from: Id<Account>,
        to: Id<Account>,
        minor_units: i64,
    ) -> Result<Payment, LedgerError> {
        self.ledger
            .pay(
                caller,
                NewPayment {
                    from,
                    to,
                    amount: amount(minor_units),
                },
            )
            .await
    }

    /// Returns the newest 100 payments of a caller.
    pub(super) async fn newest(&self, caller: &str) -> Vec<Payment> {
        let page = PageRequest::<NewestFirst>::new(None, 100)
            .bidirectional()
            .keyset();
        self.ledger
            .payments(caller, None, &page)
            .await
            .expect("a list")
    }

    /// Returns the sum of the balances and the sum of the deposits of all accounts in a currency.
    pub(super) async fn balances_and_deposits(&self, currency: &str) -> (i64, i64) {
        sqlx::query_as(
            "SELECT (SELECT coalesce(sum(balance), 0) FROM accounts WHERE currency = ?1),
                    (SELECT coalesce(sum(amount), 0) FROM deposits JOIN accounts ON id = account
                     WHERE currency = ?1)",
        )
        .bind(currency)
        .fetch_one(&self.ledger.readers)
        .await
        .expect("sums")
    }
}

pub(super) fn amount(minor_units: i64) -> Amount {
    Amount::try_from(minor_units).expect("positive")
}

pub(super) fn owner(name: &str) -> Owner {
    name.parse().expect("a name")
}
