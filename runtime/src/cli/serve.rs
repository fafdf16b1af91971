use core::future::Future;
use std::error::Error;
use std::process::ExitCode;

use clap::Command;

use crate::api::Api;

pub(super) const NAME: &str = "serve";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serves the API until SIGTERM or SIGINT; this is what happens without a command")
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

/// The variables of the framework. Those that an API sets in its code are not read.
pub(super) const SETTINGS: &str = "\
Settings, from the environment; durations are such as 300ms, 30s, 15min or 24h:
  APLOMB_ADDR             the address to listen on [default: 127.0.0.1:3000]
  APLOMB_API_KEYS         callers and their keys: alice:sk_…,bob:sk_…
  APLOMB_SECRET           at least 32 bytes that all instances share; signs cursors
                          [default: kept by a shared store, else random]
  APLOMB_PREVIOUS_SECRET  a second secret whose cursors are read while the secret is changed
  APLOMB_STORE            where keys and limits are kept: memory:, or with the feature `redis`
                          redis://…, redis+sentinel://… or redis+cluster://… [default: memory:]
  APLOMB_STORE_EVICTION   accept: use a Redis that may evict records
  APLOMB_SEAL_KEYS        keys with which kept responses are sealed: <id>:<base64 of 32 bytes>[,…]
  APLOMB_LEASE            how long a dead process blocks an idempotency key [default: 30s]
  APLOMB_MAX_RUN          after this a hung handler counts as dead [default: 15min]
  APLOMB_INSTANCES        how many instances share the limits [default: 1]
  APLOMB_LIMITS           rates of named limits: payments=1000/min,login=5/min:burst=20
  APLOMB_TRUSTED_PROXIES  addresses and networks of the proxies in front: 10.0.0.0/8,2001:db8::7
  APLOMB_FORWARDED_FIELD  the field in which they name their client: x-forwarded-for or forwarded
                          [default: x-forwarded-for]
  APLOMB_HEADER_TIMEOUT   how long the head of a request may take [default: 30s]
  APLOMB_SHUTDOWN_GRACE   how long requests may take to end after the signal [default: 30s]

The service may have settings of its own. `check` judges them all without serving.

Exit codes: 0 an orderly end, 1 requests were cut off, 2 it did not start.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names of variables at the beginning of lines, behind what marks those lines.
    fn variables<'a>(text: &'a str, mark: &'a str) -> BTreeSet<&'a str> {
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix(mark)?.split(['`', ' ']).next());
        names.filter(|name| name.starts_with("APLOMB_")).collect()
    }

    #[test]
    fn the_help_lists_the_variables_that_the_reference_does() {
        let mut documented = variables(include_str!("../api/mod.rs"), "/// | `");
        documented.extend(variables(include_str!("../serve/mod.rs"), "/// | `"));
        assert!(documented.len() > 10, "{documented:?}");
        assert_eq!(variables(SETTINGS, "  "), documented);
    }
}
