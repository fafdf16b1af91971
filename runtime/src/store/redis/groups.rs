//! What one request asks of several slots of a cluster: one script call a slot, all at the same time.
//!
//! A script is atomic within its slot. Over several slots claims are taken all or not at all all the
//! same: what one slot admits is given back where another one refuses, fails, or comes too late to
//! matter. Between the two, a request beside it can find tokens gone that then come back, and be refused
//! too early. None is admitted that should not be: what has come back by itself meanwhile is not given
//! back as well. Tokens that cannot be given back, because the process or the node dies, stay taken, and
//! the bucket refills by itself.

use core::time::Duration;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::oneshot;

use super::RedisStore;
use super::hash_slot::HashSlot;
use super::limits::{TakenTokens, given_back};
use super::link::{NodeLink, WhenDisconnected};
use super::records::BATCH;
use super::script::{ScriptCall, unexpected};
use crate::policies::idempotency::Lease;
use crate::policies::rate_limit::{Acquired, Bucket, LimitRequest, LimitSubject, State};
use crate::store::StoreError;

/// Whether one script can have all these keys: they are in one slot. On a single server they always
/// can.
pub(super) fn in_one_slot(keys: &[String]) -> bool {
    keys.windows(2)
        .all(|pair| HashSlot::of(&pair[0]) == HashSlot::of(&pair[1]))
}

/// The places of keys, a group for each slot.
pub(super) fn by_slot(keys: &[String]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<HashSlot, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        groups.entry(HashSlot::of(key)).or_default().push(place);
    }
    groups.into_values().collect()
}

/// The claims of a request that are in one slot.
#[derive(Debug)]
struct SlotGroup {
    /// Where they stand among all of the request.
    places: Vec<usize>,
    keys: Vec<String>,
    claims: Vec<LimitRequest<'static>>,
}

impl RedisStore {
    /// Whether these keys can be decided on in one step.
    pub(super) fn is_one_step(&self, keys: &[String]) -> bool {
        !self.link.is_cluster() || in_one_slot(keys)
    }

    /// Takes what the request claims of buckets in several slots, or nothing. Goes on where nobody waits
    /// for it any more, so that nothing stays taken.
    pub(super) async fn take_in_groups(
        &self,
        keys: Vec<String>,
        claims: &[LimitRequest<'_>],
    ) -> Result<Vec<State>, StoreError> {
        let (told, answer) = oneshot::channel();
        let (store, claims): (_, Vec<_>) = (
            self.clone(),
            claims.iter().map(without_caller_name).collect(),
        );
        tokio::spawn(async move {
            let groups = SlotGroup::split_by_slot(&keys, &claims);
            let taken = join_all(groups.iter().map(|group| store.take_group(group))).await;
            let states = merge_states(&groups, &taken, &claims);
            let admitted = states
                .as_ref()
                .is_ok_and(|states| Acquired::of(&claims, states).admitted);
            if !admitted {
                store.give_back(&groups, &taken).await;
            }
            // Whoever has gone has no use for the tokens.
            if told.send(states).is_err() && admitted {
                store.give_back(&groups, &taken).await;
            }
        });
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable(String::from("the runtime ends"))))
    }

    /// Renews leases in batches of one slot each, all at the same time. One that fails keeps no other
    /// from being renewed.
    pub(super) async fn renew_in_groups(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<String> = leases
            .iter()
            .map(|lease| self.inner.keys.record(&lease.key))
            .collect();
        let slots = by_slot(&keys);
        let renew = |places: &[usize]| {
            let batch: Vec<Lease> = places.iter().map(|place| leases[*place]).collect();
            async move { self.renew_batch(&batch, lease).await }
        };
        let batches: Vec<_> = slots
            .iter()
            .flat_map(|places| places.chunks(BATCH))
            .collect();
        let answers = join_all(batches.iter().map(|places| renew(places))).await;
        let mut renewed = vec![false; leases.len()];
        for (places, answer) in batches.iter().zip(answers) {
            places
                .iter()
                .zip(answer?)
                .for_each(|(place, held)| renewed[*place] = held);
        }
        Ok(renewed)
    }

    async fn take_group(&self, group: &SlotGroup) -> Result<TakenTokens, StoreError> {
        self.take_in_one_slot(&group.keys, &group.claims, true)
            .await
    }

    /// Gives back what groups took that admitted the request, as far as they were asked.
    async fn give_back(&self, groups: &[SlotGroup], taken: &[Result<TakenTokens, StoreError>]) {
        let given = groups.iter().zip(taken).filter_map(|(group, taken)| {
            let admits = |taken: &&TakenTokens| Acquired::of(&group.claims, &taken.states).admitted;
            let taken = taken.as_ref().ok().filter(admits)?;
            Some(self.give_group_back(group, taken))
        });
        for error in join_all(given).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "tokens could not be given back; their bucket refills by itself");
        }
    }

    async fn give_group_back(
        &self,
        group: &SlotGroup,
        taken: &TakenTokens,
    ) -> Result<(), StoreError> {
        let NodeLink::Cluster(cluster) = &self.link else {
            return Ok(());
        };
        let asked = group.claims.iter().zip(&taken.states);
        let arguments: Vec<Vec<u8>> = asked
            .map(|(claim, state)| given_back(claim, *state, taken.now))
            .collect();
        let run = ScriptCall {
            keys: &group.keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        match self
            .inner
            .scripts
            .give_back
            .run_once(cluster, run, self.inner.timeout)
            .await?
        {
            Value::Int(0) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl SlotGroup {
    fn split_by_slot(keys: &[String], claims: &[LimitRequest<'static>]) -> Vec<Self> {
        let group = |places: Vec<usize>| Self {
            keys: places.iter().map(|place| keys[*place].clone()).collect(),
            claims: places.iter().map(|place| claims[*place]).collect(),
            places,
        };
        by_slot(keys).into_iter().map(group).collect()
    }

    /// Whether it counts only, and cannot refuse.
    fn is_shadow(&self) -> bool {
        self.claims.iter().all(|claim| claim.shadow)
    }
}

/// A claim without whose it is, which its key says.
fn without_caller_name(claim: &LimitRequest<'_>) -> LimitRequest<'static> {
    let LimitRequest {
        bucket,
        quota,
        cost,
        max_cost: dearest,
        shadow,
        max_queue_wait: patience,
    } = *claim;
    let bucket = Bucket {
        subject: LimitSubject::Everyone,
        ..bucket
    };
    LimitRequest {
        bucket,
        quota,
        cost,
        max_cost: dearest,
        shadow,
        max_queue_wait: patience,
    }
}

/// Every bucket as it was, in the order of the request. Shadows that could not be asked count as empty, as
/// those that cannot be read do.
fn merge_states(
    groups: &[SlotGroup],
    taken: &[Result<TakenTokens, StoreError>],
    claims: &[LimitRequest<'_>],
) -> Result<Vec<State>, StoreError> {
    let mut all: Vec<_> = claims
        .iter()
        .map(|claim| State::exhausted(claim.quota))
        .collect();
    for (group, taken) in groups.iter().zip(taken) {
        match taken {
            Ok(taken) => {
                group
                    .places
                    .iter()
                    .zip(&taken.states)
                    .for_each(|(place, state)| all[*place] = *state);
            }
            Err(_) if group.is_shadow() => {}
            Err(error) => return Err(error.clone()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::rate_limit::Quota;

    type GroupResult = Result<TakenTokens, StoreError>;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().copied().map(String::from).collect()
    }

    /// One of ten tokens, one a second.
    fn want(shadow: bool) -> LimitRequest<'static> {
        let quota = Quota::new(1, Duration::from_secs(1), 10).expect("valid");
        LimitRequest {
            shadow,
            ..LimitRequest::new(
                Bucket {
                    limit: 1,
                    subject: LimitSubject::Everyone,
                },
                quota,
            )
        }
    }

    const fn ahead(seconds: u64) -> State {
        State::Ahead(seconds * 1_000_000)
    }

    fn admits(claims: &[LimitRequest<'_>], states: &[State]) -> bool {
        Acquired::of(claims, states).admitted
    }

    #[expect(clippy::unnecessary_wraps, reason = "as a node answers")]
    const fn taken(states: Vec<State>) -> GroupResult {
        Ok(TakenTokens { states, now: 0 })
    }

    fn lost() -> GroupResult {
        Err(StoreError::Unavailable(String::from("lost")))
    }

    #[test]
    fn b05_keys_are_grouped_by_slot() {
        let keys = keys(&["{a}:1", "{b}:1", "{a}:2", "{c}", "{b}:2"]);
        let mut groups = by_slot(&keys);
        groups.sort();
        assert_eq!(groups, [vec![0, 2], vec![1, 4], vec![3]]);
        assert!(by_slot(&[]).is_empty());
    }

    #[test]
    fn b05_what_has_one_tag_is_one_step() {
        assert!(in_one_slot(&keys(&[
            "ap1:x:{a}:l:1",
            "ap1:x:{a}:i:2",
            "ap1:x:{a}:a:3"
        ])));
        assert!(in_one_slot(&[]) && in_one_slot(&keys(&["{a}"])));
        assert!(!in_one_slot(&keys(&["{a}", "{a}", "{b}"])));
    }

    #[test]
    fn b02_answers_of_groups_come_in_the_order_of_the_claims() {
        let (keys, wants) = (keys(&["{a}:1", "{b}:1", "{a}:2"]), [want(false); 3]);
        let groups = SlotGroup::split_by_slot(&keys, &wants);
        let answers: Vec<_> = groups
            .iter()
            .map(|group| {
                taken(
                    group
                        .places
                        .iter()
                        .map(|place| ahead(*place as u64))
                        .collect(),
                )
            })
            .collect();
        assert_eq!(
            merge_states(&groups, &answers, &wants),
            Ok(vec![ahead(0), ahead(1), ahead(2)])
        );
    }

    #[test]
    fn b02_one_group_that_refuses_or_fails_is_enough() {
        let wants = [want(false), want(false)];
        let groups = SlotGroup::split_by_slot(&keys(&["{a}", "{b}"]), &wants);
        let admits = |taken: &[_]| {
            merge_states(&groups, taken, &wants).map(|states| admits(&wants, &states))
        };
        assert_eq!(
            admits(&[taken(vec![ahead(9)]), taken(vec![ahead(9)])]),
            Ok(true)
        );
        assert_eq!(
            admits(&[taken(vec![ahead(9)]), taken(vec![ahead(10)])]),
            Ok(false)
        );
        assert!(admits(&[lost(), taken(vec![ahead(0)])]).is_err());
    }

    #[test]
    fn b17_a_shadow_elsewhere_neither_refuses_nor_fails() {
        let keys = keys(&["{a}", "{b}"]);
        let wants = [want(false), want(true)];
        let groups = SlotGroup::split_by_slot(&keys, &wants);
        let (shadow, other) = if groups[0].is_shadow() {
            (0, 1)
        } else {
            (1, 0)
        };
        for answer in [taken(vec![ahead(10)]), lost()] {
            let mut answers = [taken(vec![ahead(0)]), taken(vec![ahead(0)])];
            answers[shadow] = answer;
            let states = merge_states(&groups, &answers, &wants).expect("the other decides");
            assert_eq!(
                (states.as_slice(), admits(&wants, &states)),
                ([ahead(0), ahead(10)].as_slice(), true)
            );
            answers[other] = taken(vec![ahead(10)]);
            assert!(!admits(
                &wants,
                &merge_states(&groups, &answers, &wants).expect("it refuses")
            ));
        }
    }
}
