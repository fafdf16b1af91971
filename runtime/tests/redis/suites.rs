use std::sync::Arc;

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
