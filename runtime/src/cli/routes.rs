//! The command `routes`.

use core::fmt::Write as _;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::exit_success;
use crate::api::Api;
use crate::policies::version::Route;
use crate::spec::EndpointSpec;

pub(super) const NAME: &str = "routes";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Lists the endpoints: method, path, versions, policies and source line")
        .long_about(
            "Lists the endpoints in the order of `routes![…]`: method, path, versions, policies and source\n\
             line. It reads no settings and opens no connection.",
        )
        .arg(
            Arg::new(JSON)
                .long(JSON)
                .action(ArgAction::SetTrue)
                .help("Prints JSON, with the routes, names and summaries of the endpoints"),
        )
}

const JSON: &str = "json";

pub(super) fn run<S: Clone + Send + Sync + 'static>(
    api: &Api<S>,
    arguments: &ArgMatches,
) -> ExitCode {
    let endpoints: Vec<_> = api
        .mounted()
        .map(|(spec, routes)| ListedEndpoint::new(spec, routes))
        .collect();
    if arguments.get_flag(JSON) {
        let json = serde_json::to_string_pretty(&endpoints).expect("strings and numbers are JSON");
        return exit_success(&json);
    }
    exit_success(table(&endpoints).trim_end())
}

/// One endpoint of the list.
#[derive(Serialize)]
struct ListedEndpoint {
    method: &'static str,
    path: &'static str,
    /// The versions of the endpoint; empty for an endpoint without versions.
    versions: Vec<u32>,
    /// The path under each version.
    routes: Vec<String>,
    name: &'static str,
    summary: &'static str,
    policies: Vec<String>,
    source: Source,
}

#[derive(Serialize)]
struct Source {
    file: &'static str,
    line: u32,
}

impl ListedEndpoint {
    fn new(spec: &EndpointSpec, routes: Vec<Route>) -> Self {
        Self {
            method: spec.method.as_str(),
            path: spec.path,
            versions: routes.iter().filter_map(|route| route.version).collect(),
            routes: routes.into_iter().map(|route| route.template).collect(),
            name: spec.name,
            summary: spec.summary,
            policies: spec.policies(),
            source: Source {
                file: spec.location.file,
                line: spec.location.line,
            },
        }
    }

    fn row(&self) -> [String; COLUMNS] {
        let versions = match self.versions[..] {
            [] => String::from("-"),
            [only] => only.to_string(),
            // An endpoint serves a range of versions, without gaps.
            [first, .., last] => format!("{first}-{last}"),
        };
        let policies = if self.policies.is_empty() {
            String::from("-")
        } else {
            self.policies.join(" ")
        };
        let source = format!("{}:{}", self.source.file, self.source.line);
        [
            self.method.to_owned(),
            self.path.to_owned(),
            versions,
            policies,
            source,
        ]
    }
}

const COLUMNS: usize = 5;

/// Returns a table: a line of titles, and columns that are as wide as their widest cell.
fn table(endpoints: &[ListedEndpoint]) -> String {
    let titles = ["METHOD", "PATH", "VERSIONS", "POLICIES", "SOURCE"].map(str::to_owned);
    let rows: Vec<_> = core::iter::once(titles)
        .chain(endpoints.iter().map(ListedEndpoint::row))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = core::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let [cells @ .., last] = row;
        for (cell, width) in cells.iter().zip(widths) {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{cell:<width$}  ");
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::rate_limit::RateLimitSpec;
    use crate::policies::version::{VersionSpec, routes};
    use crate::spec::Method;

    const LIMITS: &[RateLimitSpec] = &[RateLimitSpec::new(100, Duration::from_mins(1))];

    fn endpoints() -> Vec<ListedEndpoint> {
        let health = EndpointSpec::new(Method::Get, "/health", "health").public();
        let pay = EndpointSpec::new(Method::Post, "/payments", "create_payment")
            .with_version(VersionSpec::new(1, None))
            .with_rate_limits(LIMITS)
            .with_timeout(Duration::from_secs(5))
            .with_docs("Pays.", "");
        let plain = EndpointSpec::new(Method::Delete, "/payments/{id}", "delete")
            .with_version(VersionSpec::new(2, Some(2)));
        let located = [health, pay, plain].map(|spec| spec.with_location("pay", "src/pay.rs", 7));
        located
            .iter()
            .map(|spec| ListedEndpoint::new(spec, routes(spec, 3)))
            .collect()
    }

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let expected = "\
METHOD  PATH            VERSIONS  POLICIES             SOURCE
GET     /health         -         public               src/pay.rs:7
POST    /payments       1-3       timeout(5s) 100/min  src/pay.rs:7
DELETE  /payments/{id}  2         -                    src/pay.rs:7
";
        assert_eq!(table(&endpoints()), expected);
    }

    #[test]
    fn an_api_without_endpoints_is_listed_as_a_line_of_titles() {
        assert_eq!(table(&[]), "METHOD  PATH  VERSIONS  POLICIES  SOURCE\n");
    }

    #[test]
    fn json_has_every_member() {
        let json = serde_json::to_value(endpoints()).expect("JSON");
        let expected = serde_json::json!({
            "method": "POST",
            "path": "/payments",
            "versions": [1, 2, 3],
            "routes": ["/v1/payments", "/v2/payments", "/v3/payments"],
            "name": "create_payment",
            "summary": "Pays.",
            "policies": ["timeout(5s)", "100/min"],
            "source": { "file": "src/pay.rs", "line": 7 },
        });
        assert_eq!(json[1], expected);
        assert_eq!(
            (&json[0]["versions"], &json[0]["routes"]),
            (&serde_json::json!([]), &serde_json::json!(["/health"]))
        );
    }
}
