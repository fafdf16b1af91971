//! The client address behind proxies, as pure functions of the peer, the settings and the request
//! fields. The rules and their reasons are documented at
//! [`policies::rate_limit`](crate::policies::rate_limit#clients-behind-proxies).

mod elements;
mod field;
mod forwarded;
mod networks;
mod node;
mod peer;
mod proxies;
mod rate_limit_prefix;
#[cfg(test)]
mod tests;

pub use field::ForwardedField;
pub(crate) use networks::Networks;
pub(crate) use peer::peer;
pub(crate) use proxies::TrustedProxies;
pub(crate) use rate_limit_prefix::rate_limit_prefix;
