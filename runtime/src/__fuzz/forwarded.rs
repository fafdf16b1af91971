use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::client::{ForwardedField, Networks, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a trusted proxy appends.
const CLIENT: &str = "203.0.113.7";

/// Checks the parser of forwarded fields. Each line of `data` is a field value that a client sends.
///
/// If the peer is not trusted, the client address must be the peer's address. If a trusted proxy
/// has appended an address, the client address must be the appended address.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(4).collect();
    for (field, name, appended) in [
        (
            ForwardedField::XForwardedFor,
            X_FORWARDED_FOR,
            ["203.0.113.7", "[::ffff:203.0.113.7]:80"],
        ),
        (
            ForwardedField::Forwarded,
            FORWARDED,
            ["for=203.0.113.7", "by=\"a,\\\"\";For=\"203.0.113.7:80\""],
        ),
    ] {
        let networks = Networks::new("10.0.0.0/8").expect("a network");
        let proxies = TrustedProxies::new(networks, field);
        let client_address = |peer: [u8; 4], lines: &[Vec<u8>]| {
            fields(&name, lines).map(|fields| proxies.client(IpAddr::from(peer), &fields))
        };
        let owned: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        client_address([10, 0, 0, 1], &owned);
        if let Some(address) = client_address([192, 0, 2, 1], &owned) {
            assert_eq!(address.to_string(), "192.0.2.1", "the peer is not trusted");
        }
        for element in appended {
            for lines in [same_line(&lines, element), another_line(&lines, element)] {
                if let Some(address) = client_address([10, 0, 0, 1], &lines) {
                    assert_eq!(address.to_string(), CLIENT, "{field:?}: {lines:?}");
                }
            }
        }
    }
}

/// Returns the lines as header fields; `None` if a line is not a valid field value.
fn fields(name: &HeaderName, lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(fields)
}

fn same_line(lines: &[&[u8]], element: &str) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    if let Some(last) = lines.last_mut() {
        last.extend_from_slice(b", ");
        last.extend_from_slice(element.as_bytes());
    }
    lines
}

fn another_line(lines: &[&[u8]], element: &str) -> Vec<Vec<u8>> {
    let lines = lines.iter().map(|line| line.to_vec());
    lines.chain([element.as_bytes().to_vec()]).collect()
}
