//! A whole service: settings, state, socket, shutdown.

pub(crate) mod accept;
mod first_byte_timeout;
mod in_flight;
pub(crate) mod request_checks;
mod signal;

use core::fmt::Write as _;
use core::future::Future;
use core::time::Duration;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{self, ExitCode};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use self::accept::{ServerTimeouts, ShutdownOutcome};

use self::accept::ShutdownSignals;
use self::request_checks::RequestChecks;
use self::signal::Signals;
use crate::api::{Api, Prepared};
use crate::request::install_panic_hook;
use crate::settings;
use crate::start::{StartError, StartErrors};

/// Serves an API until SIGTERM or SIGINT, or says everything that keeps it from starting.
///
/// It is for programs with an async `main`; `aplomb::run`, with the feature `cli`, owns the process and has
/// commands for operators, too.
///
/// `connect` makes the state, such as `App::connect`; its error is said with the others, line by
/// line where it is a [`StartErrors`].
///
/// | variable | | default |
/// |---|---|---|
/// | `APLOMB_ADDR` | the address to listen on | `127.0.0.1:3000` |
/// | `APLOMB_HEADER_TIMEOUT` | how long a request's head may take, and an idle HTTP/1 connection is kept | `30s` |
/// | `APLOMB_SHUTDOWN_GRACE` | how long requests may take to end after the signal | `30s` |
///
/// On the signal it takes no new connections, ends idle ones, lets requests finish, then waits for
/// requests that run under an idempotency key; a second signal ends the wait.
///
/// The exit code is 0 after an orderly end, also of a service that was still starting; 2 if it did
/// not start. Where something has to be cut off the process ends at once with 1, without returning:
/// a handler that blocks its thread could hold it up for ever.
///
/// Unlike a router of [`into_router`](Api::into_router) it answers what no endpoint does with problem
/// documents, too: an unknown path or method, a target (path and query) over 16 KiB, which is a 414, a header
/// section over 64 KiB, which is a 431, and over HTTP/1.1 a head that does not name one host, which is a 400.
/// hyper answers bytes that it cannot parse as a request: over HTTP/1 with a 400, 414 or 431 without a body.
///
/// It adds a panic hook, by which the log line of a panic has its file, line and column; the hook that was there before runs
/// after it.
pub async fn serve<S, F, C, E>(api: Api<S>, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    install_panic_hook();
    let mut errors = StartErrors::new();
    // Listened to from the beginning, so that a signal while the service starts ends it in order.
    let signals = errors.collect(signals());
    let (table, tracker) = (table(&api), api.tracker());
    let Some(mut signals) = signals else {
        return report_errors(&errors);
    };
    let started = tokio::select! {
        started = start(api, connect) => started,
        // Nothing was served yet.
        () = signals.requested() => return ExitCode::SUCCESS,
    };
    match started {
        Err(errors) => report_errors(&errors),
        Ok(started) => {
            print_line(
                io::stdout(),
                &format!("{table}listening on http://{}", started.address),
            );
            started.run(signals, tracker).await
        }
    }
}

fn report_errors(errors: &StartErrors) -> ExitCode {
    errors
        .iter()
        .for_each(|error| print_line(io::stderr(), &format!("error: {error}")));
    ExitCode::from(2)
}

/// Prints a line. Nobody listening is no reason to end.
pub(crate) fn print_line(mut output: impl Write, line: &str) {
    let _ = writeln!(output, "{line}");
}

fn signals() -> Result<Signals, StartError> {
    Signals::listen()
        .map_err(|error| StartError::new(format!("signals cannot be listened to: {error}")))
}

struct Started {
    listener: TcpListener,
    address: SocketAddr,
    request_checks: RequestChecks,
    patience: ServerTimeouts,
}

impl Started {
    async fn run(self, signals: Signals, tracker: TaskTracker) -> ExitCode {
        let served = accept::serve_until(
            self.listener,
            self.request_checks,
            signals,
            self.patience,
            &tracker,
        )
        .await;
        match served {
            ShutdownOutcome::Finished => ExitCode::SUCCESS,
            ShutdownOutcome::CutOff => {
                let grace = self.patience.grace;
                print_line(
                    io::stderr(),
                    &format!(
                        "error: requests did not end within {grace:?}, or before a second signal"
                    ),
                );
                // Handlers that block their thread would hold up an orderly end for ever.
                process::exit(1)
            }
        }
    }
}

async fn start<S, F, C, E>(api: Api<S>, connect: C) -> Result<Started, StartErrors>
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let base = api.problem_base_or_default();
    let mut judged = check_settings(api, connect).await;
    let listener = match judged.address {
        Some(address) => judged.errors.collect(listen(address).await),
        None => None,
    };
    let (patience, proxies) = (judged.patience, judged.prepared.proxies());
    let router = judged.into_router()?;
    let (Some((listener, address)), Some(patience)) = (listener, patience) else {
        return Err(StartErrors::from(StartError::new(
            "the service did not start",
        )));
    };
    let front = RequestChecks::new(base, proxies, router);
    Ok(Started {
        listener,
        address,
        request_checks: front,
        patience,
    })
}

/// Everything that a start judges before it opens a port.
pub(crate) struct CheckedSettings<S> {
    pub(crate) prepared: Prepared<S>,
    address: Option<SocketAddr>,
    patience: Option<ServerTimeouts>,
    state: Option<S>,
    errors: StartErrors,
}

/// Judges endpoints and settings, connects to the store and makes the state, and collects what is wrong.
pub(crate) async fn check_settings<S, F, C, E>(api: Api<S>, connect: C) -> CheckedSettings<S>
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let prepared = api.prepare().await;
    let mut errors = prepared.errors();
    let address = errors.collect(address());
    let patience = errors.collect(timeouts());
    let state = connect()
        .await
        .map_err(|error| errors.extend_from(error.into()))
        .ok();
    CheckedSettings {
        prepared,
        address,
        patience,
        state,
        errors,
    }
}

impl<S: Clone + Send + Sync + 'static> CheckedSettings<S> {
    /// The router of a service that can start.
    ///
    /// # Errors
    ///
    /// All that was found to be wrong.
    pub(crate) fn into_router(self) -> Result<Router, StartErrors> {
        self.errors.into_result()?;
        let missing = || StartErrors::from(StartError::new("the service has no state"));
        self.prepared.into_router(self.state.ok_or_else(missing)?)
    }
}

fn timeouts() -> Result<ServerTimeouts, StartErrors> {
    let mut errors = StartErrors::new();
    let default = ServerTimeouts::default();
    let head = settings::duration(
        "APLOMB_HEADER_TIMEOUT",
        default.head,
        Duration::from_millis(1),
    );
    let grace = settings::duration("APLOMB_SHUTDOWN_GRACE", default.grace, Duration::ZERO);
    match (errors.collect(head), errors.collect(grace)) {
        (Some(head), Some(grace)) => Ok(ServerTimeouts { head, grace }),
        _ => Err(errors),
    }
}

fn address() -> Result<SocketAddr, StartError> {
    let value =
        settings::variable("APLOMB_ADDR")?.unwrap_or_else(|| String::from("127.0.0.1:3000"));
    value.parse().map_err(|_| {
        StartError::variable(
            "APLOMB_ADDR",
            &value,
            "expected an address and a port, such as 127.0.0.1:3000 or [::]:80",
        )
    })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |error: io::Error| {
        let why = format!(
            "cannot listen there: {error}; choose a free port, or one that this user may open"
        );
        StartError::variable("APLOMB_ADDR", &address.to_string(), why)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn table<S: Clone + Send + Sync + 'static>(api: &Api<S>) -> String {
    let mut text = format!("{}\n", api.title_or_name());
    let rows = api.table();
    let width = rows
        .iter()
        .map(|(_, route, _)| route.len())
        .max()
        .unwrap_or(0);
    for (method, route, name) in rows {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {method:<6} {route:<width$}  {name}");
    }
    text
}
