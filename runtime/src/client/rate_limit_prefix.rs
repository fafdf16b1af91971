use std::net::{IpAddr, Ipv6Addr};

/// Returns the address by which requests are counted. An IPv4-mapped address is converted to IPv4.
/// An IPv6 address is reduced to its /64 network, which is usually assigned to one customer.
pub(crate) fn rate_limit_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b10_ipv6_addresses_are_counted_by_their_64_network() {
        let prefix = |text: &str| rate_limit_prefix(text.parse().expect("an address")).to_string();
        assert_eq!(prefix("192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
