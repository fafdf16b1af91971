//! Runs the tests of this module again with the records in a database. The tests of one database
//! run in one process, which this module starts.

use std::process::Command;

use aplomb::testing::PostgresServer;

use crate::records::VARIABLE;

#[test]
fn the_tests_of_idempotency_pass_with_records_in_sqlite() {
    run_with("sqlite");
}

#[test]
fn the_tests_of_idempotency_pass_with_records_in_postgres() {
    let server = PostgresServer::start();
    run_with(&server.url());
}

fn run_with(records: &str) {
    let program = std::env::current_exe().expect("the path of the tests");
    let output = Command::new(program)
        .arg("idempotency::")
        // The quota is a property of the store in memory.
        .args(["--skip", "on_databases::", "--skip", "quota::"])
        .env(VARIABLE, records)
        .output()
        .expect("the tests can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(!stdout.contains("running 0 tests"), "{stdout}");
}
