use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::elements::MAX_BYTES;
use super::proxies::MAX_HOPS;
use super::{ForwardedField, Networks, TrustedProxies};

const PEER: &str = "10.0.0.1";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = http::header::FORWARDED;

fn proxies(field: ForwardedField) -> TrustedProxies {
    let networks = Networks::new("10.0.0.0/8, 192.0.2.1, 2001:db8:ffff::/48").expect("networks");
    TrustedProxies::new(networks, field)
}

fn headers(lines: &[(&HeaderName, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, line) in lines {
        headers.append(*name, HeaderValue::from_bytes(line).expect("a field"));
    }
    headers
}

fn client_of(field: ForwardedField, peer: &str, headers: &HeaderMap) -> String {
    proxies(field)
        .client(peer.parse().expect("a peer"), headers)
        .to_string()
}

/// Returns the client behind a trusted peer with these lines of the field.
fn client_behind_proxy(field: ForwardedField, lines: &[&str]) -> String {
    let name = field.name();
    let lines: Vec<_> = lines.iter().map(|line| (&name, line.as_bytes())).collect();
    client_of(field, PEER, &headers(&lines))
}

fn check(field: ForwardedField, rows: &[(&[&str], &str)]) {
    for (lines, client) in rows {
        assert_eq!(client_behind_proxy(field, lines), *client, "{lines:?}");
    }
}

#[test]
fn b10_the_client_is_the_first_untrusted_hop_of_x_forwarded_for() {
    check(
        ForwardedField::XForwardedFor,
        &[
            (&[], PEER),
            (&[""], PEER),
            (&["203.0.113.7"], "203.0.113.7"),
            (&["  203.0.113.7\t"], "203.0.113.7"),
            // The client's own entries are to the left of the entry that the proxy has appended.
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1,203.0.113.7"], "203.0.113.7"),
            (&["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
            (&["unknown, nonsense, 203.0.113.7"], "203.0.113.7"),
            (&["\"198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            // The chain has several trusted hops, of both families.
            (
                &["198.51.100.1, 203.0.113.7, 10.0.0.2, 192.0.2.1"],
                "203.0.113.7",
            ),
            (&["203.0.113.7, 2001:db8:ffff::5, 10.0.0.2"], "203.0.113.7"),
            (&["2001:db8::7, 10.0.0.2"], "2001:db8::7"),
            // If all hops are trusted, the leftmost hop is the client.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // All lines form one list. The last line is from the nearest proxy.
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            (&["203.0.113.7, 10.0.0.3", "", "10.0.0.2"], "203.0.113.7"),
            // Empty elements are ignored.
            (&["203.0.113.7,,"], "203.0.113.7"),
            (&[", ,203.0.113.7 , , 10.0.0.2,"], "203.0.113.7"),
            (&[",,,"], PEER),
            // A hop can have a port, brackets and a zone.
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["2001:DB8::7"], "2001:db8::7"),
            (&["fe80::1%eth0"], "fe80::1"),
            (&["[fe80::1%25eth0.1]:80"], "fe80::1"),
            (&["203.0.113.7, 10.0.0.2:65535"], "203.0.113.7"),
            // IPv4-mapped addresses are converted to IPv4, whether they are trusted or not.
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
            (&["[::ffff:cb00:7107]:1"], "203.0.113.7"),
            // If a hop before the client is invalid, the peer is used.
            (&["unknown"], PEER),
            (&["_hidden"], PEER),
            (&["203.0.113.7, unknown"], PEER),
            (&["203.0.113.7, _hidden, 10.0.0.2"], PEER),
            (&["203.0.113.7, 10.0.0"], PEER),
            (&["203.0.113.7 10.0.0.2"], PEER),
            (&["203.0.113.7, 010.0.0.2"], PEER),
            (&["203.0.113.7, 10.0.0.2:"], PEER),
            (&["203.0.113.7, 10.0.0.2:65536"], PEER),
            (&["203.0.113.7:+80"], PEER),
            (&["203.0.113.7:000080"], PEER),
            (&["203.0.113.7%eth0"], PEER),
            (&["[203.0.113.7]"], PEER),
            (&["[2001:db8::7"], PEER),
            (&["[2001:db8::7]80"], PEER),
            (&["[]"], PEER),
            (&["fe80::1%"], PEER),
            (&["fe80::1%a b"], PEER),
            (&["\"203.0.113.7\""], PEER),
            (&["for=203.0.113.7"], PEER),
            (&["::ffff:203.0.113.256"], PEER),
            (&["client.example"], PEER),
            (&["203.0.113.7;10.0.0.2"], PEER),
        ],
    );
}

#[test]
fn b10_the_client_is_the_first_untrusted_hop_of_forwarded() {
    check(
        ForwardedField::Forwarded,
        &[
            (&[], PEER),
            (&["for=203.0.113.7"], "203.0.113.7"),
            (&["For=203.0.113.7"], "203.0.113.7"),
            (
                &["proto=https;FOR=\"203.0.113.7\";by=10.0.0.1"],
                "203.0.113.7",
            ),
            (
                &["for=198.51.100.1, for=203.0.113.7;proto=http"],
                "203.0.113.7",
            ),
            (
                &["for=198.51.100.1", "for=203.0.113.7, for=10.0.0.2"],
                "203.0.113.7",
            ),
            (&["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            (
                &["for=\"[2001:db8::7]\", for=\"[2001:db8:ffff::2]:1\", for=10.0.0.3"],
                "2001:db8::7",
            ),
            (&["for=\"203.0.113.7:_hidden\""], "203.0.113.7"),
            (&["for=\"[fe80::1%eth0]\""], "fe80::1"),
            (&["for=\"[::ffff:203.0.113.7]\""], "203.0.113.7"),
            (&["for=10.0.0.3, for=10.0.0.2"], "10.0.0.3"),
            // Quoted strings can contain escapes and separators.
            (&[r#"for="\2\0\3.0.113.7""#], "203.0.113.7"),
            (
                &[r#"host="a, for=198.51.100.1; \"b\\";for=203.0.113.7"#],
                "203.0.113.7",
            ),
            (
                &[r#"for=203.0.113.7;host="\", for=198.51.100.1""#],
                "203.0.113.7",
            ),
            // An unclosed quote in the client's entry does not hide the proxy's entry.
            (&["for=\"198.51.100.1, for=203.0.113.7"], "203.0.113.7"),
            (&["for=\"198.51.100.1", "for=203.0.113.7"], "203.0.113.7"),
            (
                &["for=\"198.51.100.1\\, for=\"203.0.113.7\""],
                "203.0.113.7",
            ),
            // These are common deviations of proxies from the RFC.
            (&["for=203.0.113.7:80; proto=http ;"], "203.0.113.7"),
            (
                &["for=[2001:db8::7]:80;host=example.org:443"],
                "2001:db8::7",
            ),
            (&[";;for=203.0.113.7"], "203.0.113.7"),
            (&["for=203.0.113.7, ,"], "203.0.113.7"),
            // If a hop before the client is invalid, the peer is used.
            (&["for=203.0.113.7, for=unknown"], PEER),
            (&["for=203.0.113.7, for=_hidden"], PEER),
            (&["for=203.0.113.7, for=\"_hidden:80\""], PEER),
            (&["for=203.0.113.7, proto=https"], PEER),
            (&["for=203.0.113.7, ;"], PEER),
            (&["for=203.0.113.7;for=203.0.113.8"], PEER),
            (&["for = 203.0.113.7"], PEER),
            (&["for=203.0.113.7 proto=http"], PEER),
            (&["for="], PEER),
            (&["for"], PEER),
            (&["=203.0.113.7"], PEER),
            (&["for=\"\""], PEER),
            (&["for=\"203.0.113.7"], PEER),
            (&["for=203.0.113.7\""], PEER),
            (&[r#"for="203.0.113.7\""#], PEER),
            (&["for=\"203.0.113.7\"x"], PEER),
            (&["for=\"203.0.113.7\";\u{e9}=1"], PEER),
            (&["203.0.113.7"], PEER),
        ],
    );
}

#[test]
fn b10_only_the_configured_field_is_read() {
    let both = headers(&[
        (&FORWARDED, b"for=198.51.100.1"),
        (&X_FORWARDED_FOR, b"203.0.113.7"),
    ]);
    assert_eq!(
        client_of(ForwardedField::default(), PEER, &both),
        "203.0.113.7"
    );
    assert_eq!(
        client_of(ForwardedField::Forwarded, PEER, &both),
        "198.51.100.1"
    );
    let other = headers(&[(&FORWARDED, b"for=198.51.100.1")]);
    assert_eq!(client_of(ForwardedField::default(), PEER, &other), PEER);
}

#[test]
fn b10_an_untrusted_peer_is_the_client() {
    let headers = headers(&[(&X_FORWARDED_FOR, b"203.0.113.7")]);
    for (peer, client) in [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.7"),
        ("::ffff:10.0.0.1", "203.0.113.7"),
        ("2001:db8:ffff::1", "203.0.113.7"),
    ] {
        assert_eq!(
            client_of(ForwardedField::default(), peer, &headers),
            client,
            "{peer}"
        );
    }
    let no_proxies = TrustedProxies::default();
    assert_eq!(
        no_proxies
            .client(PEER.parse().expect("a peer"), &headers)
            .to_string(),
        PEER
    );
}

#[test]
fn b10_invalid_utf_8_before_the_client_falls_back_to_the_peer() {
    let field = ForwardedField::default();
    assert_eq!(
        client_of(
            field,
            PEER,
            &headers(&[(&X_FORWARDED_FOR, b"203.0.113.7, \xff")])
        ),
        PEER
    );
    assert_eq!(
        client_of(
            field,
            PEER,
            &headers(&[(&X_FORWARDED_FOR, b"\xff, 203.0.113.7")])
        ),
        "203.0.113.7"
    );
}

#[test]
fn b10_hops_and_bytes_beyond_the_limits_are_not_read() {
    let field = ForwardedField::default();
    let trusted = |count: usize| vec!["10.0.0.2"; count].join(",");
    // Entries that the client sent, on the left, have no effect.
    assert_eq!(
        client_behind_proxy(field, &[&format!("{},203.0.113.7", trusted(5_000))]),
        "203.0.113.7"
    );
    assert_eq!(
        client_behind_proxy(field, &[&"1.1.1.1,".repeat(5_000), "203.0.113.7"]),
        "203.0.113.7"
    );
    // Hops beyond the limit are not read.
    let chain = |count| client_behind_proxy(field, &[&format!("203.0.113.7,{}", trusted(count))]);
    assert_eq!(
        (&*chain(MAX_HOPS - 1), &*chain(MAX_HOPS), &*chain(5_000)),
        ("203.0.113.7", "10.0.0.2", "10.0.0.2")
    );
    // The limit of bytes applies to all lines together. A truncated element is ignored.
    let padded = |bytes: usize| " ".repeat(bytes);
    let client_after = |bytes| {
        client_behind_proxy(
            field,
            &["203.0.113.7", &format!("10.0.0.2{}", padded(bytes))],
        )
    };
    let available = MAX_BYTES - "203.0.113.7".len() - "10.0.0.2".len();
    assert_eq!(
        (&*client_after(available), &*client_after(available + 1)),
        ("203.0.113.7", "10.0.0.2")
    );
    assert_eq!(
        client_behind_proxy(field, &[&format!("203.0.113.7{}", padded(MAX_BYTES))]),
        PEER
    );
    let open = format!("for=203.0.113.7;host={}\"", "\\\"".repeat(MAX_BYTES));
    assert_eq!(
        client_behind_proxy(ForwardedField::Forwarded, &[&open]),
        PEER
    );
}

/// Generates a text that a client sends: separators, addresses, and arbitrary bytes.
fn client_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[ ,;=\"\\\\\t:%\\[\\]]{1,3}".prop_map(String::into_bytes),
        "(for=)?\"?(10\\.0\\.0\\.[0-9]|198\\.51\\.100\\.1|\\[2001:db8::[0-9]\\]|unknown|_x)\"?"
            .prop_map(String::into_bytes),
        prop::collection::vec(prop_oneof![32..=126_u8, 128..=255_u8], 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn address() -> impl Strategy<Value = IpAddr> {
    let any = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<u8>().prop_map(|last| IpAddr::from([203, 0, 113, last])),
    ];
    let trusted = proxies(ForwardedField::default()).networks;
    any.prop_map(|address| address.to_canonical())
        .prop_filter("an untrusted client", move |address| {
            !trusted.contains(*address)
        })
}

/// Formats an address as a proxy does.
fn proxy_entry(field: ForwardedField, address: IpAddr, style: u8) -> String {
    let port = ["", ":4711"][usize::from(style & 1)];
    let node = match address {
        IpAddr::V4(address) => format!("{address}{port}"),
        IpAddr::V6(address) => format!("[{address}]{port}"),
    };
    match field {
        ForwardedField::XForwardedFor => node,
        ForwardedField::Forwarded if style & 2 == 0 => format!("for=\"{node}\";proto=https"),
        ForwardedField::Forwarded => format!("proto=https;host=\"a, \\\"b\\\"\";For=\"{node}\""),
    }
}

/// Appends an element to the last line, or adds a line.
fn append(lines: &mut Vec<Vec<u8>>, element: &str, new_line: bool) {
    match lines.last_mut().filter(|_| !new_line) {
        Some(last) => last.extend_from_slice(format!(", {element}").as_bytes()),
        None => lines.push(element.as_bytes().to_vec()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn b10_a_client_cannot_change_what_trusted_proxies_append(
        mut lines in prop::collection::vec(client_text(), 0..3),
        other in client_text(),
        client in address(),
        trusted in prop::collection::vec((0..3_usize, any::<u8>()), 0..6),
        style in any::<u8>(),
        forwarded in any::<bool>(),
    ) {
        let [mut field, mut unset] = [ForwardedField::XForwardedFor, ForwardedField::Forwarded];
        if forwarded {
            core::mem::swap(&mut field, &mut unset);
        }
        append(&mut lines, &proxy_entry(field, client, style), style & 4 == 0);
        for (which, style) in trusted {
            let proxy: IpAddr = ["10.1.2.3", "192.0.2.1", "2001:db8:ffff::1"][which].parse().expect("a proxy");
            append(&mut lines, &proxy_entry(field, proxy, style), style & 4 == 0);
        }
        let (name, unset) = (field.name(), unset.name());
        let mut all: Vec<_> = lines.iter().map(|line| (&name, line.as_slice())).collect();
        all.push((&unset, &other));
        prop_assert_eq!(client_of(field, PEER, &headers(&all)), client.to_string());
    }

    #[test]
    fn b10_every_field_value_results_in_an_address(lines in prop::collection::vec(client_text(), 0..4), forwarded in any::<bool>()) {
        let field = if forwarded { ForwardedField::Forwarded } else { ForwardedField::XForwardedFor };
        let name = field.name();
        let lines: Vec<_> = lines.iter().map(|line| (&name, line.as_slice())).collect();
        let headers = headers(&lines);
        client_of(field, PEER, &headers);
        prop_assert_eq!(client_of(field, "203.0.113.9", &headers), "203.0.113.9");
    }
}
