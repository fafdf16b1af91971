use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};

/// The address of whoever sent the request, where the server tells it.
pub(crate) fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}
