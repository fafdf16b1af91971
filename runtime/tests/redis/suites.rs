//! The suites that every store passes. The cases of a suite share a server, each in a namespace of its
//! own: a server for each would cost more than most cases do.

use std::sync::Arc;

use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::store::{EncryptedRecords, RedisStore};
use aplomb::testing::RedisServer;

use crate::{namespace, store_of};

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_of(&server.url(), &namespace(case)).await), server)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_of(&server.url(), &namespace(case)).await), server)
    });
}

mod admission {
    use aplomb::testing::admission::ByAdmission;

    use super::*;

    aplomb::admission_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(store_of(&server.url(), &namespace(case)).await), server)
    });

    mod a26_sealed {
        use super::*;

        aplomb::admission_store_suite!(every_case: RedisServer::start() => |server, case| async {
            (Arc::new(sealed(&server.url(), &namespace(case)).await), server)
        });
    }

    mod records {
        use super::*;

        aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
            (Arc::new(ByAdmission::new(store_of(&server.url(), &namespace(case)).await)), server)
        });
    }
}

async fn sealed(url: &str, namespace: &str) -> EncryptedRecords<RedisStore> {
    let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
    EncryptedRecords::new(store_of(url, namespace).await, keys)
}

mod a26_sealed_records {
    use aplomb::policies::idempotency::{BeginOutcome, CompleteOutcome, IdempotencyStore};

    use super::*;
    use crate::connection::{begin, done, lease};

    aplomb::idempotency_store_suite!(every_case: RedisServer::start() => |server, case| async {
        (Arc::new(sealed(&server.url(), &namespace(case)).await), server)
    });

    #[tokio::test]
    async fn a26_leases_of_encrypted_records_are_renewed_over_a_separate_connection() {
        let server = RedisServer::start();
        let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
        let store = crate::store_at(&server.url()).await;
        let sealed = EncryptedRecords::new(store.clone(), keys);
        let own = sealed.for_heartbeat().expect("a connection of its own");
        let run = begin();
        assert_eq!(sealed.begin(&run).await, Ok(BeginOutcome::Started));
        assert_eq!(
            own.heartbeat(&[lease(&run)], run.lease).await,
            Ok(vec![true])
        );
        assert_eq!(
            own.complete(&done(&run)).await,
            Ok(CompleteOutcome::Written)
        );
        let Ok(BeginOutcome::Done(kept)) = store.begin(&begin()).await else {
            panic!("no answer")
        };
        assert_eq!(kept.encrypted_with(), Some("test"));
    }
}
