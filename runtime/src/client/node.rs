//! Parses a node as proxies write it (RFC 7239 §6, and the common forms in `X-Forwarded-For`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parses the address in `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]` or
/// `[2001:db8::7]:80`. An IPv4-mapped address becomes IPv4. Port and zone are dropped. Returns
/// `None` for anything else, such as `unknown` or an identifier that hides the address.
pub(super) fn address(node: &str) -> Option<IpAddr> {
    let address = match node.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            is_optional_port(port).then(|| parse_v6(address))??
        }
        None => parse_unbracketed(node)?,
    };
    Some(address.to_canonical())
}

fn parse_unbracketed(node: &str) -> Option<IpAddr> {
    let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
    match address.parse::<Ipv4Addr>() {
        Ok(address) => is_optional_port(port).then_some(IpAddr::V4(address)),
        Err(_) => parse_v6(node),
    }
}

fn parse_v6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty() && zone.bytes().all(is_plain);
    let address: Ipv6Addr = address.parse().ok().filter(|_| is_zone)?;
    Some(IpAddr::V6(address))
}

/// Returns `true` if the text is empty, or a colon and a port. A port is a number of up to 5
/// digits, or an obfuscated port such as `_a1` (RFC 7239 §6.3).
fn is_optional_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    match port.strip_prefix('_') {
        Some(hidden) => !hidden.is_empty() && hidden.bytes().all(is_plain),
        None => {
            port.len() <= 5
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok()
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-~".contains(&byte)
}
