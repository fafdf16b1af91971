//! A request (its id, peer, caller, deadline and body), and the traits by which policies handle it.
//!
//! Policies use this module. They use neither the pipeline nor each other.

mod body;
mod body_memory;
mod body_rules;
mod caller;
mod deadline;
mod id;
mod incoming;
mod owner_hasher;
pub(crate) mod pace;
mod panic_location;
mod panics;
pub(crate) mod read;
mod stage;
mod state;

use core::future::Future;
use core::pin::Pin;

pub use crate::problem::endpoint_response::{EndpointResponse, ResponseOrigin};
pub(crate) use body::BodyReadState;
pub(crate) use body_memory::BodyMemory;
pub(crate) use body_rules::{BodyArgument, BodyRules};
pub(crate) use caller::AuthenticatedCaller;
pub use caller::Caller;
pub(crate) use deadline::{Within, deadline_exceeded, due_in, with_timeout, within_until};
pub use id::RequestId;
pub(crate) use id::X_REQUEST_ID;
pub use incoming::Incoming;
pub(crate) use incoming::{IncomingRequest, UnreadBody};
pub(crate) use owner_hasher::OwnerHasher;
pub(crate) use pace::BodyPace;
pub(crate) use panic_location::install_hook as install_panic_hook;
pub(crate) use panics::{HANDLER, catch_panic, catch_panics};
pub(crate) use stage::{ResponseWriter, ResponseWriters, Stage, StageResult};
pub(crate) use state::{RequestInfo, RequestState};

/// The boxed future of one request's extractors and handler.
pub type ResponseFuture = Pin<Box<dyn Future<Output = EndpointResponse> + Send>>;
