//! The store on a cluster.

use core::time::Duration;
use std::sync::Arc;

use aplomb::store::RedisStore;
use aplomb::testing::RedisCluster;

use crate::{namespace, store_of};

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisCluster::start() => |cluster, case| async {
        (Arc::new(store_of(&cluster.url(), &namespace(case)).await), cluster)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisCluster::start() => |cluster, case| async {
        (Arc::new(store_of(&cluster.url(), &namespace(case)).await), cluster)
    });
}
