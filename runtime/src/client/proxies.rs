use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use super::elements::elements;
use super::field::ForwardedField;
use super::networks::Networks;
use super::{forwarded, node};

/// The proxies whose word is taken, and the field in which they give it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies {
    pub(super) networks: Networks,
    field: ForwardedField,
}

/// Hops that are looked at, from the right.
pub(super) const MAX_HOPS: usize = 100;

impl TrustedProxies {
    pub(crate) fn new(networks: Networks, field: ForwardedField) -> Self {
        Self { networks, field }
    }

    /// Whether nobody's word is taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether the word of a peer is taken.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.networks.contain(peer.to_canonical())
    }

    /// The client's address: the peer's, unless that is a trusted proxy that tells another.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.networks.contain(peer) {
            return peer;
        }
        self.forwarded_client(headers).unwrap_or(peer)
    }

    /// The first hop from the right that is not trusted, else the leftmost that was looked at;
    /// `None` without hops, and where one on the way cannot be read.
    fn forwarded_client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers
            .get_all(self.field.name())
            .iter()
            .rev()
            .map(HeaderValue::as_bytes);
        let mut last = None;
        for element in elements(lines, self.field.has_quoting()).take(MAX_HOPS) {
            let address = self.hop(element)?;
            if !self.networks.contain(address) {
                return Some(address);
            }
            last = Some(address);
        }
        last
    }

    fn hop(&self, element: &[u8]) -> Option<IpAddr> {
        let element = str::from_utf8(element).ok()?;
        match self.field {
            ForwardedField::XForwardedFor => node::address(element),
            ForwardedField::Forwarded => forwarded::hop(element),
        }
    }
}
