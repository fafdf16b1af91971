//! The order of the policies. It stands here and nowhere else.
//!
//! Around the stages, [`handle`](super::handle) keeps the deadline and writes the response:
//!
//! deadline → **stages** → admission (limits and the record of a key, in one trip where the store
//! can) → wait for a turn → extractors → handler → settle → response fields
//!
//! Authentication comes before limits, so that no client uses up the limits of another. The record
//! of a key is looked at before the extractors run, so that a deployment that reads requests more
//! strictly cannot break a replay.
//!
//! The exit of a stage writes into the responses of the requests that have entered the stage. A policy that writes into
//! every response therefore stands before all that can refuse. Exits run last to first, so the first stage has the last
//! word about a field.

use super::mount::Mount;
use crate::auth::AuthenticationStage;
use crate::policies::body_limit::BodyStage;
use crate::policies::deprecation::DeprecationStage;
use crate::policies::idempotency::KeyStage;
use crate::policies::paginate::PageStage;
use crate::policies::rate_limit::LimitStage;
use crate::request::Stage;

/// Makes the stage of one policy, if the endpoint declares the policy.
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
    |mount| {
        boxed(
            mount
                .reads_body_early()
                .then(|| BodyStage::new(mount.body_limit, mount.reads_body)),
        )
    },
];

/// The stages of an endpoint. One without policies has none.
pub(super) fn stages(mount: &Mount) -> Box<[Box<dyn Stage>]> {
    ORDER
        .iter()
        .filter_map(|construct| construct(mount))
        .collect()
}

fn boxed<S: Stage + 'static>(stage: Option<S>) -> Option<Box<dyn Stage>> {
    stage.map(|stage| Box::new(stage) as Box<dyn Stage>)
}
