//! Runs a service from start to end: settings, state, socket and shutdown.

pub(crate) mod accept;
mod bodies;
mod connection;
mod connection_limit;
mod connection_state;
mod open_files;
pub(crate) mod request_checks;
mod signal;
mod socket;
#[cfg(test)]
mod tests;

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

use self::accept::{ServerLimits, ShutdownOutcome, ShutdownSignals};
use self::request_checks::RequestChecks;
use self::signal::Signals;
use crate::api::{Api, Prepared};
use crate::request::install_panic_hook;
use crate::settings;
use crate::start::{StartError, StartErrors};

/// Serves an API until SIGTERM or SIGINT. If the service cannot start, prints all errors.
///
/// Use this function in programs with an async `main`. `aplomb::run`, with the feature `cli`,
/// starts the runtime itself, and adds commands for operators.
///
/// `connect` makes the state, such as `App::connect`. Its error is printed together with the other
/// errors. A [`StartErrors`] is printed with one line for each of its errors.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use aplomb::prelude::*;
///
/// #[derive(Clone)]
/// struct App;
///
/// impl App {
///     async fn connect() -> Result<Self, std::io::Error> {
///         Ok(Self)
///     }
/// }
///
/// #[endpoint(get = "/health", public)]
/// async fn health(State(_): State<App>) -> &'static str {
///     "ready"
/// }
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     aplomb::serve(Api::new("shop", routes![health]), App::connect).await
/// }
/// ```
///
/// | variable | | default |
/// |---|---|---|
/// | `APLOMB_ADDR` | the address to listen on, with a port | `127.0.0.1:3000` |
/// | `APLOMB_HEADER_TIMEOUT` | the time limit for a request's header section, and for an idle connection | `30s` |
/// | `APLOMB_RESPONSE_TIMEOUT` | the time limit for a client that does not read its response | `30s` |
/// | `APLOMB_MAX_CONNECTIONS` | the maximum number of connections | 10,000, or fewer if the process may not open enough files |
/// | `APLOMB_SHUTDOWN_GRACE` | the time limit for running requests after the signal | `30s` |
///
/// # Connections
///
/// If nearly all connections are in use, the service closes those that have been idle for the
/// longest time. If none is idle, new connections wait until one is free. The service raises its
/// own limit of open files (`ulimit -n`) as far as the system allows it. It keeps some of the files
/// for stores and for the application, so that clients cannot use them up.
///
/// A client that does not read its response is disconnected after `APLOMB_RESPONSE_TIMEOUT`. A
/// client that reads at least 32 KiB in this time is not disconnected.
///
/// An HTTP/2 client can open 24 streams at once. If its connection has 512 KiB of unread responses,
/// the next request waits until the client has read some of them. After five seconds without any
/// progress, the request gets 503 `OVERLOADED`.
///
/// The limits of the previous two paragraphs do not apply to
/// [trusted proxies](Api::trusted_proxies), because a proxy sends the requests of many clients over
/// one connection. A trusted proxy can open 200 streams. Declare a proxy that sends HTTP/2 as a
/// trusted proxy.
///
/// The handler of a client that disconnects is dropped, unless the request has an idempotency key.
/// A client may close its side of an HTTP/1 connection after the request, and still gets the
/// response. If the response takes more than 50 ms, an HTTP/1.1 client that does so gets a `100
/// Continue` before it.
///
/// # Shutdown
///
/// After the signal, the service accepts no new connections and closes idle ones. It waits for
/// running requests, and then for requests with an idempotency key whose handlers still run after
/// the client has disconnected. A second signal ends the wait.
///
/// The exit code is 0 after an orderly shutdown, even if the signal arrives while the service
/// starts. The exit code is 2 if the service did not start. If requests must be cut off, this
/// function does not return, but exits the process with 1. Otherwise a handler that blocks its
/// thread would delay the end of the runtime forever.
///
/// # Requests without an endpoint
///
/// In contrast to the router of [`into_router`](Api::into_router), the service returns problem
/// documents for requests that no endpoint handles:
///
/// - 404 for an unknown path, and 405 for an unknown method,
/// - 414 for a path and query over 16 KiB,
/// - 431 for a header section over 32 KiB or with more than 100 fields,
/// - 400 for a request that does not name exactly one valid host, in `Host` or `:authority`.
///
/// hyper itself responds to bytes that it cannot parse as a request: over HTTP/1 with a 400, 414 or
/// 431 without a body. It also responds with a 431 without a body to a head over 64 KiB, and to an
/// HTTP/1 request with more than 100 fields.
///
/// # Panics in handlers
///
/// `serve` adds a panic hook, so that the log line of a panic has its file, line and column. The
/// previous hook runs after it.
pub async fn serve<S, F, C, E>(api: Api<S>, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    install_panic_hook();
    let mut errors = StartErrors::new();
    // The signals are caught before the service starts, so that a signal during the start ends the
    // service in an orderly way.
    let signals = errors.collect(signals());
    let (table, tracker) = (route_table(&api), api.tracker());
    let Some(mut signals) = signals else {
        return report_errors(&errors);
    };
    let started = tokio::select! {
        started = start(api, connect) => started,
        // The service has not served a request yet.
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

/// Prints a line. A closed output is not an error: the service must not end when its log reader has
/// ended.
pub(crate) fn print_line(mut output: impl Write, line: &str) {
    let _ = writeln!(output, "{line}");
}

fn signals() -> Result<Signals, StartError> {
    Signals::listen()
        .map_err(|error| StartError::new(format!("cannot listen for SIGTERM and SIGINT: {error}")))
}

struct Started {
    listener: TcpListener,
    address: SocketAddr,
    request_checks: RequestChecks,
    limits: ServerLimits,
}

impl Started {
    async fn run(self, signals: Signals, tracker: TaskTracker) -> ExitCode {
        let outcome = accept::serve_until(
            self.listener,
            self.request_checks,
            signals,
            self.limits,
            &tracker,
        )
        .await;
        match outcome {
            ShutdownOutcome::Finished => ExitCode::SUCCESS,
            ShutdownOutcome::CutOff => {
                let grace = self.limits.grace;
                print_line(
                    io::stderr(),
                    &format!(
                        "error: requests were cut off, because they did not end within {grace:?} \
                         (APLOMB_SHUTDOWN_GRACE) or before a second signal"
                    ),
                );
                // Returning would drop the runtime, which waits for threads that handlers block.
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
    let mut checked = check_settings(api, connect).await;
    let listener = match checked.address {
        Some(address) => checked.errors.collect(listen(address).await),
        None => None,
    };
    let (limits, proxies) = (checked.limits, checked.prepared.proxies());
    let router = checked.into_router()?;
    let (Some((listener, address)), Some(limits)) = (listener, limits) else {
        return Err(StartErrors::from(StartError::new(
            "the service did not start",
        )));
    };
    Ok(Started {
        listener,
        address,
        request_checks: RequestChecks::new(base, proxies, router),
        limits,
    })
}

/// The settings that are validated before the service opens a port.
pub(crate) struct CheckedSettings<S> {
    pub(crate) prepared: Prepared<S>,
    address: Option<SocketAddr>,
    limits: Option<ServerLimits>,
    state: Option<S>,
    errors: StartErrors,
}

/// Validates the endpoints and settings, connects to the store, makes the state, and collects all
/// errors.
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
    let limits = errors.collect(limits());
    let state = connect()
        .await
        .map_err(|error| errors.extend_from(error.into()))
        .ok();
    CheckedSettings {
        prepared,
        address,
        limits,
        state,
        errors,
    }
}

impl<S: Clone + Send + Sync + 'static> CheckedSettings<S> {
    /// Returns the router of a service that can start.
    ///
    /// # Errors
    ///
    /// Returns all errors that were found.
    pub(crate) fn into_router(self) -> Result<Router, StartErrors> {
        self.errors.into_result()?;
        let missing = || StartErrors::from(StartError::new("the service has no state"));
        self.prepared.into_router(self.state.ok_or_else(missing)?)
    }
}

/// The shortest time limit of a connection.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The default of the time limits.
const TIMEOUT: Duration = Duration::from_secs(30);

fn limits() -> Result<ServerLimits, StartErrors> {
    let mut errors = StartErrors::new();
    let mut duration = |name, min| errors.collect(settings::duration(name, TIMEOUT, min));
    let head = duration("APLOMB_HEADER_TIMEOUT", MIN_TIMEOUT);
    let response = duration("APLOMB_RESPONSE_TIMEOUT", MIN_TIMEOUT);
    let grace = duration("APLOMB_SHUTDOWN_GRACE", Duration::ZERO);
    let connections = errors.collect(open_files::max_connections());
    match (head, response, grace, connections) {
        (Some(head), Some(response), Some(grace), Some(connections)) => Ok(ServerLimits {
            head,
            response,
            grace,
            connections,
        }),
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
        let message = format!(
            "cannot listen on this address: {error}; choose a free port that this user may open"
        );
        StartError::variable("APLOMB_ADDR", &address.to_string(), message)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Returns the lines that a service prints before it serves: its title, and one line for each
/// route.
fn route_table<S: Clone + Send + Sync + 'static>(api: &Api<S>) -> String {
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
