//! The store on Redis: the suites that every store passes, and what only a server elsewhere can do
//! to it.

mod connection;
mod damage;
mod start;
mod suites;

use aplomb::Secret;
use aplomb::store::{RedisConfig, RedisStore};

async fn store_at(url: &str) -> RedisStore {
    let config = RedisConfig::new(url).expect("a valid URL");
    RedisStore::connect(&config, "test", &secret()).await.expect("a good server")
}

fn secret() -> Secret {
    Secret::new([7; 32]).expect("long enough")
}
