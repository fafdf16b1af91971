//! What a request is: its id, its peer, its caller, its deadline and its body; and the shape of a
//! stage, which is how a policy takes part in it.
//!
//! Policies know this module and neither the pipeline nor each other.

mod body;
mod caller;
mod deadline;
mod id;
mod incoming;
mod owner_hasher;
mod panic_location;
mod panics;
pub(crate) mod read;
mod stage;
mod state;

use core::future::Future;
use core::pin::Pin;

pub use crate::problem::endpoint_response::{EndpointResponse, ResponseOrigin};
pub(crate) use body::BodyReadState;
pub(crate) use caller::AuthenticatedCaller;
pub use caller::Caller;
pub(crate) use deadline::{Within, deadline_exceeded, due_in, within, within_until};
pub use id::RequestId;
pub(crate) use id::X_REQUEST_ID;
pub use incoming::Incoming;
pub(crate) use incoming::{IncomingRequest, UnreadBody};
pub(crate) use owner_hasher::OwnerHasher;
pub(crate) use panic_location::listen as listen_to_panics;
pub(crate) use panics::{HANDLER, catch_panic, catch_panics};
pub(crate) use stage::{ResponseWriter, ResponseWriters, Stage, StageResult};
pub(crate) use state::{RequestInfo, RequestState};

/// The boxed run of one request through extractors and handler.
pub type ResponseFuture = Pin<Box<dyn Future<Output = EndpointResponse> + Send>>;
