//! What a server tells of itself, and what of that keeps a service from starting.

use std::collections::HashMap;

/// The answer of `INFO`.
#[derive(Debug)]
pub(super) struct Info<'a>(HashMap<&'a str, &'a str>);

/// What was found out about a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What keeps a service from starting.
    pub(super) errors: Vec<String>,
    /// What an operator should know.
    pub(super) warnings: Vec<String>,
}

const MIN_VERSION: u32 = 7;

impl<'a> Info<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.trim_end().split_once(':'))
                .collect(),
        )
    }

    fn field(&self, field: &str, value: &str) -> bool {
        self.0.get(field) == Some(&value)
    }

    fn version(&self) -> Option<(&'a str, u32)> {
        let version = self.0.get("redis_version")?;
        Some((version, version.split('.').next()?.parse().ok()?))
    }

    /// The policy by which a full server makes room, if it does.
    fn evicts(&self) -> Option<&'a str> {
        let bounded = !matches!(self.0.get("maxmemory"), None | Some(&"0"));
        let policy = self
            .0
            .get("maxmemory_policy")
            .filter(|policy| bounded && **policy != "noeviction");
        policy.copied()
    }

    /// Whether a log of all writes is kept.
    pub(super) fn keeps_a_log(&self) -> bool {
        self.field("aof_enabled", "1")
    }
}

/// Judges a server, which should be a node of a cluster or not.
pub(super) fn inspect(info: &Info<'_>, is_node: bool, accept_eviction: bool) -> Findings {
    let mut found = Findings::default();
    match info.version() {
        None => found
            .errors
            .push(String::from("this server tells no version; is it a Redis?")),
        Some((version, major)) if major < MIN_VERSION => {
            found.errors.push(format!(
                "Redis {version} is too old; {MIN_VERSION} or newer is needed"
            ));
        }
        Some(_) => {}
    }
    if info.field("redis_mode", "cluster") && !is_node {
        found.errors.push(String::from(
            "this is a node of a Redis Cluster; name it with redis+cluster://host[:port][,host[:port]…]",
        ));
    }
    if info.field("redis_mode", "sentinel") {
        found.errors.push(String::from(
            "this is a Sentinel; name it with redis+sentinel://host[:port][,host[:port]…]/<name of the primary>",
        ));
    }
    if info.field("role", "slave") {
        found.errors.push(String::from(
            "this is a read-only replica; name its primary",
        ));
    }
    if let Some(policy) = info.evicts() {
        let evicts = format!(
            "this server evicts records when its memory is full (maxmemory-policy {policy})"
        );
        if accept_eviction {
            found.warnings.push(format!(
                "{evicts}: a retry of an evicted key has a second effect"
            ));
        } else {
            found.errors.push(format!(
                "{evicts}, so that a retry could have a second effect; set noeviction, or accept it with \
                 APLOMB_STORE_EVICTION=accept"
            ));
        }
    }
    found
}

/// What a crash of the server loses, where that is anything. `settings` are what `CONFIG GET` tells,
/// if it may.
pub(super) fn persistence(info: &Info<'_>, settings: &HashMap<String, String>) -> Option<String> {
    let setting = |name: &str| settings.get(name).map(String::as_str);
    let loses = match (info.keeps_a_log(), setting("save"), setting("appendfsync")) {
        (true, _, Some("always")) => return None,
        (true, ..) => "the last seconds of its log (appendfsync is not always)",
        (false, Some(""), _) => "everything it holds (appendonly no, no snapshots)",
        (false, ..) => "all since its last snapshot (appendonly no)",
    };
    Some(format!(
        "a crash of the store loses {loses}, and a retry of a key that was lost has a second effect; appendonly yes and \
         appendfsync always lose nothing"
    ))
}

/// What a node that fails takes with it, where that is more than it must be.
pub(super) fn coverage(settings: &HashMap<String, String>) -> Option<&'static str> {
    let needs_all = settings
        .get("cluster-require-full-coverage")
        .is_some_and(|setting| setting == "yes");
    needs_all.then_some(
        "while one node fails over, all nodes of this cluster refuse; cluster-require-full-coverage no lets the others \
         go on",
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
    fn a_good_server_is_good() {
        assert_eq!(
            inspect(&Info::parse(GOOD), false, false),
            Findings::default()
        );
    }

    #[test]
    fn each_fault_is_one_line() {
        let cases = [
            ("7.2.4", "6.2.14", "Redis 6.2.14 is too old"),
            ("redis_version", "other", "tells no version"),
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
    fn a_node_belongs_to_a_cluster() {
        let node = GOOD.replace("standalone", "cluster");
        assert_eq!(
            inspect(&Info::parse(&node), true, false),
            Findings::default()
        );
    }

    #[test]
    fn a25_eviction_matters_where_memory_is_bounded() {
        assert!(errors("noeviction", "allkeys-lru").is_empty(), "no bound");
        assert!(
            errors("maxmemory:0", "maxmemory:100").is_empty(),
            "it refuses instead"
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
    fn a_cluster_that_stops_as_a_whole_is_warned_of() {
        let setting = |value: &str| {
            HashMap::from([(
                String::from("cluster-require-full-coverage"),
                value.to_owned(),
            )])
        };
        assert!(coverage(&setting("yes")).is_some());
        assert_eq!(
            (coverage(&setting("no")), coverage(&HashMap::new())),
            (None, None)
        );
    }

    #[test]
    fn a25_what_a_crash_loses_is_said() {
        let without_log = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        let warning = |info: &str, settings: &[(&str, &str)]| {
            let settings = settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            persistence(&Info::parse(info), &settings.collect()).unwrap_or_default()
        };
        assert_eq!(
            warning(GOOD, &[("save", ""), ("appendfsync", "always")]),
            ""
        );
        assert!(warning(GOOD, &[("appendfsync", "everysec")]).contains("the last seconds"));
        assert!(
            warning(GOOD, &[]).contains("the last seconds"),
            "managed servers do not tell"
        );
        assert!(warning(&without_log, &[("save", "")]).contains("everything"));
        assert!(warning(&without_log, &[("save", "3600 1")]).contains("its last snapshot"));
        assert!(warning(&without_log, &[]).contains("its last snapshot"));
    }
}
