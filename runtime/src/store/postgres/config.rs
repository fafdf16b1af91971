//! The location of a database: a URL, or the options of the application's own pool.

use core::fmt;
use core::str::FromStr;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::connect::Endpoint;
use crate::start::StartError;
use crate::start::StartErrors;
use crate::store::pools::PoolSettings;
use crate::store::scheme_only;

/// The form of a URL, for error messages.
pub(in crate::store) const FORM: &str = "postgres://[user[:password]@]host[:port]/database";

/// The location of a database, and how to connect to it.
#[derive(Clone)]
pub(in crate::store) struct PostgresConfig {
    pub(super) endpoint: Endpoint,
    /// The pool of the application; `None` if the database was set by a URL.
    pub(super) work_pool: Option<PgPool>,
    /// The environment variable from which the URL was read; `None` if it was set in code.
    variable: Option<&'static str>,
}

impl PostgresConfig {
    pub(in crate::store) const fn new(options: PgConnectOptions) -> Self {
        Self {
            endpoint: Endpoint {
                options,
                is_pgbouncer: false,
            },
            work_pool: None,
            variable: None,
        }
    }

    pub(in crate::store) fn of_pool(pool: &PgPool) -> Self {
        let mut config = Self::new((*pool.connect_options()).clone());
        config.work_pool = Some(pool.clone());
        config
    }

    /// Parses the URL that is the value of this environment variable.
    pub(in crate::store) fn from_env(
        variable: &'static str,
        url: &str,
    ) -> Result<Self, StartError> {
        let mut config = Self::parse(url)
            .map_err(|reason| StartError::variable(variable, &scheme_only(url), reason))?;
        config.variable = Some(variable);
        Ok(config)
    }

    /// Parses a URL that was set in code.
    pub(super) fn from_url(url: &str) -> Result<Self, StartError> {
        Self::parse(url)
            .map_err(|reason| StartError::new(format!("{}: {reason}", scheme_only(url))))
    }

    /// Creates the error for this database.
    pub(super) fn error(&self, reason: impl fmt::Display) -> StartError {
        let url = self.redacted_url();
        match self.variable {
            Some(variable) => StartError::variable(variable, &url, reason),
            None => StartError::new(format!("{url}: {reason}")),
        }
    }

    /// Parses a URL. An error contains no part of the URL that may be a password.
    fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        // sqlx would connect to the host `localhost`.
        if !base.starts_with("postgres://") && !base.starts_with("postgresql://") {
            return Err(format!("not a URL; expected {FORM}"));
        }
        let mut is_pgbouncer = false;
        let mut parameters = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (name, value) {
                ("pgbouncer", "true") => is_pgbouncer = true,
                ("pgbouncer", "false") => {}
                ("pgbouncer", _) => {
                    return Err(String::from("pgbouncer: accepted: true, false"));
                }
                ("sslmode", mode) if !SSL_MODES.contains(&mode) => {
                    let accepted = SSL_MODES.join(", ");
                    return Err(format!("sslmode: accepted: {accepted}"));
                }
                (name, _) if is_known(name) => parameters.push(parameter),
                (name, _) => {
                    let accepted = PARAMETERS.join(", ");
                    return Err(format!(
                        "unknown parameter {name:?}; accepted: {accepted}, pgbouncer"
                    ));
                }
            }
        }
        let url = format!("{base}?{}", parameters.join("&"));
        let options = PgConnectOptions::from_str(&url);
        // The error may quote a value.
        let options = options.map_err(|_| format!("not a URL; expected {FORM}"))?;
        let mut config = Self::new(options);
        config.endpoint.is_pgbouncer = is_pgbouncer;
        Ok(config)
    }

    pub(in crate::store) const fn with_pgbouncer(mut self) -> Self {
        self.endpoint.is_pgbouncer = true;
        self
    }

    /// Returns the options of the pool for the transactions of handlers. The variables do not apply to
    /// the pool of the application.
    pub(in crate::store) fn pool_options(&self) -> Result<PgPoolOptions, StartErrors> {
        match self.work_pool {
            Some(_) => Ok(PgPoolOptions::new()),
            None => PoolSettings::options(),
        }
    }

    /// Returns the URL without its password and its parameters.
    pub(in crate::store) fn redacted_url(&self) -> String {
        let options = &self.endpoint.options;
        let user = options.get_username();
        let database = options.get_database().unwrap_or(user);
        match options.get_socket() {
            Some(socket) => {
                let (socket, port) = (socket.display(), options.get_port());
                format!("postgres://{user}@/{database}?host={socket}&port={port}")
            }
            None => {
                let (host, port) = (options.get_host(), options.get_port());
                format!("postgres://{user}@{host}:{port}/{database}")
            }
        }
    }
}

/// Shows no password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("url", &self.redacted_url())
            .field("is_pgbouncer", &self.endpoint.is_pgbouncer)
            .finish_non_exhaustive()
    }
}

fn is_known(parameter: &str) -> bool {
    PARAMETERS.contains(&parameter) || parameter.starts_with("options[")
}

/// The parameters of a URL that sqlx applies. It ignores others, so a misspelt one would have no
/// effect.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let url = "postgresql://app:hunter2@db.example:5433/pay?password=hunter3&sslmode=disable";
        let config = PostgresConfig::parse(url).expect("a valid URL");
        assert_eq!(config.redacted_url(), "postgres://app@db.example:5433/pay");
        let debug = format!("{config:?}");
        assert!(!debug.contains("hunter"), "{debug}");
    }

    #[test]
    fn a_malformed_url_is_rejected_without_its_password() {
        for url in [
            "postgres:hunter2",
            "postgres://app:hunter2@db.example:port/pay",
            "postgres://app:hunter2@[::1/pay",
            "postgres://app:hunter2@db/pay?sslmod=require",
            "postgres://app:hunter2@db/pay?sslmode=hunter2",
            "postgres://app:hunter2@db/pay?pgbouncer=hunter2",
            "postgres://app:hunter2@db/pay?port=hunter2",
        ] {
            let error = PostgresConfig::parse(url).expect_err(url);
            assert!(!error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn a_pgbouncer_is_declared_by_a_parameter() {
        let declared = |url| PostgresConfig::parse(url).map(|config| config.endpoint.is_pgbouncer);
        assert_eq!(declared("postgres://db/pay?pgbouncer=true"), Ok(true));
        assert_eq!(
            declared("postgres://db/pay?sslmode=disable&pgbouncer=true"),
            Ok(true)
        );
        assert_eq!(declared("postgres://db/pay?pgbouncer=false"), Ok(false));
        assert_eq!(declared("postgres://db/pay"), Ok(false));
    }
}
