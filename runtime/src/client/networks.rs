use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

use crate::settings;
use crate::start::{StartError, StartErrors};

/// The networks of trusted proxies, of both families.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks(Vec<IpNet>);

const VARIABLE: &str = "APLOMB_TRUSTED_PROXIES";

const FORM: &str =
    "expected an address or a network in CIDR form, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32";

const ALL_NETWORKS: &str = "it trusts everybody, so that each client could choose its address; expected the networks of the proxies";

impl Networks {
    /// What `Api::trusted_proxies` says.
    pub(crate) fn new(text: &str) -> Result<Self, StartErrors> {
        Self::parse(text, |why| {
            StartError::new(format!("Api::trusted_proxies({text:?}): {why}"))
        })
    }

    /// What the environment says; none where it says nothing.
    pub(crate) fn from_env() -> Result<Self, StartErrors> {
        settings::variable(VARIABLE)?.map_or(Ok(Self::default()), |text| Self::variable(&text))
    }

    fn variable(text: &str) -> Result<Self, StartErrors> {
        Self::parse(text, |why| StartError::variable(VARIABLE, text, why))
    }

    /// Reads `10.0.0.0/8, 192.0.2.7`. Each wrong entry is one error.
    fn parse(text: &str, wrong: impl Fn(String) -> StartError) -> Result<Self, StartErrors> {
        let (mut networks, mut errors) = (Vec::new(), StartErrors::new());
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|_| !text.trim().is_empty())
        {
            match network(entry) {
                Ok(network) => networks.push(network),
                Err(why) => errors.push(wrong(format!("entry `{entry}`: {why}"))),
            }
        }
        errors.into_result().map(|()| Self(networks))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a proxy of this address is trusted. IPv4-mapped addresses must come as IPv4.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(entry: &str) -> Result<IpNet, String> {
    let Some((first, length)) = entry.split_once('/') else {
        return address(entry).map(|address| IpNet::from(address.to_canonical()));
    };
    let network = address(first)?;
    let most = IpNet::from(network).max_prefix_len();
    let length = prefix_length(length).filter(|length| *length <= most).ok_or_else(|| {
        format!(
            "`/{length}` is no prefix length of {network}; expected /1 to /{most}, such as {network}/{most}"
        )
    })?;
    let network = as_v4(IpNet::new_assert(network, length));
    let (first, single) = (network.trunc(), network.addr());
    if network.prefix_len() == 0 {
        return Err(String::from(ALL_NETWORKS));
    }
    if first != network {
        return Err(format!(
            "bits behind the prefix are set; expected {first} for the network, or {single} for one address"
        ));
    }
    Ok(network)
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<SocketAddr>() {
        Ok(address) => format!("proxies have no port here; expected {}", address.ip()),
        Err(_) => format!("{FORM}; names are not looked up"),
    })
}

fn prefix_length(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A network of IPv4-mapped addresses as IPv4, as which its addresses come.
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
    fn b10_networks_are_addresses_and_cidrs_of_both_families() {
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
                networks.contain(address.parse().expect(address)),
                trusted,
                "{address}"
            );
        }
    }

    #[test]
    fn b10_without_entries_nobody_is_trusted() {
        for text in ["", " "] {
            assert_eq!(Networks::new(text), Ok(Networks::default()));
        }
    }

    #[test]
    fn b10_every_wrong_entry_says_what_is_accepted() {
        let form = format!("{FORM}; names are not looked up");
        for (entry, why) in [
            ("proxy.internal", &*form),
            ("proxy.internal/8", &form),
            ("10.0.0", &form),
            ("010.0.0.1", &form),
            ("10.0.0.0 /8", &form),
            ("10.0.0.1 10.0.0.2", &form),
            ("[::1]", &form),
            ("fe80::1%eth0", &form),
            ("/8", &form),
            (
                "10.0.0.1:80",
                "proxies have no port here; expected 10.0.0.1",
            ),
            (
                "[2001:db8::1]:80",
                "proxies have no port here; expected 2001:db8::1",
            ),
            (
                "10.0.0.0/33",
                "`/33` is no prefix length of 10.0.0.0; expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.0/",
                "`/` is no prefix length of 10.0.0.0; expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.0/+8",
                "`/+8` is no prefix length of 10.0.0.0; expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "::1/129",
                "`/129` is no prefix length of ::1; expected /1 to /128, such as ::1/128",
            ),
            (
                "10.0.0.0/255.0.0.0",
                "`/255.0.0.0` is no prefix length of 10.0.0.0; expected /1 to /32, such as 10.0.0.0/32",
            ),
            (
                "10.0.0.1/8",
                "bits behind the prefix are set; expected 10.0.0.0/8 for the network, or 10.0.0.1 for one address",
            ),
            (
                "2001:db8::1/32",
                "bits behind the prefix are set; expected 2001:db8::/32 for the network, or 2001:db8::1 for one address",
            ),
            ("0.0.0.0/0", ALL_NETWORKS),
            ("::ffff:0:0/96", ALL_NETWORKS),
            ("::/0", ALL_NETWORKS),
        ] {
            let error = Networks::variable(entry).expect_err(entry).to_string();
            assert_eq!(
                error,
                format!("APLOMB_TRUSTED_PROXIES=\"{entry}\": entry `{entry}`: {why}")
            );
        }
    }

    #[test]
    fn b10_all_wrong_entries_are_said_at_once() {
        let errors = Networks::new("a,10.0.0.0/8,,10.0.0.1/8,b")
            .expect_err("wrong")
            .to_string();
        let said: Vec<&str> = errors
            .lines()
            .filter_map(|line| line.split(": entry ").nth(1))
            .collect();
        assert_eq!(said.len(), 4, "{errors}");
        for (said, start) in said
            .iter()
            .zip(["`a`: ", "``: ", "`10.0.0.1/8`: ", "`b`: "])
        {
            assert!(said.starts_with(start), "{said}");
        }
        assert!(errors.starts_with("Api::trusted_proxies(\"a,"), "{errors}");
    }
}
