use core::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

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
    pub(super) const fn new(key: String, secret: Secret) -> Self {
        Self { key, secret }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
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

    /// Puts the secret back where the server has lost it.
    pub(super) async fn keep(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let answer = self.command().query_async(connection).await.map_err(|error| explain(&error))?;
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

impl fmt::Debug for Pledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pledge").field("key", &self.key).finish_non_exhaustive()
    }
}
