use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use super::explain::explain;
use crate::secret::Secret;

/// The secret that a server keeps for all instances, as one of them knows it.
///
/// A server that lost it gets it back from whoever connects first; an instance with another one
/// would name all records otherwise, so it does not use the server.
#[derive(Clone)]
pub(super) struct Pledge {
    key: String,
    secret: Secret,
    /// Whether a server has another.
    broken: Arc<AtomicBool>,
}

/// What came of putting a secret where there may be one.
pub(super) enum Found {
    /// There was none: this one is kept.
    Nothing,
    /// The one that was there.
    Secret(Secret),
    /// Something that is no secret.
    Damage,
}

const FORMAT: u8 = 1;

impl Pledge {
    pub(super) fn new(key: String, secret: Secret) -> Self {
        Self { key, secret, broken: Arc::default() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the server that has the key was last met with another secret.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Puts the secret there unless there is one. **Atomic**.
    pub(super) fn command(&self) -> Cmd {
        let value = [&[FORMAT], self.secret.as_bytes()].concat();
        let mut set = redis::cmd("SET");
        set.arg(&self.key).arg(value).arg("NX").arg("GET");
        set
    }

    /// What the server answered.
    pub(super) fn read(answer: Value) -> Found {
        match answer {
            Value::Nil => Found::Nothing,
            Value::BulkString(value) if value.first() == Some(&FORMAT) => {
                Secret::new(&value[1..]).map_or(Found::Damage, Found::Secret)
            }
            _ => Found::Damage,
        }
    }

    /// Puts the secret back where the server has lost it. A node of a cluster that does not have its
    /// key cannot have lost it.
    pub(super) async fn keep(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let kept = match self.command().query_async(connection).await {
            Ok(answer) => self.compare(answer),
            Err(error) if is_elsewhere(&error) => return Ok(()),
            Err(error) => return Err(explain(&error)),
        };
        self.broken.store(kept.is_err(), Ordering::Relaxed);
        kept
    }

    fn compare(&self, answer: Value) -> Result<(), String> {
        match Self::read(answer) {
            Found::Nothing => {
                tracing::warn!(key = self.key, "the store had lost the secret, and has it again");
                Ok(())
            }
            Found::Secret(secret) if secret.as_bytes() == self.secret.as_bytes() => Ok(()),
            Found::Secret(_) => Err(format!(
                "the secret at `{}` is another than when this instance started; set APLOMB_SECRET, or start it again",
                self.key
            )),
            Found::Damage => Err(format!("the secret at `{}` is damaged, or of another version", self.key)),
        }
    }
}

/// Whether a node of a cluster refuses because it does not have, or not serve, the key.
fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, TryAgain};

    matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain | ClusterDown | MasterDown))
}

impl fmt::Debug for Pledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pledge").field("key", &self.key).finish_non_exhaustive()
    }
}
