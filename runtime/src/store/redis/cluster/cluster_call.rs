//! The hops of one call in a cluster. The first hop goes to the node that should own the slot. The
//! next hops follow the redirects of nodes.

use core::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, sleep_until};

use super::{Cluster, RETRY_PAUSE};
use crate::store::redis::connection::Connection;
use crate::store::redis::hash_slot::HashSlot;
use crate::store::redis::link::{Failure, WhenDisconnected};
use crate::store::redis::url::Address;

/// One call in a cluster, with all of its hops.
pub(in crate::store::redis) struct ClusterCall<'a> {
    cluster: &'a Cluster,
    slot: HashSlot,
    deadline: Instant,
    when_disconnected: WhenDisconnected,
    next_node: NextNode,
    redirects: u32,
    /// `true` if the next lost connection ends the call: the call was already repeated once, or it
    /// must not be repeated.
    was_lost: bool,
}

/// One attempt of a call at one node.
pub(in crate::store::redis) struct Hop {
    connection: Connection,
    /// `true` if the node is importing the slot. It then accepts the call only after `ASKING`.
    is_importing: bool,
    address: Address,
}

/// The node of the next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NextNode {
    /// The owner of the slot in the slot map.
    Owner,
    /// The owner of the slot according to another node (`MOVED`).
    Moved(Address),
    /// The node that is importing the slot (`ASK`).
    Importing(Address),
}

/// The step that follows a failed hop.
#[derive(Debug, PartialEq, Eq)]
enum NextStep {
    /// The call has failed. The slot map is refreshed if `refresh_map` is set.
    Fail { refresh_map: bool },
    /// The call goes to another node immediately.
    Redirect(NextNode),
    /// The slot is migrating. The call is repeated after a short pause.
    RetrySoon,
    /// The node cannot execute the call. Another node may have replaced it.
    Unavailable,
    /// The connection is lost, and the call may have been done.
    Lost,
}

/// After this number of redirects a call pauses, because the nodes disagree and need a moment to
/// agree.
const MAX_REDIRECTS: u32 = 5;
/// The pause between two attempts of a call on a migrating slot.
const MIGRATION_PAUSE: Duration = Duration::from_millis(5);
/// The minimum time before the deadline at which a call is still repeated. A repeated call that
/// misses its deadline has an unknown effect. A call that ends instead is known to have no effect.
const MIN_TIME_LEFT: Duration = Duration::from_millis(100);

impl Hop {
    /// Sends a command to the node of the hop.
    pub(in crate::store::redis) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        if self.is_importing {
            self.connection.call_asking(command, deadline).await
        } else {
            self.connection
                .call(command, deadline, WhenDisconnected::Fail)
                .await
        }
    }
}

impl<'a> ClusterCall<'a> {
    pub(super) const fn new(
        cluster: &'a Cluster,
        slot: HashSlot,
        deadline: Instant,
        when_disconnected: WhenDisconnected,
    ) -> Self {
        Self {
            cluster,
            slot,
            deadline,
            when_disconnected,
            next_node: NextNode::Owner,
            redirects: 0,
            was_lost: false,
        }
    }

    /// Makes the call fail if a connection is lost, instead of repeating it. Use it for a call that
    /// must not be done twice.
    pub(in crate::store::redis) const fn once(mut self) -> Self {
        self.was_lost = true;
        self
    }

    /// Returns the next hop of the call.
    pub(in crate::store::redis) async fn next_hop(&mut self) -> Result<Hop, Failure> {
        let (address, is_importing) = match core::mem::replace(&mut self.next_node, NextNode::Owner)
        {
            NextNode::Owner => (self.wait_for_owner().await?, false),
            NextNode::Moved(address) => (address, false),
            NextNode::Importing(address) => (address, true),
        };
        let connection = self.cluster.connection(&address);
        if !connection.is_up() {
            // The call waits for a connection to this node. Meanwhile a refresh in the background
            // finds out if another node has replaced it.
            drop(self.cluster.begin_refresh());
        }
        Ok(Hop {
            connection,
            is_importing,
            address,
        })
    }

    /// Handles the result of a hop. Returns the result of the call, or `None` if another hop
    /// follows.
    pub(in crate::store::redis) async fn finish_hop(
        &mut self,
        hop: &Hop,
        result: Result<Value, Failure>,
    ) -> Option<Result<Value, Failure>> {
        let failure = match result {
            Ok(value) => return Some(Ok(value)),
            Err(failure) => failure,
        };
        let goes_on = match next_step(&failure, &hop.address) {
            NextStep::Fail { refresh_map } => {
                drop(refresh_map.then(|| self.cluster.begin_refresh()));
                false
            }
            NextStep::Redirect(next) => self.redirect(next).await,
            NextStep::RetrySoon => self.pause(MIGRATION_PAUSE).await && self.has_time_left(),
            NextStep::Unavailable => self.wait_for_replacement(&hop.address).await,
            NextStep::Lost if self.was_lost => false,
            // The node may have executed the call. Only a repeated call can find this out, so the
            // repeated call waits for a connection until the deadline.
            NextStep::Lost => {
                (self.was_lost, self.when_disconnected) =
                    (true, WhenDisconnected::WaitUntilDeadline);
                self.wait_for_replacement(&hop.address).await
            }
        };
        (!goes_on).then(|| Err(self.final_failure(failure)))
    }

    /// Returns `true` if the call was repeated after a lost connection, and may have been done
    /// twice.
    pub(in crate::store::redis) const fn is_repeat(&self) -> bool {
        self.was_lost
    }

    fn final_failure(&self, failure: Failure) -> Failure {
        if self.was_lost {
            failure.after_retry()
        } else {
            failure
        }
    }

    /// Returns the owner of the slot. If the slot map has no owner for the slot, refreshes the map.
    async fn wait_for_owner(&mut self) -> Result<Address, Failure> {
        loop {
            if let Some(owner) = self.cluster.owner(self.slot) {
                return Ok(owner);
            }
            let reason = match tokio::time::timeout_at(self.deadline, self.cluster.refresh()).await
            {
                Ok(Ok(())) => String::from("no node of the cluster owns the slot"),
                Ok(Err(reason)) => reason.to_string(),
                Err(_) => String::from("the cluster did not send its slot map before the deadline"),
            };
            let gives_up = self.cluster.owner(self.slot).is_none()
                && self.when_disconnected == WhenDisconnected::Fail;
            if gives_up || !self.pause(RETRY_PAUSE).await {
                return Err(self.final_failure(Failure::NotSent(reason)));
            }
        }
    }

    /// Follows a redirect. Returns `false` if the deadline has passed.
    async fn redirect(&mut self, next: NextNode) -> bool {
        // `MOVED` means that the map is outdated; `ASK` concerns only this call.
        if matches!(next, NextNode::Moved(_)) {
            drop(self.cluster.begin_refresh());
        }
        self.next_node = next;
        self.redirects += 1;
        !self.redirects.is_multiple_of(MAX_REDIRECTS) || self.pause(RETRY_PAUSE).await
    }

    /// Refreshes the slot map and returns `true` if the call should be repeated.
    ///
    /// A call with [`WhenDisconnected::Fail`] is repeated only if another node already owns the
    /// slot. Other calls wait for a new owner until the deadline.
    async fn wait_for_replacement(&mut self, failed: &Address) -> bool {
        let refreshed = tokio::time::timeout_at(self.deadline, self.cluster.refresh()).await;
        let replaced = self
            .cluster
            .owner(self.slot)
            .is_some_and(|owner| owner != *failed);
        match refreshed {
            Err(_) => false,
            Ok(_) if replaced && self.redirects < MAX_REDIRECTS => {
                self.redirects += 1;
                true
            }
            Ok(_) => {
                self.when_disconnected == WhenDisconnected::WaitUntilDeadline
                    && self.pause(RETRY_PAUSE).await
            }
        }
    }

    fn has_time_left(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) >= MIN_TIME_LEFT
    }

    /// Waits for `pause`, but not longer than until the deadline. Returns `false` if the deadline
    /// has come.
    async fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        sleep_until(until.min(self.deadline)).await;
        until < self.deadline
    }
}

/// Decides the step that follows a failure at this node.
fn next_step(failure: &Failure, node: &Address) -> NextStep {
    let error = match failure {
        Failure::Refused(error) => error,
        Failure::NotSent(_) => return NextStep::Unavailable,
        Failure::Lost(_) => return NextStep::Lost,
        // A repeated call would also miss the deadline. The map is refreshed for the next calls.
        Failure::TimedOut(_) => return NextStep::Fail { refresh_map: true },
    };
    let ErrorKind::Server(kind) = error.kind() else {
        return NextStep::Fail { refresh_map: false };
    };
    match kind {
        ServerErrorKind::Moved => redirect_target(error, node)
            .map_or(NextStep::Unavailable, |to| {
                NextStep::Redirect(NextNode::Moved(to))
            }),
        ServerErrorKind::Ask => redirect_target(error, node).map_or(NextStep::Unavailable, |to| {
            NextStep::Redirect(NextNode::Importing(to))
        }),
        ServerErrorKind::TryAgain => NextStep::RetrySoon,
        ServerErrorKind::BusyLoading
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ReadOnly => NextStep::Unavailable,
        _ => NextStep::Fail { refresh_map: false },
    }
}

/// Returns the address in a redirect.
fn redirect_target(error: &RedisError, node: &Address) -> Option<Address> {
    error
        .redirect_node()
        .and_then(|(to, _)| Address::from_redirect(to, node))
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn at(port: u16) -> Address {
        Address {
            host: String::from("node"),
            port,
        }
    }

    fn step_after(error: &str) -> NextStep {
        let value = parse_redis_value(format!("-{error}\r\n").as_bytes()).expect("a reply");
        next_step(
            &Failure::Refused(value.extract_error().expect_err("a refusal")),
            &at(1),
        )
    }

    #[test]
    fn a_call_follows_redirects() {
        assert_eq!(
            step_after("MOVED 3999 node:2"),
            NextStep::Redirect(NextNode::Moved(at(2)))
        );
        assert_eq!(
            step_after("MOVED 3999 :2"),
            NextStep::Redirect(NextNode::Moved(at(2))),
            "on the same host"
        );
        assert_eq!(
            step_after("ASK 3999 node:2"),
            NextStep::Redirect(NextNode::Importing(at(2)))
        );
        assert_eq!(
            step_after("TRYAGAIN Multiple keys request during rehashing of slot"),
            NextStep::RetrySoon
        );
        assert_eq!(step_after("MOVED nowhere"), NextStep::Unavailable);
    }

    #[test]
    fn each_kind_of_failure_has_its_next_step() {
        for error in [
            "CLUSTERDOWN The cluster is down",
            "LOADING Redis is loading",
            "READONLY You can't write",
        ] {
            assert_eq!(step_after(error), NextStep::Unavailable, "{error}");
        }
        assert_eq!(
            next_step(&Failure::NotSent(String::new()), &at(1)),
            NextStep::Unavailable
        );
        assert_eq!(
            next_step(&Failure::Lost(String::new()), &at(1)),
            NextStep::Lost
        );
        assert_eq!(
            next_step(&Failure::TimedOut(String::new()), &at(1)),
            NextStep::Fail { refresh_map: true }
        );
    }

    #[test]
    fn an_error_that_any_node_would_return_ends_the_call() {
        for error in [
            "NOSCRIPT No matching script",
            "OOM no memory",
            "NOPERM no",
            "MALFORMED key",
            "ERR no",
        ] {
            assert_eq!(
                step_after(error),
                NextStep::Fail { refresh_map: false },
                "{error}"
            );
        }
    }
}
