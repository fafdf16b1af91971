//! URLs that name several servers, and the addresses in them.

use core::fmt;

use percent_encoding::percent_decode_str;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Who speaks to a server.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// A URL that names several servers, taken apart: `[[user]:password@]host[:port][,…][/path][?query]`.
#[derive(Debug)]
pub(super) struct ListUrl {
    pub(super) login: Login,
    pub(super) addresses: Vec<Address>,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
}

impl ListUrl {
    /// Reads what stands behind `scheme://`. An error says what is wrong, and nothing of what is there:
    /// it could be a password.
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
            path: path.split('/').map(decoded).collect::<Result<_, _>>()?,
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(pair)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, String> {
        let (user, password) = text
            .split_once(':')
            .ok_or("a user needs a password: user:password@")?;
        let given =
            |text: &str| decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()));
        let login = Self {
            user: given(user)?,
            password: given(password)?,
        };
        if login.user.is_some() && login.password.is_none() {
            return Err(String::from("a user needs a password: user:password@"));
        }
        Ok(login)
    }

    /// As the client takes it.
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
            "nobody"
        })
    }
}

impl Address {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
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

    /// Reads where a node sends its clients, `host:port`; without a host it is the node's own.
    pub(super) fn of_redirect(text: &str, of_node: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &of_node.host } else { host };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// A client of the server there.
    pub(super) fn client(&self, settings: RedisConnectionInfo) -> Client {
        let info = ConnectionAddr::Tcp(self.host.clone(), self.port).into_connection_info();
        let client = info.and_then(|info| Client::open(info.set_redis_settings(settings)));
        client.expect("an address needs no parsing")
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

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((decoded(name)?, decoded(value)?))
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| String::from("what is percent-encoded is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<String> {
        Address::parse(text, 6379).map(|address| address.to_string())
    }

    #[test]
    fn addresses_of_every_kind() {
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
    fn a_redirect_without_host_stays_on_its_host() {
        let node = Address {
            host: String::from("node"),
            port: 1,
        };
        let redirect = |text| Address::of_redirect(text, &node).map(|address| address.to_string());
        assert_eq!(redirect(":7000").as_deref(), Some("node:7000"));
        assert_eq!(redirect("::1:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(redirect("10.0.0.1:7000").as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(redirect("host"), None);
    }

    #[test]
    fn every_part_is_decoded() {
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
