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

/// A script that the server runs as one atomic step.
#[derive(Debug)]
pub(super) struct Script {
    source: Cow<'static, str>,
    /// The SHA-1 by which the server remembers it.
    hash: String,
}

/// Every operation's script.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) acquire: Script,
    /// `acquire` and, where that admits, `begin`.
    pub(super) admit: Script,
    pub(super) give_back: Script,
    pub(super) begin: Script,
    /// What `begin` would find.
    pub(super) look: Script,
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
            look: Script::new(concat!(
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

    /// The same, but limits look at these two keys for the time.
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

/// What a script runs with.
pub(super) struct ScriptCall<'a, A> {
    pub(super) keys: &'a [String],
    pub(super) arguments: &'a [A],
    pub(super) when_disconnected: WhenDisconnected,
}

/// What a script gives.
pub(super) struct ScriptReply {
    pub(super) answer: Value,
    /// Whether it was run again, and the first try may have done what was asked, too.
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

    /// Runs the script. Where the connection is lost it is run again over another: every script may
    /// be, at worst a limit counts a request twice.
    pub(super) async fn run<A: ToRedisArgs>(
        &self,
        link: &NodeLink,
        run: ScriptCall<'_, A>,
        within: Duration,
    ) -> Result<Value, StoreError> {
        self.run_with_reply(link, run, within)
            .await
            .map(|told| told.answer)
    }

    /// The same, telling whether it was run again.
    pub(super) async fn run_with_reply<A: ToRedisArgs>(
        &self,
        link: &NodeLink,
        run: ScriptCall<'_, A>,
        within: Duration,
    ) -> Result<ScriptReply, StoreError> {
        let deadline = Instant::now() + within;
        let told = match link {
            NodeLink::One(wire) => self.run_on(wire, &run, deadline).await,
            NodeLink::Cluster(cluster) => {
                self.run_in_cluster(cluster_call(cluster, &run, deadline), &run, deadline)
                    .await
            }
        };
        told.map_err(|failure| failed(failure, run.keys))
    }

    /// Runs the script on a node of a cluster, and where the connection is lost not again.
    pub(super) async fn run_once<A: ToRedisArgs>(
        &self,
        cluster: &Cluster,
        run: ScriptCall<'_, A>,
        within: Duration,
    ) -> Result<Value, StoreError> {
        let deadline = Instant::now() + within;
        let told = self
            .run_in_cluster(cluster_call(cluster, &run, deadline).once(), &run, deadline)
            .await;
        told.map(|told| told.answer)
            .map_err(|failure| failed(failure, run.keys))
    }

    async fn run_on<A: ToRedisArgs>(
        &self,
        wire: &Connection,
        run: &ScriptCall<'_, A>,
        deadline: Instant,
    ) -> Result<ScriptReply, Failure> {
        let call =
            |command: Cmd, patience| async move { wire.call(&command, deadline, patience).await };
        match self
            .try_run(run, |command| call(command, run.when_disconnected))
            .await
        {
            Err(Failure::Lost(_)) => {
                let again = self
                    .try_run(run, |command| {
                        call(command, WhenDisconnected::WaitUntilDeadline)
                    })
                    .await;
                again
                    .map(|answer| ScriptReply {
                        answer,
                        repeated: true,
                    })
                    .map_err(Failure::after_retry)
            }
            answer => answer.map(|answer| ScriptReply {
                answer,
                repeated: false,
            }),
        }
    }

    async fn run_in_cluster<A: ToRedisArgs>(
        &self,
        mut tour: ClusterCall<'_>,
        run: &ScriptCall<'_, A>,
        deadline: Instant,
    ) -> Result<ScriptReply, Failure> {
        loop {
            let stop = &tour.next().await?;
            let call = |command: Cmd| async move { stop.call(&command, deadline).await };
            let answer = self.try_run(run, call).await;
            if let Some(end) = tour.classify(stop, answer).await {
                return end.map(|answer| ScriptReply {
                    answer,
                    repeated: tour.is_repeat(),
                });
            }
        }
    }

    /// A server that does not know the script (it was restarted, or its scripts were flushed) has
    /// not run it, and gets its source.
    async fn try_run<A: ToRedisArgs, C: Future<Output = Result<Value, Failure>>>(
        &self,
        run: &ScriptCall<'_, A>,
        call: impl Fn(Cmd) -> C,
    ) -> Result<Value, Failure> {
        match call(command("EVALSHA", &self.hash, run)).await {
            Err(Failure::Refused(error)) if is(&error, ServerErrorKind::NoScript) => {
                call(command("EVAL", &self.source, run)).await
            }
            answer => answer,
        }
    }
}

fn cluster_call<'a, A>(
    cluster: &'a Cluster,
    run: &ScriptCall<'_, A>,
    deadline: Instant,
) -> ClusterCall<'a> {
    cluster.tour(
        run.keys.first().map_or("", String::as_str),
        deadline,
        run.when_disconnected,
    )
}

fn command<A: ToRedisArgs>(name: &str, script: &str, run: &ScriptCall<'_, A>) -> Cmd {
    // As much as most commands take, so that it need not grow.
    let mut command = Cmd::with_capacity(8, 768);
    command
        .arg(name)
        .arg(script)
        .arg(run.keys.len())
        .arg(run.keys)
        .arg(run.arguments);
    command
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}

/// What a failure means for the operation.
fn failed(failure: Failure, keys: &[String]) -> StoreError {
    let error = match failure {
        Failure::NotSent(why) => return StoreError::Unreachable(why),
        Failure::Lost(why) | Failure::Late(why) => return StoreError::Unavailable(why),
        Failure::Refused(error) => error,
    };
    let key = || keys.first().cloned().unwrap_or_default();
    match error.code() {
        Some("MALFORMED") => malformed(error.detail().map_or_else(key, str::to_owned), DAMAGED),
        Some("WRONGTYPE") => malformed(key(), "the key is of another type"),
        Some("OOM") => StoreError::Full,
        Some(code) if REFUSALS.contains(&code) => StoreError::Unreachable(describe_error(&error)),
        // It could have come up in the middle of the script, or from something before the server.
        _ => StoreError::Failed(describe_error(&error)),
    }
}

const DAMAGED: &str = "the value is damaged, or of another version";

/// What a server says that does not even begin to do what it is asked.
const REFUSALS: [&str; 13] = [
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

/// An answer that no script of this version gives.
pub(super) fn unexpected(answer: &Value) -> StoreError {
    StoreError::Failed(format!("an unexpected answer: {answer:?}"))
}

/// A value that this version does not read.
pub(super) fn malformed(key: String, why: &str) -> StoreError {
    StoreError::Malformed {
        key,
        why: why.to_owned(),
    }
}
