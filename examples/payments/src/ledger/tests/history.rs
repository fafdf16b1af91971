use core::sync::atomic::{AtomicU32, Ordering};

use aplomb::Id;
use aplomb::policies::paginate::{PageRequest, Position};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{Account, LedgerError, NewestFirst, Payment};
use super::{ALICE, BOB, TestLedger};

/// Reads all payments in pages of `limit`. `between_pages` runs between two pages.
async fn read_all_pages(
    test: &TestLedger,
    caller: &str,
    account: Option<Id<Account>>,
    limit: u32,
    between_pages: impl AsyncFn(),
) -> Vec<Payment> {
    let mut seen: Vec<Payment> = Vec::new();
    loop {
        let position = seen
            .last()
            .map_or(Position::Start, |payment| Position::After(payment.id));
        let mut rows = read_page(test, caller, account, position, limit)
            .await
            .expect("a page");
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        seen.extend(rows);
        if !has_more {
            return seen;
        }
        between_pages().await;
    }
}

/// Reads the rows of a page, and one more row if there is another page.
async fn read_page(
    test: &TestLedger,
    caller: &str,
    account: Option<Id<Account>>,
    position: Position<Id<Payment>>,
    limit: u32,
) -> Result<Vec<Payment>, LedgerError> {
    let request = PageRequest::at(position.map(|id| NewestFirst { id }), limit);
    test.payments(caller, account, &request.bidirectional().keyset())
        .await
}

async fn no_change() {}

fn ids(payments: &[Payment]) -> Vec<Id<Payment>> {
    payments.iter().map(|payment| payment.id).collect()
}

#[tokio::test]
async fn payments_are_listed_newest_first_and_only_once() {
    let test = TestLedger::new().await;
    // Alice is payer and payee, so a query could list a payment twice.
    let (one, other) = (
        test.account(ALICE, 100).await,
        test.account(ALICE, 100).await,
    );
    let mut paid = Vec::new();
    for turn in 0..7 {
        let (from, to) = if turn % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        paid.push(test.pay(ALICE, from, to, 1).await.expect("paid"));
    }
    paid.reverse();
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(
            read_all_pages(&test, ALICE, None, limit, no_change).await,
            paid
        );
        assert_eq!(
            read_all_pages(&test, ALICE, Some(one), limit, no_change).await,
            paid
        );
    }
}

#[tokio::test]
async fn a_caller_sees_only_payments_from_or_to_its_accounts() {
    let test = TestLedger::new().await;
    let alice = test.account(ALICE, 100).await;
    let (bob, carol) = (
        test.account(BOB, 100).await,
        test.account("carol", 100).await,
    );
    let outgoing = test.pay(ALICE, alice, bob, 1).await.expect("paid").id;
    let between_others = test.pay(BOB, bob, carol, 1).await.expect("paid").id;
    let incoming = test.pay("carol", carol, alice, 1).await.expect("paid").id;
    assert_eq!(
        ids(&read_all_pages(&test, ALICE, None, 10, no_change).await),
        [incoming, outgoing]
    );
    assert_eq!(
        ids(&read_all_pages(&test, BOB, None, 10, no_change).await),
        [between_others, outgoing]
    );
    assert_eq!(
        ids(&read_all_pages(&test, "dora", None, 10, no_change).await),
        []
    );
}

#[tokio::test]
async fn only_the_owner_can_filter_by_an_account() {
    let test = TestLedger::new().await;
    let (one, other) = (
        test.account(ALICE, 100).await,
        test.account(ALICE, 100).await,
    );
    let bob = test.account(BOB, 0).await;
    let first = test.pay(ALICE, one, bob, 1).await.expect("paid").id;
    let second = test.pay(ALICE, other, bob, 1).await.expect("paid").id;
    assert_eq!(
        ids(&read_all_pages(&test, ALICE, Some(one), 10, no_change).await),
        [first]
    );
    assert_eq!(
        ids(&read_all_pages(&test, ALICE, Some(other), 10, no_change).await),
        [second]
    );
    for missing in [bob, Id::new()] {
        let error = read_page(&test, ALICE, Some(missing), Position::Start, 10)
            .await
            .expect_err("not hers");
        assert!(matches!(error, LedgerError::AccountNotFound(id) if id == missing));
    }
}

#[tokio::test]
async fn pages_read_backward_have_the_same_payments() {
    let test = TestLedger::new().await;
    let (one, other) = (
        test.account(ALICE, 100).await,
        test.account(ALICE, 100).await,
    );
    let mut paid = Vec::new();
    for _ in 0..7 {
        paid.push(test.pay(ALICE, one, other, 1).await.expect("paid").id);
    }
    let read_backward = async |position| {
        ids(&read_page(&test, ALICE, None, position, 2)
            .await
            .expect("a page"))
    };
    assert_eq!(
        read_backward(Position::End).await,
        paid[..3],
        "nearest first"
    );
    assert_eq!(read_backward(Position::Before(paid[2])).await, paid[3..6]);
    assert_eq!(read_backward(Position::Before(paid[6])).await, []);
}

#[test]
fn d07_rows_present_throughout_appear_exactly_once() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let test = runtime.block_on(TestLedger::new());
    // All cases use one database. Each has its own payee, whose list has only the payments of the case.
    let cases = AtomicU32::new(0);
    let check = |(present, limit, inserted): (usize, u32, usize)| {
        let payee = format!("payee {}", cases.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(check_pages(&test, &payee, present, limit, inserted))
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let checked = runner.run(&(0_usize..14, 1_u32..6, 1_usize..4), check);
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Reads pages while payments are inserted between two pages.
async fn check_pages(
    test: &TestLedger,
    payee: &str,
    present: usize,
    limit: u32,
    inserted: usize,
) -> Result<(), TestCaseError> {
    let (from, to) = (
        test.account(ALICE, 1_000).await,
        test.account(payee, 0).await,
    );
    let mut expected = Vec::new();
    for _ in 0..present {
        expected.push(test.pay(ALICE, from, to, 1).await.expect("paid").id);
    }
    expected.reverse();
    let insert = async || {
        for _ in 0..inserted {
            test.pay(ALICE, from, to, 1).await.expect("paid");
        }
    };
    let seen = ids(&read_all_pages(test, payee, None, limit, insert).await);
    prop_assert_eq!(seen, expected);
    Ok(())
}
