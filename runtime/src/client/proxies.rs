use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use super::elements::elements;
use super::field::ForwardedField;
use super::networks::Networks;
use super::{forwarded, node};

/// The trusted proxies, and the field in which they send the address of their client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies {
    pub(super) networks: Networks,
    field: ForwardedField,
}

/// The maximum number of hops that are read, from the right. Real chains have only a few hops.
pub(super) const MAX_HOPS: usize = 100;

impl TrustedProxies {
    pub(crate) fn new(networks: Networks, field: ForwardedField) -> Self {
        Self { networks, field }
    }

    /// Returns whether no proxy is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Returns whether a peer is a trusted proxy.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.networks.contains(peer.to_canonical())
    }

    /// Returns the client address. This is the peer's address, unless the peer is a trusted proxy
    /// that sends another address.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.networks.contains(peer) {
            return peer;
        }
        self.forwarded_client(headers).unwrap_or(peer)
    }

    /// Reads the hops from right to left, and returns the first untrusted hop. If all hops are
    /// trusted, returns the last hop that was read. Returns `None` if there are no hops, or if an
    /// invalid hop comes first.
    fn forwarded_client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers
            .get_all(self.field.name())
            .iter()
            .rev()
            .map(HeaderValue::as_bytes);
        let mut last = None;
        for element in elements(lines, self.field.has_quoting()).take(MAX_HOPS) {
            let address = self.parse_hop(element)?;
            if !self.networks.contains(address) {
                return Some(address);
            }
            last = Some(address);
        }
        last
    }

    fn parse_hop(&self, element: &[u8]) -> Option<IpAddr> {
        let element = str::from_utf8(element).ok()?;
        match self.field {
            ForwardedField::XForwardedFor => node::address(element),
            ForwardedField::Forwarded => forwarded::client_of(element),
        }
    }
}
