//! The command `serve`, and the list of all environment variables.

use core::future::Future;
use std::error::Error;
use std::process::ExitCode;

use clap::Command;

use crate::api::Api;

pub(super) const NAME: &str = "serve";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serves the API until SIGTERM or SIGINT; the default without a command")
        .after_help(SETTINGS)
}

pub(super) async fn run<S, C, F, E>(api: Api<S>, connect: C) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    C: FnOnce() -> F,
    F: Future<Output = Result<S, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    crate::serve::serve(api, connect).await
}

/// The environment variables of the framework. A setting in code takes precedence over its
/// variable.
pub(super) const SETTINGS: &str = "\
Environment variables (durations: 300ms, 30s, 15min, 24h):
  APLOMB_ADDR                  address and port to listen on [default: 127.0.0.1:3000]
  APLOMB_API_KEYS              callers and their API keys: alice:sk_…,bob:sk_…
  APLOMB_SECRET                signs cursors: at least 32 bytes, the same for all instances
                               [default: kept in a shared store, else random]
  APLOMB_PREVIOUS_SECRET       previous secret; its cursors stay valid while the secret is rotated
  APLOMB_STORE                 store of idempotency keys and limits: memory:, with the feature
                               `sqlite`: sqlite:<path>, with the feature `postgres`:
                               postgres://…, or with the feature `redis`: redis://…,
                               redis+sentinel://…, redis+cluster://… [default: memory:]
  APLOMB_STORE_EVICTION        `accept` allows a Redis that may evict records
  APLOMB_MIGRATE               `off` refuses to start if migrations of the store are missing,
                               instead of applying them [default: on]
  APLOMB_ENCRYPTION_KEYS       keys that encrypt stored responses: <id>:<base64 of 32 bytes>[,…]
  APLOMB_LEASE                 how long a crashed process blocks an idempotency key [default: 30s]
  APLOMB_MAX_HANDLER_DURATION  after this time a hung handler counts as crashed [default: 15min]
  APLOMB_TRANSACTION_TIMEOUT   longest database transaction of a handler, at most a third of the
                               lease [default: 5s, or a third of a shorter lease]
  APLOMB_DB_POOL_MAX           most connections for transactions of handlers, in a PostgreSQL
                               that APLOMB_STORE names [default: 10]
  APLOMB_DB_POOL_MIN           how many of these connections stay open [default: 0]
  APLOMB_DB_POOL_IDLE_TIMEOUT  time after which an idle one of them is closed [default: 10min]
  APLOMB_MAX_RUNS              most runs under idempotency keys at the same time [default: 1000]
  APLOMB_MAX_RUNS_PER_CALLER   most of these runs of one caller [default: 100]
  APLOMB_BODY_TIMEOUT          longest silence of a client that sends a body [default: 5s]
  APLOMB_BODY_MIN_RATE         fewest bytes per second of a body [default: 512]
  APLOMB_BODY_MEMORY           memory of the bodies of all requests: 64MB, 512MiB
                               [default: 128MiB]
  APLOMB_INSTANCES             number of instances that share the limits [default: 1]
  APLOMB_LIMITS                rates of named limits: payments=1000/min,login=5/min:burst=20
  APLOMB_TRUSTED_PROXIES       addresses and networks of trusted proxies: 10.0.0.0/8,2001:db8::7
  APLOMB_FORWARDED_FIELD       header in which proxies name the client: x-forwarded-for or forwarded
                               [default: x-forwarded-for]
  APLOMB_HEADER_TIMEOUT        time limit for a request's header section, and for an idle
                               connection [default: 30s]
  APLOMB_RESPONSE_TIMEOUT      time limit for a client that does not read its response
                               [default: 30s]
  APLOMB_MAX_CONNECTIONS       maximum number of connections [default: 10000, or fewer if the
                               process may not open enough files]
  APLOMB_SHUTDOWN_GRACE        time limit for running requests after the signal [default: 30s]

The service may read more variables. `check` validates all settings without serving.

Exit codes: 0 orderly shutdown, 1 requests were cut off, 2 the service did not start.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the variable names that follow `mark` at the beginning of a line.
    fn variables<'a>(text: &'a str, mark: &'a str) -> BTreeSet<&'a str> {
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix(mark)?.split(['`', ' ']).next());
        names.filter(|name| name.starts_with("APLOMB_")).collect()
    }

    #[test]
    fn the_help_lists_the_same_variables_as_the_documentation() {
        let mut documented = variables(include_str!("../api/mod.rs"), "/// | `");
        documented.extend(variables(include_str!("../serve/mod.rs"), "/// | `"));
        assert!(documented.len() > 10, "{documented:?}");
        assert_eq!(variables(SETTINGS, "  "), documented);
    }
}
