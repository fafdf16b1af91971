use super::super::{LedgerError, NewPayout};
use super::{ALICE, BOB, TestLedger, amount};

const IBAN: &str = "DE89370400440532013000";

fn payout(minor_units: i64) -> NewPayout {
    NewPayout {
        iban: IBAN.parse().expect("an IBAN"),
        amount: amount(minor_units),
    }
}

#[tokio::test]
async fn a_payout_debits_the_account() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 100).await;
    let paid_out = test.pay_out(ALICE, id, payout(30), "r").await;
    let paid_out = paid_out.expect("paid out");
    assert_eq!((paid_out.account, &*paid_out.reference), (id, "r"));
    assert_eq!(paid_out.iban.as_str(), IBAN);
    assert_eq!(test.balance(ALICE, id).await, 70);
}

#[tokio::test]
async fn a_repeated_reference_debits_nothing() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 100).await;
    for _ in 0..2 {
        let _ = test.pay_out(ALICE, id, payout(30), "r").await;
    }
    let error = test.pay_out(ALICE, id, payout(30), "r").await;
    assert!(matches!(error, Err(LedgerError::AlreadyPaidOut(reference)) if reference == "r"));
    assert_eq!(test.balance(ALICE, id).await, 70);
}

#[tokio::test]
async fn only_the_owner_can_pay_out_and_only_the_balance() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 100).await;
    let error = test.pay_out(BOB, id, payout(1), "r").await;
    assert!(matches!(error, Err(LedgerError::AccountNotFound(named)) if named == id));
    let error = test.pay_out(ALICE, id, payout(101), "r").await;
    assert!(matches!(
        error,
        Err(LedgerError::InsufficientFunds { available: 100 })
    ));
    assert_eq!(test.balance(ALICE, id).await, 100);
}

#[tokio::test]
async fn statements_of_an_account_are_numbered() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 100).await;
    for number in 1..=2 {
        let issue = test.write(move |tx| Box::pin(super::super::issue_statement(tx, ALICE, id)));
        let statement = issue.await.expect("issued");
        assert_eq!((statement.number, statement.balance), (number, 100));
    }
    let third = test.write(move |tx| Box::pin(super::super::issue_statement(tx, ALICE, id)));
    let third = third.await.expect("issued");
    assert_eq!(
        third.to_string(),
        format!("To alice: statement 3 of {id}: 100 EUR")
    );
}
