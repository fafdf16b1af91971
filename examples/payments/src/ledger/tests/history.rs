use aplomb::Id;
use aplomb::policies::paginate::{PageRequest, Position};
use proptest::prelude::*;

use super::super::{Account, LedgerError, NewestFirst, Payment};
use super::{ALICE, BOB, Bench};

/// Every payment, read in pages of `limit`; `meanwhile` runs between two pages.
async fn pages(
    bench: &Bench,
    caller: &str,
    account: Option<Id<Account>>,
    limit: u32,
    meanwhile: impl AsyncFn(),
) -> Vec<Payment> {
    let mut seen: Vec<Payment> = Vec::new();
    loop {
        let position = seen
            .last()
            .map_or(Position::Start, |payment| Position::After(payment.id));
        let mut page = page(bench, caller, account, position, limit)
            .await
            .expect("a page");
        let more = page.len() > limit as usize;
        page.truncate(limit as usize);
        seen.extend(page);
        if !more {
            return seen;
        }
        meanwhile().await;
    }
}

/// The rows of a page and, if there is one, the next.
async fn page(
    bench: &Bench,
    caller: &str,
    account: Option<Id<Account>>,
    position: Position<Id<Payment>>,
    limit: u32,
) -> Result<Vec<Payment>, LedgerError> {
    let request = PageRequest::at(position.map(|id| NewestFirst { id }), limit);
    bench
        .ledger
        .payments(caller, account, &request.bidirectional().keyset())
        .await
}

async fn nothing() {}

fn ids(payments: &[Payment]) -> Vec<Id<Payment>> {
    payments.iter().map(|payment| payment.id).collect()
}

#[tokio::test]
async fn the_newest_comes_first_and_each_once() {
    let bench = Bench::new().await;
    // Between two accounts of one caller: she is payer and payee.
    let (one, other) = (
        bench.account(ALICE, 100).await,
        bench.account(ALICE, 100).await,
    );
    let mut paid = Vec::new();
    for turn in 0..7 {
        let (from, to) = if turn % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        paid.push(bench.pay(ALICE, from, to, 1).await.expect("paid"));
    }
    paid.reverse();
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(pages(&bench, ALICE, None, limit, nothing).await, paid);
        assert_eq!(pages(&bench, ALICE, Some(one), limit, nothing).await, paid);
    }
}

#[tokio::test]
async fn a_caller_sees_what_went_from_and_to_her_accounts_only() {
    let bench = Bench::new().await;
    let alice = bench.account(ALICE, 100).await;
    let (bob, carol) = (
        bench.account(BOB, 100).await,
        bench.account("carol", 100).await,
    );
    let out = bench.pay(ALICE, alice, bob, 1).await.expect("paid").id;
    let between_others = bench.pay(BOB, bob, carol, 1).await.expect("paid").id;
    let back = bench.pay("carol", carol, alice, 1).await.expect("paid").id;
    assert_eq!(
        ids(&pages(&bench, ALICE, None, 10, nothing).await),
        [back, out]
    );
    assert_eq!(
        ids(&pages(&bench, BOB, None, 10, nothing).await),
        [between_others, out]
    );
    assert_eq!(ids(&pages(&bench, "dora", None, 10, nothing).await), []);
}

#[tokio::test]
async fn one_account_can_be_asked_for_by_its_owner() {
    let bench = Bench::new().await;
    let (one, other) = (
        bench.account(ALICE, 100).await,
        bench.account(ALICE, 100).await,
    );
    let bob = bench.account(BOB, 0).await;
    let first = bench.pay(ALICE, one, bob, 1).await.expect("paid").id;
    let second = bench.pay(ALICE, other, bob, 1).await.expect("paid").id;
    assert_eq!(
        ids(&pages(&bench, ALICE, Some(one), 10, nothing).await),
        [first]
    );
    assert_eq!(
        ids(&pages(&bench, ALICE, Some(other), 10, nothing).await),
        [second]
    );
    for missing in [bob, Id::new()] {
        let error = page(&bench, ALICE, Some(missing), Position::Start, 10)
            .await
            .expect_err("not hers");
        assert!(matches!(error, LedgerError::AccountNotFound(id) if id == missing));
    }
}

#[tokio::test]
async fn pages_lead_back_over_the_same_payments() {
    let bench = Bench::new().await;
    let (one, other) = (
        bench.account(ALICE, 100).await,
        bench.account(ALICE, 100).await,
    );
    let mut paid = Vec::new();
    for _ in 0..7 {
        paid.push(bench.pay(ALICE, one, other, 1).await.expect("paid").id);
    }
    let back = async |position| {
        ids(&page(&bench, ALICE, None, position, 2)
            .await
            .expect("a page"))
    };
    assert_eq!(back(Position::End).await, paid[..3], "nearest first");
    assert_eq!(back(Position::Before(paid[2])).await, paid[3..6]);
    assert_eq!(back(Position::Before(paid[6])).await, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn d07_rows_present_throughout_appear_exactly_once(present in 0_usize..14, limit in 1_u32..6, inserted in 1_usize..4) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new().await;
            let (from, to) = (bench.account(ALICE, 1_000).await, bench.account(BOB, 0).await);
            let mut expected = Vec::new();
            for _ in 0..present {
                expected.push(bench.pay(ALICE, from, to, 1).await.expect("paid").id);
            }
            expected.reverse();
            let insert = async || {
                for _ in 0..inserted {
                    bench.pay(ALICE, from, to, 1).await.expect("paid");
                }
            };
            let seen = ids(&pages(&bench, BOB, None, limit, insert).await);
            prop_assert_eq!(seen, expected);
            Ok(())
        })?;
    }
}
