//! The way of a request: one fixed line of stages, in [`order`], and a file for each.

mod authenticate;
mod context;
mod decorate;
mod direct;
mod handler;
mod intake;
mod nested;
mod observe;
mod order;
mod panics;
mod service;
mod uncancelled;

pub(crate) use context::{Context, Mounted, Run, Shared};
pub(crate) use intake::Intake;
pub use observe::RequestId;
pub(crate) use observe::X_REQUEST_ID;
pub(crate) use panics::listen as listen_to_panics;
pub(crate) use service::EndpointService;
