//! What can happen.

use core::fmt;
use core::time::Duration;

use crate::policies::idempotency::OnCrash;

/// One thing that happens. A client is any small number; it has one run at a time.
///
/// That a client is paused needs no step: it goes on with its old token after the steps of others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A client begins a run, with a token of its own.
    Begin {
        /// The client.
        client: usize,
        /// What it wants to run.
        request: Request,
        /// Whether it learns what its begin found.
        network: Network,
    },
    /// A client's begin arrives again, with the same token: it is repeated, or was late.
    Again {
        /// The client.
        client: usize,
    },
    /// A client renews its lease.
    Heartbeat {
        /// The client.
        client: usize,
    },
    /// A client that runs completes with a response.
    Complete {
        /// The client.
        client: usize,
    },
    /// A client that runs completes without knowing its outcome.
    Fail {
        /// The client.
        client: usize,
    },
    /// A client that runs, or has not learned whether it may, aborts.
    Abort {
        /// The client.
        client: usize,
    },
    /// A client's run has taken too long.
    MarkUnknown {
        /// The client.
        client: usize,
    },
    /// An operator decides a key: done, or absent.
    Resolve {
        /// The key.
        key: u8,
        /// Whether it is done.
        done: bool,
    },
    /// Time passes.
    Elapse(Span),
    /// A client is gone.
    Kill {
        /// The client.
        client: usize,
    },
    /// The store loses all it has.
    Lose,
}

/// What a client wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The key.
    pub key: u8,
    /// Which of the requests under this key.
    pub body: u8,
    /// What a retry meets when the client is gone.
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

/// What the network does to a begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It arrives, and so does its reply.
    Fine,
    /// It arrives; the client does not learn what it found.
    LosesReply,
    /// It is late: it arrives with [`Step::Again`], if at all, and the client does not learn what it
    /// found.
    Delays,
}

/// How much time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Less than half a lease.
    Short,
    /// More than a lease.
    Lapse,
    /// A little less than half a time to live.
    Half,
    /// More than a lease and a time to live.
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
            Self::Again { client } => write!(f, "client {client}: its begin arrives again"),
            Self::Heartbeat { client } => write!(f, "client {client} renews"),
            Self::Complete { client } => write!(f, "client {client} completes"),
            Self::Fail { client } => write!(f, "client {client} completes: unknown"),
            Self::Abort { client } => write!(f, "client {client} aborts"),
            Self::MarkUnknown { client } => write!(f, "client {client} is written off"),
            Self::Resolve { key, done: true } => write!(f, "key {key} is resolved: done"),
            Self::Resolve { key, done: false } => write!(f, "key {key} is resolved: absent"),
            Self::Elapse(span) => write!(f, "{} s pass", span.duration().as_secs()),
            Self::Kill { client } => write!(f, "client {client} is killed"),
            Self::Lose => f.write_str("all is lost"),
        }
    }
}
