//! The way of one call through a cluster: to the node that should have the key, and wherever nodes send
//! it from there.

use core::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, sleep_until};

use super::{Cluster, PAUSE};
use crate::store::redis::connection::Connection;
use crate::store::redis::hash_slot::HashSlot;
use crate::store::redis::link::{Failure, WhenDisconnected};
use crate::store::redis::url::Address;

/// The way of one call through a cluster.
pub(in crate::store::redis) struct ClusterCall<'a> {
    cluster: &'a Cluster,
    slot: HashSlot,
    deadline: Instant,
    when_disconnected: WhenDisconnected,
    next: Next,
    redirects: u32,
    /// Whether a connection was lost with the call on it: it may have been done, and is asked again once.
    was_lost: bool,
}

/// A node to ask.
pub(in crate::store::redis) struct Hop {
    connection: Connection,
    /// Whether it is about to take the slot over.
    is_taking_over: bool,
    address: Address,
}

/// Whom to ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// Whoever has the slot.
    Owner,
    /// A node that has it, as another one says.
    Moved(Address),
    /// A node that is taking it over.
    TakingOver(Address),
}

/// What an answer means for the way.
#[derive(Debug, PartialEq, Eq)]
enum NextStep {
    /// The call has ended, well or not. Whether the map should be learned anew.
    End { learn: bool },
    /// It is asked elsewhere at once.
    Go(Next),
    /// The slot is on its way: it is asked again in a moment.
    Soon,
    /// The node cannot serve. Another may have taken its place.
    Unavailable,
    /// The connection is lost, and the call may have been done.
    Lost,
}

/// After so many redirects in a row nodes do not agree, and get a moment to.
const MAX_REDIRECTS: u32 = 5;
/// The pause while a slot is on its way.
const MIGRATION_PAUSE: Duration = Duration::from_millis(5);
/// With less time than this left a call is not asked again: cut off by its deadline it would be in doubt, and as it
/// is, it is known that nothing was done.
const MIN_TIME_LEFT: Duration = Duration::from_millis(100);

impl Hop {
    pub(in crate::store::redis) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        if self.is_taking_over {
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
        patience: WhenDisconnected,
    ) -> Self {
        Self {
            cluster,
            slot,
            deadline,
            when_disconnected: patience,
            next: Next::Owner,
            redirects: 0,
            was_lost: false,
        }
    }

    /// The same, for a call that must not be done twice.
    pub(in crate::store::redis) const fn once(mut self) -> Self {
        self.was_lost = true;
        self
    }

    /// The node to ask next.
    pub(in crate::store::redis) async fn next(&mut self) -> Result<Hop, Failure> {
        let (address, is_taking_over) = match core::mem::replace(&mut self.next, Next::Owner) {
            Next::Owner => (self.owner().await?, false),
            Next::Moved(address) => (address, false),
            Next::TakingOver(address) => (address, true),
        };
        let wire = self.cluster.connection(&address);
        if !wire.is_up() {
            // Whoever waits for this node in vain finds out that way whether another has its place.
            drop(self.cluster.begin_to_learn());
        }
        Ok(Hop {
            connection: wire,
            is_taking_over,
            address,
        })
    }

    /// What comes of an answer: the end of the call, or `None` if it is to be asked at the next stop.
    pub(in crate::store::redis) async fn classify(
        &mut self,
        stop: &Hop,
        answer: Result<Value, Failure>,
    ) -> Option<Result<Value, Failure>> {
        let failure = match answer {
            Ok(value) => return Some(Ok(value)),
            Err(failure) => failure,
        };
        let goes_on = match judge(&failure, &stop.address) {
            NextStep::End { learn } => {
                drop(learn.then(|| self.cluster.begin_to_learn()));
                false
            }
            NextStep::Go(next) => self.redirect(next).await,
            NextStep::Soon => self.pause(MIGRATION_PAUSE).await && self.has_time(),
            NextStep::Unavailable => self.wait_for_another(&stop.address).await,
            NextStep::Lost if self.was_lost => false,
            NextStep::Lost => {
                (self.was_lost, self.when_disconnected) =
                    (true, WhenDisconnected::WaitUntilDeadline);
                self.wait_for_another(&stop.address).await
            }
        };
        (!goes_on).then(|| Err(self.end(failure)))
    }

    /// Whether the call was asked before, and may have been done then.
    pub(in crate::store::redis) const fn is_repeat(&self) -> bool {
        self.was_lost
    }

    fn end(&self, failure: Failure) -> Failure {
        if self.was_lost {
            failure.after_retry()
        } else {
            failure
        }
    }

    async fn owner(&mut self) -> Result<Address, Failure> {
        loop {
            if let Some(owner) = self.cluster.owner(self.slot) {
                return Ok(owner);
            }
            let why = match tokio::time::timeout_at(self.deadline, self.cluster.learn()).await {
                Ok(Ok(())) => String::from("no node of the cluster has the slot"),
                Ok(Err(why)) => why.to_string(),
                Err(_) => String::from("no map of the cluster in time"),
            };
            let gives_up = self.cluster.owner(self.slot).is_none()
                && self.when_disconnected == WhenDisconnected::Fail;
            if gives_up || !self.pause(PAUSE).await {
                return Err(self.end(Failure::NotSent(why)));
            }
        }
    }

    /// Follows a node's word, and learns the map meanwhile.
    async fn redirect(&mut self, next: Next) -> bool {
        if matches!(next, Next::Moved(_)) {
            drop(self.cluster.begin_to_learn());
        }
        self.next = next;
        self.redirects += 1;
        !self.redirects.is_multiple_of(MAX_REDIRECTS) || self.pause(PAUSE).await
    }

    /// Learns whether another node has the place of one that cannot serve. Who has no patience does not
    /// wait for one to take it.
    async fn wait_for_another(&mut self, out: &Address) -> bool {
        let learned = tokio::time::timeout_at(self.deadline, self.cluster.learn()).await;
        let replaced = self
            .cluster
            .owner(self.slot)
            .is_some_and(|owner| owner != *out);
        match learned {
            Err(_) => false,
            Ok(_) if replaced && self.redirects < MAX_REDIRECTS => {
                self.redirects += 1;
                true
            }
            Ok(_) => {
                self.when_disconnected == WhenDisconnected::WaitUntilDeadline
                    && self.pause(PAUSE).await
            }
        }
    }

    fn has_time(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) >= MIN_TIME_LEFT
    }

    /// `false` if the deadline comes first.
    async fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        sleep_until(until.min(self.deadline)).await;
        until < self.deadline
    }
}

/// What a failure means for the way of a call that met it at this node.
fn judge(failure: &Failure, node: &Address) -> NextStep {
    let error = match failure {
        Failure::Refused(error) => error,
        Failure::NotSent(_) => return NextStep::Unavailable,
        Failure::Lost(_) => return NextStep::Lost,
        Failure::Late(_) => return NextStep::End { learn: true },
    };
    let ErrorKind::Server(kind) = error.kind() else {
        return NextStep::End { learn: false };
    };
    match kind {
        ServerErrorKind::Moved => {
            sent(error, node).map_or(NextStep::Unavailable, |to| NextStep::Go(Next::Moved(to)))
        }
        ServerErrorKind::Ask => sent(error, node).map_or(NextStep::Unavailable, |to| {
            NextStep::Go(Next::TakingOver(to))
        }),
        ServerErrorKind::TryAgain => NextStep::Soon,
        ServerErrorKind::BusyLoading
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ReadOnly => NextStep::Unavailable,
        _ => NextStep::End { learn: false },
    }
}

/// Where a node sends a call.
fn sent(error: &RedisError, by: &Address) -> Option<Address> {
    error
        .redirect_node()
        .and_then(|(to, _)| Address::of_redirect(to, by))
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

    fn refused(said: &str) -> NextStep {
        let value = parse_redis_value(format!("-{said}\r\n").as_bytes()).expect("a reply");
        judge(
            &Failure::Refused(value.extract_error().expect_err("a refusal")),
            &at(1),
        )
    }

    #[test]
    fn calls_go_where_nodes_send_them() {
        assert_eq!(
            refused("MOVED 3999 node:2"),
            NextStep::Go(Next::Moved(at(2)))
        );
        assert_eq!(
            refused("MOVED 3999 :2"),
            NextStep::Go(Next::Moved(at(2))),
            "on the same host"
        );
        assert_eq!(
            refused("ASK 3999 node:2"),
            NextStep::Go(Next::TakingOver(at(2)))
        );
        assert_eq!(
            refused("TRYAGAIN Multiple keys request during rehashing of slot"),
            NextStep::Soon
        );
        assert_eq!(refused("MOVED nowhere"), NextStep::Unavailable);
    }

    #[test]
    fn a_node_that_cannot_serve_may_have_been_replaced() {
        for said in [
            "CLUSTERDOWN The cluster is down",
            "LOADING Redis is loading",
            "READONLY You can't write",
        ] {
            assert_eq!(refused(said), NextStep::Unavailable, "{said}");
        }
        assert_eq!(
            judge(&Failure::NotSent(String::new()), &at(1)),
            NextStep::Unavailable
        );
        assert_eq!(judge(&Failure::Lost(String::new()), &at(1)), NextStep::Lost);
        assert_eq!(
            judge(&Failure::Late(String::new()), &at(1)),
            NextStep::End { learn: true }
        );
    }

    #[test]
    fn what_another_node_would_say_as_well_is_the_end() {
        for said in [
            "NOSCRIPT No matching script",
            "OOM no memory",
            "NOPERM no",
            "MALFORMED key",
            "ERR no",
        ] {
            assert_eq!(refused(said), NextStep::End { learn: false }, "{said}");
        }
    }
}
