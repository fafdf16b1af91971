//! The suites that every store must pass. The cases of a suite share a server and have one database
//! each, because starting a server for each case would take longer than running most cases.

use std::sync::Arc;

use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::store::{EncryptedRecords, PostgresRecords};
use aplomb::testing::{PostgresClock, PostgresServer};

use crate::new_store;

/// Returns a store in a new database, and its clock, which lives as long as the test.
async fn store(
    server: &PostgresServer,
    case: &str,
) -> (Arc<PostgresRecords>, &'static PostgresClock) {
    let (records, clock) = new_store(server, case).await;
    (records, Box::leak(Box::new(clock)))
}

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: PostgresServer::start() => |server, case| async {
        let (records, clock) = store(server, case).await;
        (Arc::new(records.limits("test")), clock)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: PostgresServer::start() => |server, case| async {
        store(server, case).await
    });
}

mod a26_encrypted_records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: PostgresServer::start() => |server, case| async {
        let (records, clock) = store(server, case).await;
        let records = PostgresRecords::clone(&records);
        let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
        (Arc::new(EncryptedRecords::new(records, keys)), clock)
    });
}
