//! The order of the policies, defined only here.
//!
//! Around the stages, [`handle`](super::handle) enforces the deadline and writes the response:
//!
//! deadline → **stages** → admission (limits and the record of a key, in one store call if
//! possible) → queue delay → extractors → handler → settlement → response fields
//!
//! Authentication comes before limits, so that no client can use up the limits of another client.
//! The record of a key is read before the extractors run: after a deployment that validates
//! requests more strictly, a retry of an older request still gets its replay.
//!
//! A stage writes into the responses of the requests that have entered it. A policy that writes
//! into every response must therefore come before all policies that can refuse. Writers run from
//! last to first, so that the first stage can overwrite the fields of later ones.

use super::mount::Mount;
use crate::auth::AuthenticationStage;
use crate::policies::body_limit::BodyStage;
use crate::policies::deprecation::DeprecationStage;
use crate::policies::idempotency::{KeyStage, RunBoundsStage};
use crate::policies::paginate::PageStage;
use crate::policies::rate_limit::LimitStage;
use crate::request::Stage;

/// Returns the stage of one policy, if the endpoint declares the policy.
type Constructor = fn(&Mount) -> Option<Box<dyn Stage>>;

const ORDER: &[Constructor] = &[
    |mount| boxed(DeprecationStage::new(mount.deprecation.as_ref())),
    |mount| {
        boxed(AuthenticationStage::new(
            mount.shared.auth.as_ref(),
            mount.spec.access,
            &mount.shared.failures,
            &mount.shared.proxies,
        ))
    },
    |mount| {
        boxed(PageStage::new(
            mount.spec.pagination,
            &mount.route,
            &mount.shared.cursors,
        ))
    },
    |mount| boxed(KeyStage::new(mount.spec.idempotency)),
    |mount| boxed(LimitStage::new(mount.limits.as_ref())),
    |mount| boxed(RunBoundsStage::new(mount.runs.as_ref())),
    |mount| {
        boxed(
            mount
                .reads_body_early()
                .then(|| BodyStage::new(mount.body.clone())),
        )
    },
];

/// Returns the stages of an endpoint, none for an endpoint without policies.
pub(super) fn stages(mount: &Mount) -> Box<[Box<dyn Stage>]> {
    ORDER
        .iter()
        .filter_map(|construct| construct(mount))
        .collect()
}

fn boxed<S: Stage + 'static>(stage: Option<S>) -> Option<Box<dyn Stage>> {
    stage.map(|stage| Box::new(stage) as Box<dyn Stage>)
}
