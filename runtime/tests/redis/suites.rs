use std::sync::Arc;

use aplomb::policies::idempotency::SealKeys;
use aplomb::store::SealedRecords;
use aplomb::testing::RedisServer;

mod limits {
    use super::*;

    aplomb::limit_store_suite!(async {
        let server = RedisServer::start();
        (Arc::new(crate::store_at(&server.url()).await), server)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(async {
        let server = RedisServer::start();
        (Arc::new(crate::store_at(&server.url()).await), server)
    });
}

mod a26_sealed_records {
    use super::*;

    aplomb::idempotency_store_suite!(async {
        let server = RedisServer::start();
        let keys = SealKeys::new("test", [7; 32]).expect("a valid id");
        (Arc::new(SealedRecords::new(crate::store_at(&server.url()).await, keys)), server)
    });
}
