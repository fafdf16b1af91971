//! The pipeline of a request: the stages of its endpoint in their [`order`], then its handler.

mod admission;
mod detach;
mod finalize;
mod handle;
mod mount;
mod nested;
mod order;
mod service;
mod settle;
mod trace;
mod transaction;

pub(crate) use mount::{Handler, Mount, MountedEndpoint, Shared};
pub(crate) use service::EndpointService;

#[cfg(test)]
mod tests;
