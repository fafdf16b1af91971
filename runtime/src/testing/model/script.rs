//! The steps of a script, which is a test scenario for a store of idempotency records.

use core::fmt;
use core::time::Duration;

use crate::policies::idempotency::OnCrash;

/// A step of a script. A client is identified by a number, and has one run at a time.
///
/// There is no step for a pause of a client. The client continues with its old token after steps of
/// other clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A client begins a run with a new token.
    Begin {
        /// The client.
        client: usize,
        /// The request of the run.
        request: Request,
        /// The fate of the call and of its reply.
        network: Network,
    },
    /// A client's begin arrives again with the same token, because it is repeated or late.
    RepeatBegin {
        /// The client.
        client: usize,
    },
    /// A client renews its lease.
    Heartbeat {
        /// The client.
        client: usize,
    },
    /// A running client completes with a response.
    Complete {
        /// The client.
        client: usize,
    },
    /// A running client completes with an unknown outcome.
    Fail {
        /// The client.
        client: usize,
    },
    /// A client aborts its run. Only a client that is running, or that has lost the reply to its
    /// begin, can abort.
    Abort {
        /// The client.
        client: usize,
    },
    /// A client's run took too long and is marked unknown.
    MarkUnknown {
        /// The client.
        client: usize,
    },
    /// An operator resolves the record of a key as done or as absent.
    Resolve {
        /// The key.
        key: u8,
        /// `true` for done, `false` for absent.
        done: bool,
    },
    /// Time passes.
    Elapse(Span),
    /// A client is killed. Its later steps are skipped.
    Kill {
        /// The client.
        client: usize,
    },
    /// The store loses all its data.
    LoseData,
}

/// A request with an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The key.
    pub key: u8,
    /// The content of the request. Requests with the same key and another body are a mismatch.
    pub body: u8,
    /// The outcome of a retry after the lease of the run has lapsed.
    pub on_crash: OnCrash,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            key: 0,
            body: 0,
            on_crash: OnCrash::Unknown,
        }
    }
}

/// The fate of the call of a [`Step::Begin`], and of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The call and its reply arrive.
    Fine,
    /// The call arrives, and its reply is lost.
    LosesReply,
    /// The call arrives late, with a [`Step::RepeatBegin`], or it never arrives. Its reply is lost.
    Delays,
}

/// A length of time that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 30 s: less than half a lease.
    Short,
    /// 75 s: more than a lease.
    Lapse,
    /// 300 s: a little less than half a time to live.
    Half,
    /// 690 s: more than a lease and a time to live.
    Expiry,
}

impl Span {
    pub(super) const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Short => 30,
            Self::Lapse => 75,
            Self::Half => 300,
            Self::Expiry => 690,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin {
                client,
                request:
                    Request {
                        key,
                        body,
                        on_crash,
                    },
                network,
            } => {
                write!(
                    f,
                    "client {client} begins key {key}, body {body}, {on_crash:?} on crash, {network:?}"
                )
            }
            Self::RepeatBegin { client } => {
                write!(f, "client {client} begins again with the same token")
            }
            Self::Heartbeat { client } => write!(f, "client {client} renews its lease"),
            Self::Complete { client } => write!(f, "client {client} completes with a response"),
            Self::Fail { client } => write!(f, "client {client} completes with an unknown outcome"),
            Self::Abort { client } => write!(f, "client {client} aborts"),
            Self::MarkUnknown { client } => write!(f, "client {client} is marked unknown"),
            Self::Resolve { key, done: true } => write!(f, "key {key} is resolved as done"),
            Self::Resolve { key, done: false } => write!(f, "key {key} is resolved as absent"),
            Self::Elapse(span) => write!(f, "{} s pass", span.duration().as_secs()),
            Self::Kill { client } => write!(f, "client {client} is killed"),
            Self::LoseData => f.write_str("the store loses all its data"),
        }
    }
}
