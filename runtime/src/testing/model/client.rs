//! The clients of a script. Each client sends only calls that a correct client would send after the
//! replies that it has received.

use core::time::Duration;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::call::{Call, Reply};
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
    /// The last number that was used for a token or a response, so that all of them are different.
    last_number: u32,
}

#[derive(Debug)]
struct Run {
    begin: Begin,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The reply to the client's begin is lost, so the client cannot complete its run.
    InDoubt,
    /// The client's begin has no reply yet, or the reply was not `Started`.
    Waiting,
    /// The reply to the client's begin was `Started`.
    Running,
    /// The client has aborted after it had received the reply to its begin. No copy of the begin
    /// is on its way, so the abort needs no marker.
    Aborted,
}

impl Clients {
    /// Returns the call to the store in this step; `None` if the client cannot do the step, or if
    /// its call does not reach the store.
    pub(super) fn call(&mut self, step: &Step) -> Option<Call> {
        match *step {
            Step::Begin {
                client,
                request,
                network,
            } => self.begin(client, request, network),
            Step::RepeatBegin { client } => self.run(client).and_then(Run::repeat_begin),
            Step::Heartbeat { client } => self
                .run(client)
                .map(|run| Call::Heartbeat(run.begin.lease())),
            Step::Complete { client } => {
                let response = self.next_response();
                self.run(client)?.complete(Outcome::Response(response))
            }
            Step::Fail { client } => self.run(client)?.complete(Outcome::Unknown),
            Step::Abort { client } => self.run(client).and_then(Run::abort),
            Step::MarkUnknown { client } => self
                .run(client)
                .map(|run| Call::MarkUnknown(run.begin.lease())),
            Step::Resolve { key, done } => Some(Call::Resolve(
                record_key(key),
                done.then(|| self.next_response()),
            )),
            Step::Kill { client } => self.kill(client),
            Step::Elapse(_) | Step::LoseData => None,
        }
    }

    /// Sets the phase of the client that sent this begin to `Running`, if the client is `Waiting`
    /// and the reply is `Started`.
    pub(super) fn record_reply(&mut self, call: &Call, reply: &Reply) {
        let (Call::Begin(begin), Reply::BeginOutcome(BeginOutcome::Started)) = (call, reply) else {
            return;
        };
        let caller = self
            .runs
            .values_mut()
            .find(|run| run.begin.token == begin.token);
        if let Some(run) = caller.filter(|run| run.phase == Phase::Waiting) {
            run.phase = Phase::Running;
        }
    }

    fn begin(&mut self, client: usize, request: Request, network: Network) -> Option<Call> {
        if self.killed.contains(&client) {
            return None;
        }
        let begin = request.begin(Token::from_u128(self.next_number().into()));
        let phase = if network == Network::Fine {
            Phase::Waiting
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

    fn next_response(&mut self) -> StoredResponse {
        let (head, ()) = http::Response::new(()).into_parts();
        StoredResponse::new(
            &head,
            Some(Bytes::from(format!("response {}", self.next_number()))),
        )
    }

    fn next_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }
}

impl Run {
    fn repeat_begin(&mut self) -> Option<Call> {
        (self.phase != Phase::Aborted).then(|| Call::Begin(self.begin.clone()))
    }

    fn complete(&mut self, outcome: Outcome) -> Option<Call> {
        let Begin {
            fingerprint, ttl, ..
        } = self.begin;
        let complete = Complete::new(self.begin.lease(), fingerprint, outcome, ttl);
        (self.phase == Phase::Running).then_some(Call::Complete(complete))
    }

    /// Returns an abort. If the reply to the begin is lost, a copy of the begin can still arrive,
    /// so the abort writes a marker that rejects it.
    fn abort(&mut self) -> Option<Call> {
        let abort = |marker| Some(Call::Abort(self.begin.lease(), marker));
        match self.phase {
            Phase::InDoubt => abort(LEASE),
            Phase::Waiting => None,
            Phase::Running | Phase::Aborted => {
                let call = abort(Duration::ZERO);
                self.phase = Phase::Aborted;
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
