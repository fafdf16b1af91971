//! The suites that every store must pass, on Redis. The cases of a suite share a server and have one namespace each,
//! because starting a server for each case would take longer than running most cases.

use std::sync::Arc;

use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::store::{EncryptedRecords, RedisStore};
use aplomb::testing::RedisServer;

use crate::{namespace, store_in_namespace};

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_in_namespace(&server.url(), &namespace(case)).await), server)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_in_namespace(&server.url(), &namespace(case)).await), server)
    });
}

mod admission {
    use aplomb::testing::admission::ByAdmission;

    use super::*;

    aplomb::admission_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_in_namespace(&server.url(), &namespace(case)).await), server)
    });

    mod a26_encrypted {
        use super::*;

        aplomb::admission_store_suite!(every_case: RedisServer::start() => |server, case| async {
            (Arc::new(encrypted(&server.url(), &namespace(case)).await), server)
        });
    }

    mod records {
        use super::*;

        aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
            (Arc::new(ByAdmission::new(store_in_namespace(&server.url(), &namespace(case)).await)), server)
        });
    }
}

async fn encrypted(url: &str, namespace: &str) -> EncryptedRecords<RedisStore> {
    let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
    EncryptedRecords::new(store_in_namespace(url, namespace).await, keys)
}

mod a26_encrypted_records {
    use aplomb::policies::idempotency::{BeginOutcome, CompleteOutcome, IdempotencyStore};

    use super::*;
    use crate::connection::{begin, completion, lease};

    aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(encrypted(&server.url(), &namespace(case)).await), server)
    });

    #[tokio::test]
    async fn a26_leases_of_encrypted_records_are_renewed_over_a_separate_connection() {
        let server = RedisServer::start();
        let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
        let store = crate::store_at(&server.url()).await;
        let encrypted = EncryptedRecords::new(store.clone(), keys);
        let own = encrypted.for_heartbeat().expect("a separate connection");
        let run = begin();
        assert_eq!(encrypted.begin(&run).await, Ok(BeginOutcome::Started));
        assert_eq!(
            own.heartbeat(&[lease(&run)], run.lease).await,
            Ok(vec![true])
        );
        assert_eq!(
            own.complete(&completion(&run)).await,
            Ok(CompleteOutcome::Written)
        );
        let Ok(BeginOutcome::Done(stored)) = store.begin(&begin()).await else {
            panic!("no stored response")
        };
        assert_eq!(stored.encrypted_with(), Some("test"));
    }
}
