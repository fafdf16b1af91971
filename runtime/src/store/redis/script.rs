use core::time::Duration;
use std::borrow::Cow;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, ToRedisArgs, Value};
use tokio::time::Instant;

use super::admit;
use super::cluster::{Cluster, ClusterCall};
use super::connection::Connection;
use super::describe_error::describe_error;
use super::link::{Failure, NodeLink, WhenDisconnected};
use crate::store::StoreError;

/// A Lua script that the server runs as one atomic step.
#[derive(Debug)]
pub(super) struct Script {
    source: Cow<'static, str>,
    /// The SHA-1 hash by which the server finds the cached script.
    hash: String,
}

/// The scripts of all operations.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) acquire: Script,
    /// `acquire`, followed by `begin` if the limits admit.
    pub(super) admit: Script,
    pub(super) give_back: Script,
    pub(super) begin: Script,
    /// The part of `begin` that only reads, for a server without memory for writes.
    pub(super) begin_when_full: Script,
    pub(super) complete: Script,
    pub(super) abort: Script,
    pub(super) heartbeat: Script,
    pub(super) mark_unknown: Script,
    pub(super) find: Script,
    pub(super) resolve: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            acquire: Script::new(concat!(
                "#!lua\nlocal keys_before, arguments_before = 0, 0\n",
                include_str!("acquire.lua"),
                "if #ARGV > 2 * #KEYS then seen[#seen + 1] = now end\nreturn seen"
            )),
            give_back: Script::new(include_str!("give_back.lua")),
            admit: Script::new(admit::SCRIPT),
            begin: Script::new(concat!(
                "#!lua\n",
                include_str!("find_record.lua"),
                include_str!("begin.lua")
            )),
            begin_when_full: Script::new(concat!(
                "#!lua flags=no-writes,allow-oom\n",
                include_str!("find_record.lua"),
                "return 5"
            )),
            complete: Script::new(include_str!("complete.lua")),
            abort: Script::new(include_str!("abort.lua")),
            heartbeat: Script::new(include_str!("heartbeat.lua")),
            mark_unknown: Script::new(include_str!("mark_unknown.lua")),
            find: Script::new(include_str!("find.lua")),
            resolve: Script::new(include_str!("resolve.lua")),
        }
    }

    /// Returns the scripts for tests. Their limits read the time from these two keys.
    pub(super) fn timed_by(seconds: &str, micros: &str) -> Self {
        let time = format!("redis.call('MGET', '{seconds}', '{micros}')");
        let scripts = Self::new();
        let acquire = scripts.acquire.source.replace("redis.call('TIME')", &time);
        Self {
            acquire: Script::new(acquire),
            ..scripts
        }
    }
}

/// The arguments of a script.
pub(super) struct ScriptCall<'a, A> {
    pub(super) keys: &'a [String],
    pub(super) arguments: &'a [A],
    pub(super) when_disconnected: WhenDisconnected,
}

/// The reply of a script.
pub(super) struct ScriptReply {
    pub(super) value: Value,
    /// `true` if the script was sent twice, so that it may have run twice.
    pub(super) repeated: bool,
}

impl Script {
    fn new(source: impl Into<Cow<'static, str>>) -> Self {
        let source = source.into();
        Self {
            hash: redis::Script::new(&source).get_hash().to_owned(),
            source,
        }
    }

    /// Runs the script.
    ///
    /// If the connection is lost, the script is sent again over the next connection. All scripts
    /// allow this. In the worst case, a limit counts a request twice.
    pub(super) async fn run<A: ToRedisArgs>(
        &self,
        link: &NodeLink,
        call: ScriptCall<'_, A>,
        timeout: Duration,
    ) -> Result<Value, StoreError> {
        self.run_with_reply(link, call, timeout)
            .await
            .map(|reply| reply.value)
    }

    /// Runs the script like [`run`](Self::run), and also returns whether the script was sent twice.
    pub(super) async fn run_with_reply<A: ToRedisArgs>(
        &self,
        link: &NodeLink,
        call: ScriptCall<'_, A>,
        timeout: Duration,
    ) -> Result<ScriptReply, StoreError> {
        let deadline = Instant::now() + timeout;
        let reply = match link {
            NodeLink::Single(connection) => self.run_on(connection, &call, deadline).await,
            NodeLink::Cluster(cluster) => {
                self.run_in_cluster(cluster_call(cluster, &call, deadline), &call, deadline)
                    .await
            }
        };
        reply.map_err(|failure| store_error(failure, call.keys))
    }

    /// Runs the script on a node of a cluster. If the connection is lost, the script is not sent
    /// again.
    pub(super) async fn run_once<A: ToRedisArgs>(
        &self,
        cluster: &Cluster,
        call: ScriptCall<'_, A>,
        timeout: Duration,
    ) -> Result<Value, StoreError> {
        let deadline = Instant::now() + timeout;
        let reply = self
            .run_in_cluster(
                cluster_call(cluster, &call, deadline).once(),
                &call,
                deadline,
            )
            .await;
        reply
            .map(|reply| reply.value)
            .map_err(|failure| store_error(failure, call.keys))
    }

    async fn run_on<A: ToRedisArgs>(
        &self,
        connection: &Connection,
        call: &ScriptCall<'_, A>,
        deadline: Instant,
    ) -> Result<ScriptReply, Failure> {
        let send = |command: Cmd, when_disconnected| async move {
            connection.call(&command, deadline, when_disconnected).await
        };
        match self
            .run_cached(call, |command| send(command, call.when_disconnected))
            .await
        {
            // The server may have run the script in the first attempt. The second attempt waits for
            // a connection, so that the operation has a definite result if possible.
            Err(Failure::Lost(_)) => {
                let second = self
                    .run_cached(call, |command| {
                        send(command, WhenDisconnected::WaitUntilDeadline)
                    })
                    .await;
                second
                    .map(|value| ScriptReply {
                        value,
                        repeated: true,
                    })
                    .map_err(Failure::after_retry)
            }
            first => first.map(|value| ScriptReply {
                value,
                repeated: false,
            }),
        }
    }

    async fn run_in_cluster<A: ToRedisArgs>(
        &self,
        mut cluster_call: ClusterCall<'_>,
        call: &ScriptCall<'_, A>,
        deadline: Instant,
    ) -> Result<ScriptReply, Failure> {
        loop {
            let hop = &cluster_call.next_hop().await?;
            let send = |command: Cmd| async move { hop.call(&command, deadline).await };
            let result = self.run_cached(call, send).await;
            if let Some(end) = cluster_call.finish_hop(hop, result).await {
                return end.map(|value| ScriptReply {
                    value,
                    repeated: cluster_call.is_repeat(),
                });
            }
        }
    }

    /// Runs the script by its hash. The server may not have the script, because the server was
    /// restarted or its scripts were flushed. In this case nothing has run, and the script is sent
    /// in full.
    async fn run_cached<A: ToRedisArgs, C: Future<Output = Result<Value, Failure>>>(
        &self,
        call: &ScriptCall<'_, A>,
        send: impl Fn(Cmd) -> C,
    ) -> Result<Value, Failure> {
        match send(command("EVALSHA", &self.hash, call)).await {
            Err(Failure::Refused(error)) if has_kind(&error, ServerErrorKind::NoScript) => {
                send(command("EVAL", &self.source, call)).await
            }
            result => result,
        }
    }
}

fn cluster_call<'a, A>(
    cluster: &'a Cluster,
    call: &ScriptCall<'_, A>,
    deadline: Instant,
) -> ClusterCall<'a> {
    cluster.start_call(
        call.keys.first().map_or("", String::as_str),
        deadline,
        call.when_disconnected,
    )
}

fn command<A: ToRedisArgs>(name: &str, script: &str, call: &ScriptCall<'_, A>) -> Cmd {
    // Eight arguments and 768 bytes are enough for most commands, so that the buffers do not grow.
    let mut command = Cmd::with_capacity(8, 768);
    command
        .arg(name)
        .arg(script)
        .arg(call.keys.len())
        .arg(call.keys)
        .arg(call.arguments);
    command
}

fn has_kind(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}

/// Converts the failure of a script into the error of the operation.
fn store_error(failure: Failure, keys: &[String]) -> StoreError {
    let error = match failure {
        Failure::NotSent(reason) => return StoreError::NotExecuted(reason),
        Failure::Lost(reason) | Failure::TimedOut(reason) => {
            return StoreError::Unavailable(reason);
        }
        Failure::Refused(error) => error,
    };
    let key = || keys.first().cloned().unwrap_or_default();
    match error.code() {
        Some("MALFORMED") => malformed(error.detail().map_or_else(key, str::to_owned), DAMAGED),
        Some("WRONGTYPE") => malformed(key(), "the key has another type"),
        Some("OOM") => StoreError::Full,
        Some(code) if NOTHING_DONE.contains(&code) => {
            StoreError::NotExecuted(describe_error(&error))
        }
        // Any other error can come from the middle of the script, or from a proxy in front of the
        // server.
        _ => StoreError::Failed(describe_error(&error)),
    }
}

const DAMAGED: &str = "the value is damaged, or another version wrote it";

/// The error codes of a server that has not executed any part of the script.
const NOTHING_DONE: [&str; 13] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "READONLY",
    "TRYAGAIN",
];

/// Creates the error for a reply that no script of this version returns.
pub(super) fn unexpected(reply: &Value) -> StoreError {
    StoreError::Failed(format!("an unexpected reply: {reply:?}"))
}

/// Creates the error for a stored value that this version cannot read.
pub(super) fn malformed(key: String, why: &str) -> StoreError {
    StoreError::Malformed {
        key,
        why: why.to_owned(),
    }
}
