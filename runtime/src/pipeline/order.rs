//! The order of the stages. It stands here and nowhere else:
//!
//! observe → deadline → authenticate → idempotency key → body, if small → limits and `begin` (with
//! a larger body: limits, body, `begin`) → extractors → handler → settle → decorate
//!
//! Authentication comes before limits, so that nobody uses up the limits of somebody else. The key's
//! record is looked at before the extractors run, so that a deployment that reads requests more
//! strictly cannot break a replay.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;

use tokio::task::JoinHandle;

use super::context::{Context, Mounted, Run};
use super::intake::Intake;
use super::observe::RequestId;
use super::{authenticate, decorate, handler, limits};
use crate::auth::Caller;
use crate::endpoint::Answer;
use crate::policies::idempotency::{IdempotencySpec, KeyedRun, key};
use crate::policies::rate_limit::Reading;
use crate::policies::timeout;
use crate::problem::Problem;

/// Answers one request.
pub(crate) async fn line(mounted: Arc<Mounted>, run: Run, request: Request) -> Response {
    let mut exchange =
        Exchange { id: RequestId::of(&request), peer: peer(&request), mounted, readings: Readings::None };
    let deadline = exchange.mounted.timeout;
    let answered = timeout::within(deadline, exchange.answer(run, request)).await;
    let answer = answered.unwrap_or_else(timeout::exceeded);
    decorate::close(&exchange.mounted, &exchange.id, exchange.readings.get(), answer)
}

/// One request on its way.
struct Exchange {
    mounted: Arc<Mounted>,
    id: RequestId,
    peer: Option<IpAddr>,
    readings: Readings,
}

/// What the limits said: noted here, or by the task of a run under a key.
enum Readings {
    None,
    Here(Vec<Reading>),
    There(Arc<OnceLock<Vec<Reading>>>),
}

/// The key of a request that takes part in idempotency.
struct Keyed {
    spec: IdempotencySpec,
    key: String,
}

impl Exchange {
    async fn answer(&mut self, run: Run, request: Request) -> Answer {
        let mut intake = Intake::new(request);
        match self.admit(&mut intake).await {
            Err(problem) => {
                intake.drain().await;
                Answer::refused(problem)
            }
            Ok((context, None)) => {
                handler::run(run(intake.into_request(context, self.mounted.body_limit))).await
            }
            Ok((context, Some(keyed))) => {
                let running = self.keyed(run, intake, context, keyed);
                running.await.unwrap_or_else(|lost| Answer::failed(Problem::internal(lost)))
            }
        }
    }

    /// Everything before the handler, or before the task of a run under a key.
    async fn admit(&mut self, intake: &mut Intake) -> Result<(Context, Option<Keyed>), Problem> {
        let caller = authenticate::caller(&self.mounted, &intake.head).await?;
        let keyed = self.key(intake, caller.as_ref())?;
        let context = Context::new(Arc::clone(&self.mounted), self.id.clone(), self.peer, caller);
        let limit = self.mounted.body_limit;
        let wants_body = self.mounted.reads_body || keyed.is_some();
        if !wants_body {
            return self.limits(&context).await.map(|()| (context, None));
        }
        intake.check_length(limit)?;
        if intake.is_small() {
            intake.read(limit).await?;
            if keyed.is_none() {
                self.limits(&context).await?;
            }
        } else {
            self.limits(&context).await?;
            if keyed.is_some() {
                intake.read(limit).await?;
            }
        }
        Ok((context, keyed))
    }

    fn key(&self, intake: &Intake, caller: Option<&Caller>) -> Result<Option<Keyed>, Problem> {
        let Some(spec) = self.mounted.idempotency else { return Ok(None) };
        match key::key_of(&intake.head.headers)? {
            None if spec.optional => Ok(None),
            None => Err(key::missing()),
            Some(_) if caller.is_none() && !spec.anonymous => Err(key::without_caller()),
            Some(key) if caller.is_none() => key::check_anonymous(&key).map(|()| Some(Keyed { spec, key })),
            Some(key) => Ok(Some(Keyed { spec, key })),
        }
    }

    async fn limits(&mut self, context: &Context) -> Result<(), Problem> {
        let readings = &mut self.readings;
        limits::acquire(context, |all| *readings = Readings::Here(all)).await
    }

    /// Hands the request to a task of its own, which nothing that happens here can cancel.
    fn keyed(&mut self, run: Run, intake: Intake, context: Context, keyed: Keyed) -> JoinHandle<Answer> {
        let (identities, method) = (&context.shared().identities, self.mounted.spec.method.as_str());
        let record = identities.record(context.caller(), method, context.route(), &keyed.key);
        let fingerprint = identities.fingerprint(&intake.head, &intake.bytes());
        let limits = self.late_readings();
        let request = intake.into_request(context.clone(), self.mounted.body_limit);
        let run = KeyedRun { context, run, request, record, fingerprint, spec: keyed.spec, limits };
        run.spawn()
    }

    /// Where the task notes what the limits said, unless they have spoken already.
    fn late_readings(&mut self) -> Option<Arc<OnceLock<Vec<Reading>>>> {
        if self.mounted.limits.is_none() || matches!(self.readings, Readings::Here(_)) {
            return None;
        }
        let late = Arc::new(OnceLock::new());
        self.readings = Readings::There(Arc::clone(&late));
        Some(late)
    }
}

impl Readings {
    fn get(&self) -> Option<&[Reading]> {
        match self {
            Self::None => None,
            Self::Here(readings) => Some(readings),
            Self::There(readings) => readings.get().map(Vec::as_slice),
        }
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}
