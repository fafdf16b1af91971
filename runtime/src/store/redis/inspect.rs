//! The inspection of a server's `INFO` and settings: errors that keep a service from starting, and
//! warnings.

use std::collections::HashMap;

/// The parsed reply of `INFO`.
#[derive(Debug)]
pub(super) struct Info<'a>(HashMap<&'a str, &'a str>);

/// The result of the inspection of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The problems that keep a service from starting.
    pub(super) errors: Vec<String>,
    /// The risks that are logged at start.
    pub(super) warnings: Vec<String>,
}

/// The oldest supported major version. Version 7 introduced script flags (`#!lua flags=…`).
const MIN_VERSION: u32 = 7;

impl<'a> Info<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.trim_end().split_once(':'))
                .collect(),
        )
    }

    fn has(&self, field: &str, value: &str) -> bool {
        self.0.get(field) == Some(&value)
    }

    fn version(&self) -> Option<(&'a str, u32)> {
        let version = self.0.get("redis_version")?;
        Some((version, version.split('.').next()?.parse().ok()?))
    }

    /// Returns the policy by which a full server evicts keys; `None` if the server evicts no keys.
    fn eviction_policy(&self) -> Option<&'a str> {
        let bounded = !matches!(self.0.get("maxmemory"), None | Some(&"0"));
        let policy = self
            .0
            .get("maxmemory_policy")
            .filter(|policy| bounded && **policy != "noeviction");
        policy.copied()
    }

    /// Returns `true` if the server writes an append-only file.
    fn has_append_only_file(&self) -> bool {
        self.has("aof_enabled", "1")
    }
}

/// Inspects a server. `in_cluster` is `true` if the URL has the form of a cluster.
pub(super) fn inspect(info: &Info<'_>, in_cluster: bool, accept_eviction: bool) -> Findings {
    let mut found = Findings::default();
    match info.version() {
        None => found.errors.push(String::from(
            "this server reports no version; is it a Redis?",
        )),
        Some((version, major)) if major < MIN_VERSION => {
            found.errors.push(format!(
                "Redis {version} is too old; {MIN_VERSION} or newer is needed"
            ));
        }
        Some(_) => {}
    }
    if info.has("redis_mode", "cluster") && !in_cluster {
        found.errors.push(String::from(
            "this is a node of a Redis Cluster; name it with redis+cluster://host[:port][,host[:port]…]",
        ));
    }
    if info.has("redis_mode", "sentinel") {
        found.errors.push(String::from(
            "this is a Sentinel; name it with redis+sentinel://host[:port][,host[:port]…]/<name of the primary>",
        ));
    }
    if info.has("role", "slave") {
        found.errors.push(String::from(
            "this is a read-only replica; name its primary",
        ));
    }
    if let Some(policy) = info.eviction_policy() {
        let evicts = format!(
            "this server evicts records when its memory is full (maxmemory-policy {policy})"
        );
        if accept_eviction {
            found.warnings.push(format!(
                "{evicts}; a retry of an evicted key has a second effect"
            ));
        } else {
            found.errors.push(format!(
                "{evicts}, and a retry of an evicted key has a second effect; \
                 set maxmemory-policy noeviction, or accept the eviction with \
                 APLOMB_STORE_EVICTION=accept"
            ));
        }
    }
    found
}

/// Returns the warning about the data that a crash of the server loses; `None` if a crash loses
/// nothing.
///
/// `settings` is the reply of `CONFIG GET`. It is empty on managed servers that forbid this
/// command.
pub(super) fn data_loss_warning(
    info: &Info<'_>,
    settings: &HashMap<String, String>,
) -> Option<String> {
    let setting = |name: &str| settings.get(name).map(String::as_str);
    let loses = match (
        info.has_append_only_file(),
        setting("save"),
        setting("appendfsync"),
    ) {
        (true, _, Some("always")) => return None,
        (true, ..) => "the last seconds of its log (appendfsync is not always)",
        (false, Some(""), _) => "all data (appendonly no, no snapshots)",
        (false, ..) => "all data since its last snapshot (appendonly no)",
    };
    Some(format!(
        "a crash of the store loses {loses}, and a retry of a lost key has a second effect; \
         set appendonly yes and appendfsync always to lose nothing"
    ))
}

/// Returns the warning about a cluster that stops as a whole when one node fails.
pub(super) fn coverage_warning(settings: &HashMap<String, String>) -> Option<&'static str> {
    let needs_all = settings
        .get("cluster-require-full-coverage")
        .is_some_and(|setting| setting == "yes");
    needs_all.then_some(
        "while one node fails over, all nodes of this cluster refuse calls; \
         set cluster-require-full-coverage no to keep the other nodes working",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.2.4\r\nredis_mode:standalone\r\n\r\n# Memory\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\naof_enabled:1\r\n";

    fn errors(from: &str, to: &str) -> Vec<String> {
        inspect(&Info::parse(&GOOD.replace(from, to)), false, false).errors
    }

    #[test]
    fn a_suitable_server_has_no_findings() {
        assert_eq!(
            inspect(&Info::parse(GOOD), false, false),
            Findings::default()
        );
    }

    #[test]
    fn each_defect_is_one_error() {
        let cases = [
            ("7.2.4", "6.2.14", "Redis 6.2.14 is too old"),
            ("redis_version", "other", "reports no version"),
            ("standalone", "cluster", "a node of a Redis Cluster"),
            ("standalone", "sentinel", "a Sentinel"),
            ("role:master", "role:slave", "read-only replica"),
        ];
        for (from, to, expected) in cases {
            let errors = errors(from, to);
            assert!(
                errors.len() == 1 && errors[0].contains(expected),
                "{to}: {errors:?}"
            );
        }
    }

    #[test]
    fn a_node_of_a_cluster_is_accepted_in_a_cluster() {
        let node = GOOD.replace("standalone", "cluster");
        assert_eq!(
            inspect(&Info::parse(&node), true, false),
            Findings::default()
        );
    }

    #[test]
    fn a25_a_server_that_evicts_is_refused_only_if_its_memory_is_bounded() {
        assert!(errors("noeviction", "allkeys-lru").is_empty(), "no bound");
        assert!(
            errors("maxmemory:0", "maxmemory:100").is_empty(),
            "noeviction refuses writes instead"
        );
        let bounded = GOOD.replace("maxmemory:0", "maxmemory:100");
        for policy in ["allkeys-random", "volatile-lru", "volatile-ttl"] {
            let refused = inspect(
                &Info::parse(&bounded.replace("noeviction", policy)),
                false,
                false,
            );
            assert!(
                refused.errors.len() == 1 && refused.errors[0].contains(policy),
                "{refused:?}"
            );
        }
        let evicting = bounded.replace("noeviction", "allkeys-lru");
        let refused = inspect(&Info::parse(&evicting), false, false);
        assert!(
            refused.errors[0].contains("allkeys-lru") && refused.warnings.is_empty(),
            "{refused:?}"
        );
        let accepted = inspect(&Info::parse(&evicting), false, true);
        assert!(
            accepted.errors.is_empty() && accepted.warnings.len() == 1,
            "{accepted:?}"
        );
    }

    #[test]
    fn a_cluster_that_needs_full_coverage_causes_a_warning() {
        let setting = |value: &str| {
            HashMap::from([(
                String::from("cluster-require-full-coverage"),
                value.to_owned(),
            )])
        };
        assert!(coverage_warning(&setting("yes")).is_some());
        assert_eq!(
            (
                coverage_warning(&setting("no")),
                coverage_warning(&HashMap::new())
            ),
            (None, None)
        );
    }

    #[test]
    fn a25_a_warning_names_the_data_that_a_crash_loses() {
        let without_log = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        let warning = |info: &str, settings: &[(&str, &str)]| {
            let settings = settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            data_loss_warning(&Info::parse(info), &settings.collect()).unwrap_or_default()
        };
        assert_eq!(
            warning(GOOD, &[("save", ""), ("appendfsync", "always")]),
            ""
        );
        assert!(warning(GOOD, &[("appendfsync", "everysec")]).contains("the last seconds"));
        assert!(
            warning(GOOD, &[]).contains("the last seconds"),
            "managed servers forbid CONFIG GET"
        );
        assert!(warning(&without_log, &[("save", "")]).contains("all data (appendonly no"));
        assert!(warning(&without_log, &[("save", "3600 1")]).contains("its last snapshot"));
        assert!(warning(&without_log, &[]).contains("its last snapshot"));
    }
}
