//! The clients: what each may do, given what it has learned.

use core::time::Duration;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::call::{Answer, Call};
use super::script::{Network, Request, Step};
use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, Fingerprint, Outcome, RecordKey, StoredResponse, Token,
};

/// All clients of a script.
#[derive(Debug, Default)]
pub(super) struct Clients {
    runs: HashMap<usize, Run>,
    killed: HashSet<usize>,
    /// Tokens and answers are numbered, so that no two are the same.
    last: u32,
}

#[derive(Debug)]
struct Run {
    begin: Begin,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client does not know what its begin found, and never will: it can only abort.
    InDoubt,
    /// It waits for what its begin finds, or was told that it may not run.
    Waits,
    /// It was told that it may run.
    Runs,
    /// It has aborted without a marker, as its begin was answered: that begin comes no more.
    Over,
}

impl Clients {
    /// What is asked of the store in this step; `None` if its client cannot do it, or nothing arrives.
    pub(super) fn call(&mut self, step: &Step) -> Option<Call> {
        match *step {
            Step::Begin {
                client,
                request,
                network,
            } => self.begin(client, request, network),
            Step::Again { client } => self.run(client).and_then(Run::again),
            Step::Heartbeat { client } => self
                .run(client)
                .map(|run| Call::Heartbeat(run.begin.lease())),
            Step::Complete { client } => {
                let answer = self.answer();
                self.run(client)?.complete(Outcome::Response(answer))
            }
            Step::Fail { client } => self.run(client)?.complete(Outcome::Unknown),
            Step::Abort { client } => self.run(client).and_then(Run::abort),
            Step::MarkUnknown { client } => self
                .run(client)
                .map(|run| Call::MarkUnknown(run.begin.lease())),
            Step::Resolve { key, done } => {
                Some(Call::Resolve(record_key(key), done.then(|| self.answer())))
            }
            Step::Kill { client } => self.kill(client),
            Step::Elapse(_) | Step::Lose => None,
        }
    }

    /// Tells whoever waits for it what a begin found.
    pub(super) fn tell(&mut self, call: &Call, answer: &Answer) {
        let (Call::Begin(begin), Answer::BeginOutcome(BeginOutcome::Started)) = (call, answer)
        else {
            return;
        };
        let asked = self
            .runs
            .values_mut()
            .find(|run| run.begin.token == begin.token);
        if let Some(run) = asked.filter(|run| run.phase == Phase::Waits) {
            run.phase = Phase::Runs;
        }
    }

    fn begin(&mut self, client: usize, request: Request, network: Network) -> Option<Call> {
        if self.killed.contains(&client) {
            return None;
        }
        let begin = request.begin(Token::from_u128(self.next().into()));
        let phase = if network == Network::Fine {
            Phase::Waits
        } else {
            Phase::InDoubt
        };
        self.runs.insert(
            client,
            Run {
                begin: begin.clone(),
                phase,
            },
        );
        (network != Network::Delays).then_some(Call::Begin(begin))
    }

    fn kill(&mut self, client: usize) -> Option<Call> {
        self.killed.insert(client);
        self.runs.remove(&client);
        None
    }

    fn run(&mut self, client: usize) -> Option<&mut Run> {
        self.runs.get_mut(&client)
    }

    fn answer(&mut self) -> StoredResponse {
        let (head, ()) = http::Response::new(()).into_parts();
        StoredResponse::new(&head, Some(Bytes::from(format!("answer {}", self.next()))))
    }

    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }
}

impl Run {
    fn again(&mut self) -> Option<Call> {
        (self.phase != Phase::Over).then(|| Call::Begin(self.begin.clone()))
    }

    fn complete(&mut self, outcome: Outcome) -> Option<Call> {
        let Begin {
            fingerprint, ttl, ..
        } = self.begin;
        let complete = Complete::new(self.begin.lease(), fingerprint, outcome, ttl);
        (self.phase == Phase::Runs).then_some(Call::Complete(complete))
    }

    /// With a marker unless the begin was answered.
    fn abort(&mut self) -> Option<Call> {
        let abort = |marker| Some(Call::Abort(self.begin.lease(), marker));
        match self.phase {
            Phase::InDoubt => abort(LEASE),
            Phase::Waits => None,
            Phase::Runs | Phase::Over => {
                let call = abort(Duration::ZERO);
                self.phase = Phase::Over;
                call
            }
        }
    }
}

impl Request {
    fn begin(self, token: Token) -> Begin {
        let fingerprint = Fingerprint::new(1, [self.body; 32]);
        Begin::new(
            record_key(self.key),
            fingerprint,
            token,
            LEASE,
            self.on_crash,
            TTL,
        )
    }
}

fn record_key(key: u8) -> RecordKey {
    RecordKey::new([key; 16], [key; 16])
}
