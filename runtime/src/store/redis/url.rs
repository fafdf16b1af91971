//! URLs that name several servers, and the addresses in them.

use core::fmt;

use percent_encoding::percent_decode_str;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

/// The host and the port of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// The user and the password for a server.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// The parts of a URL that names several servers:
/// `[[user]:password@]host[:port][,…][/path][?query]`.
#[derive(Debug)]
pub(super) struct ListUrl {
    pub(super) login: Login,
    pub(super) addresses: Vec<Address>,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
}

impl ListUrl {
    /// Parses the part of a URL after `scheme://`. The error says what is wrong. It contains no
    /// part of the URL, because any part may be a password.
    pub(super) fn parse(rest: &str, default_port: u16) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, rest) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address =
            |text| Address::parse(text, default_port).ok_or("a host or its port is malformed");
        Ok(Self {
            login: login.map_or_else(|| Ok(Login::default()), Login::parse)?,
            addresses: hosts.split(',').map(address).collect::<Result<_, _>>()?,
            path: path
                .split('/')
                .map(percent_decode)
                .collect::<Result<_, _>>()?,
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(query_pair)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, String> {
        let (user, password) = text
            .split_once(':')
            .ok_or("a user needs a password: user:password@")?;
        let decode = |text: &str| {
            percent_decode(text).map(|text| Some(text).filter(|text| !text.is_empty()))
        };
        let login = Self {
            user: decode(user)?,
            password: decode(password)?,
        };
        if login.user.is_some() && login.password.is_none() {
            return Err(String::from("a user needs a password: user:password@"));
        }
        Ok(login)
    }

    /// Returns the login in the form of the Redis client.
    pub(super) fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        match &self.password {
            Some(password) => settings.set_password(password),
            None => settings,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() {
            "…"
        } else {
            "no password"
        })
    }
}

impl Address {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port {
            "" => default_port,
            port => port
                .strip_prefix(':')?
                .parse()
                .ok()
                .filter(|port| *port != 0)?,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        (!host.is_empty() && host.chars().all(plain)).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    /// Parses the `host:port` to which a node redirects a call. If the host is missing, it is the
    /// host of `node`.
    pub(super) fn from_redirect(text: &str, node: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &node.host } else { host };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Creates a client of the server at this address.
    pub(super) fn client(&self, settings: RedisConnectionInfo) -> Client {
        let info = ConnectionAddr::Tcp(self.host.clone(), self.port).into_connection_info();
        let client = info.and_then(|info| Client::open(info.set_redis_settings(settings)));
        client.expect("a host and a port need no parsing")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

fn query_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((percent_decode(name)?, percent_decode(value)?))
}

fn percent_decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| String::from("the percent-encoded bytes are not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<String> {
        Address::parse(text, 6379).map(|address| address.to_string())
    }

    #[test]
    fn an_address_is_a_host_or_an_ipv6_address_with_an_optional_port() {
        for (text, expected) in [
            ("host", "host:6379"),
            ("a-b_c.example:7000", "a-b_c.example:7000"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[::1]", "[::1]:6379"),
            ("[fe80::1%eth0]:7000", "[fe80::1%eth0]:7000"),
        ] {
            assert_eq!(address(text).as_deref(), Some(expected));
        }
        for wrong in [
            "",
            ":1",
            "host:",
            "host:0",
            "host:65536",
            "host:port",
            "[::1",
            "[::1]7",
            "::1",
            "a b",
            "[]",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_redirect_without_a_host_leads_to_the_host_of_the_node() {
        let node = Address {
            host: String::from("node"),
            port: 1,
        };
        let redirect =
            |text| Address::from_redirect(text, &node).map(|address| address.to_string());
        assert_eq!(redirect(":7000").as_deref(), Some("node:7000"));
        assert_eq!(redirect("::1:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(redirect("10.0.0.1:7000").as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(redirect("host"), None);
    }

    #[test]
    fn every_part_of_a_url_is_percent_decoded() {
        let url = ListUrl::parse("me%40:pa%2Fss@a,b:7/na%20me/2?sentinel_password=x%26y+z", 1)
            .expect("a URL");
        assert_eq!(
            (url.login.user.as_deref(), url.login.password.as_deref()),
            (Some("me@"), Some("pa/ss"))
        );
        assert_eq!(
            url.addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["a:1", "b:7"]
        );
        assert_eq!(url.path, ["na me", "2"]);
        assert_eq!(
            url.query,
            [(String::from("sentinel_password"), String::from("x&y+z"))]
        );
        assert!(!format!("{:?}", url.login).contains("ss"));
    }
}
