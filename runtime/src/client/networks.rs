use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

use crate::settings;
use crate::start::{StartError, StartErrors};

/// The networks of trusted proxies, IPv4 and IPv6.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(Vec<IpNet>);

const VARIABLE: &str = "APLOMB_TRUSTED_PROXIES";

const EXPECTED: &str =
    "expected an address or a network in CIDR form, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32";

const ALL_NETWORKS: &str = "the network contains every address, so a client could choose its address: expected the networks of the proxies";

impl Networks {
    /// Parses the argument of `Api::trusted_proxies`.
    pub(crate) fn new(text: &str) -> Result<Self, StartErrors> {
        Self::parse(text, |why| {
            StartError::new(format!("Api::trusted_proxies({text:?}): {why}"))
        })
    }

    /// Reads the setting from the environment. The default is no networks.
    pub(crate) fn from_env() -> Result<Self, StartErrors> {
        settings::variable(VARIABLE)?
            .map_or(Ok(Self::default()), |text| Self::parse_variable(&text))
    }

    fn parse_variable(text: &str) -> Result<Self, StartErrors> {
        Self::parse(text, |why| StartError::variable(VARIABLE, text, why))
    }

    /// Parses `10.0.0.0/8, 192.0.2.7`. Each wrong entry is one error.
    fn parse(text: &str, wrong: impl Fn(String) -> StartError) -> Result<Self, StartErrors> {
        let (mut networks, mut errors) = (Vec::new(), StartErrors::new());
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|_| !text.trim().is_empty())
        {
            match parse_network(entry) {
                Ok(network) => networks.push(network),
                Err(why) => errors.push(wrong(format!("entry `{entry}`: {why}"))),
            }
        }
        errors.into_result().map(|()| Self(networks))
    }

    /// Returns `true` if no proxy is trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a proxy with this address is trusted. The caller must first convert an
    /// IPv4-mapped address to IPv4.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(entry: &str) -> Result<IpNet, String> {
    let Some((first, length)) = entry.split_once('/') else {
        return parse_address(entry).map(|address| IpNet::from(address.to_canonical()));
    };
    let network = parse_address(first)?;
    let max = IpNet::from(network).max_prefix_len();
    let length = parse_prefix_length(length).filter(|length| *length <= max).ok_or_else(|| {
        format!(
            "`/{length}` is not a prefix length of {network}: expected /1 to /{max}, such as {network}/{max}"
        )
    })?;
    let network = as_v4(IpNet::new_assert(network, length));
    let (truncated, address) = (network.trunc(), network.addr());
    if network.prefix_len() == 0 {
        return Err(String::from(ALL_NETWORKS));
    }
    if truncated != network {
        return Err(format!(
            "bits after the prefix are set: expected {truncated} for the network, or {address} for one address"
        ));
    }
    Ok(network)
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<SocketAddr>() {
        Ok(address) => format!("leave out the port: expected {}", address.ip()),
        Err(_) => format!("{EXPECTED}; host names are not supported"),
    })
}

fn parse_prefix_length(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Converts a network of IPv4-mapped addresses to IPv4, because client addresses are also
/// converted.
fn as_v4(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(mapped) => mapped_v4(mapped).unwrap_or(network),
        IpNet::V4(_) => network,
    }
}

fn mapped_v4(network: Ipv6Net) -> Option<IpNet> {
    let address: Ipv4Addr = network.addr().to_ipv4_mapped()?;
    IpNet::new(IpAddr::V4(address), network.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b10_a_network_is_an_address_or_a_cidr_of_either_family() {
        let text =
            " 10.0.0.0/8,192.0.2.7 , 2001:db8::/32,::1, ::ffff:172.16.0.0/108,::ffff:198.51.100.1";
        let networks = Networks::new(text).expect(text);
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::1", true),
            ("::2", false),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("198.51.100.1", true),
        ] {
            assert_eq!(
                networks.contains(address.parse().expect(address)),
                trusted,
                "{address}"
            );
        }
    }

    #[test]
    fn b10_without_entries_no_proxy_is_trusted() {
        for text in ["", " "] {
            assert_eq!(Networks::new(text), Ok(Networks::default()));
        }
    }

    #[test]
    fn b10_the_error_of_a_wrong_entry_lists_what_is_accepted() {
        let expected = format!("{EXPECTED}; host names are not supported");
        for (entry, why) in [
            ("proxy.internal", &*expected),
            ("proxy.internal/8", &expected),
            ("10.0.0", &expected),
            ("010.0.0.1", &expected),
            ("10.0.0.0 /8", &expected),
            ("10.0.0.1 10.0.0.2", &expected),
            ("[::1]", &expected),
            ("fe80::1%eth0", &expected),
            ("/8", &expected),
            ("10.0.0.1:80", "leave out the port: expected 10.0.0.1"),
            (
                "[2001:db8::1]:80",
                "leave out the port: expected 2001:db8::1",
            ),
            (
                "10.0.0.0/33",
                "`/33` is not a prefix length of 10.0.0.0: expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.0/",
                "`/` is not a prefix length of 10.0.0.0: expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.0/+8",
                "`/+8` is not a prefix length of 10.0.0.0: expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "::1/129",
                "`/129` is not a prefix length of ::1: expected /1 to /128, such as ::1/128",
            ),
            (
                "10.0.0.0/255.0.0.0",
                "`/255.0.0.0` is not a prefix length of 10.0.0.0: expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.1/8",
                "bits after the prefix are set: expected 10.0.0.0/8 for the network, or 10.0.0.1 for one address",
            ),
            (
                "2001:db8::1/32",
                "bits after the prefix are set: expected 2001:db8::/32 for the network, or 2001:db8::1 for one address",
            ),
            ("0.0.0.0/0", ALL_NETWORKS),
            ("::ffff:0:0/96", ALL_NETWORKS),
            ("::/0", ALL_NETWORKS),
        ] {
            let error = Networks::parse_variable(entry)
                .expect_err(entry)
                .to_string();
            assert_eq!(
                error,
                format!("APLOMB_TRUSTED_PROXIES=\"{entry}\": entry `{entry}`: {why}")
            );
        }
    }

    #[test]
    fn b10_all_wrong_entries_are_reported_at_once() {
        let errors = Networks::new("a,10.0.0.0/8,,10.0.0.1/8,b")
            .expect_err("wrong")
            .to_string();
        let entries: Vec<&str> = errors
            .lines()
            .filter_map(|line| line.split(": entry ").nth(1))
            .collect();
        assert_eq!(entries.len(), 4, "{errors}");
        for (entry, start) in entries
            .iter()
            .zip(["`a`: ", "``: ", "`10.0.0.1/8`: ", "`b`: "])
        {
            assert!(entry.starts_with(start), "{entry}");
        }
        assert!(errors.starts_with("Api::trusted_proxies(\"a,"), "{errors}");
    }
}
