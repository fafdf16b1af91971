//! Operations on several slots of a cluster: one script call per slot, all at the same time.
//!
//! A script is atomic only within its slot. Limits in several slots are still decided together: if
//! one slot rejects, fails or replies too late, the tokens of the other slots are given back.
//!
//! Before the tokens are given back, another request can find them missing and be rejected too
//! early. No request is admitted wrongly, because tokens that the bucket has refilled in the
//! meantime are not given back. If the process or the node dies first, the tokens stay taken until
//! the bucket refills.

use core::time::Duration;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::oneshot;

use super::RedisStore;
use super::hash_slot::HashSlot;
use super::limits::{TakenTokens, give_back_argument};
use super::link::{NodeLink, WhenDisconnected};
use super::records::HEARTBEAT_BATCH;
use super::script::{ScriptCall, unexpected};
use crate::policies::idempotency::Lease;
use crate::policies::rate_limit::{Acquired, Bucket, BucketState, LimitRequest, LimitSubject};
use crate::store::StoreError;

/// Returns `true` if all keys are in one slot.
pub(super) fn in_one_slot(keys: &[String]) -> bool {
    keys.windows(2)
        .all(|pair| HashSlot::of(&pair[0]) == HashSlot::of(&pair[1]))
}

/// Groups the indices of keys by slot.
fn group_by_slot(keys: &[String]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<HashSlot, Vec<usize>> = BTreeMap::new();
    for (index, key) in keys.iter().enumerate() {
        groups.entry(HashSlot::of(key)).or_default().push(index);
    }
    groups.into_values().collect()
}

/// The limit requests of one slot.
#[derive(Debug)]
struct SlotGroup {
    /// The indices of `requests` in the list of all limit requests.
    indices: Vec<usize>,
    keys: Vec<String>,
    requests: Vec<LimitRequest<'static>>,
}

impl RedisStore {
    /// Returns `true` if one script can use all these keys.
    pub(super) fn is_one_step(&self, keys: &[String]) -> bool {
        !self.link.is_cluster() || in_one_slot(keys)
    }

    /// Takes the tokens of buckets in several slots, either all tokens or none.
    ///
    /// A separate task does the work. If the caller is cancelled, the task still gives the tokens
    /// back.
    pub(super) async fn take_in_groups(
        &self,
        keys: Vec<String>,
        requests: &[LimitRequest<'_>],
    ) -> Result<Vec<BucketState>, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let (store, requests): (_, Vec<_>) =
            (self.clone(), requests.iter().map(without_subject).collect());
        tokio::spawn(async move {
            let groups = SlotGroup::split_by_slot(&keys, &requests);
            let taken = join_all(groups.iter().map(|group| store.take_group(group))).await;
            let states = merge_states(&groups, &taken, &requests);
            let admitted = states
                .as_ref()
                .is_ok_and(|states| Acquired::decide(&requests, states).admitted);
            // The tokens are given back before the caller gets the rejection, so that a retry finds
            // them.
            if !admitted {
                store.give_back(&groups, &taken).await;
            }
            // If the send fails, the caller was cancelled, so the tokens are not used.
            if sender.send(states).is_err() && admitted {
                store.give_back(&groups, &taken).await;
            }
        });
        receiver.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(String::from(
                "the runtime has stopped",
            )))
        })
    }

    /// Renews leases in batches of one slot each, all at the same time. All batches are sent even
    /// if one of them fails.
    pub(super) async fn renew_in_groups(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<String> = leases
            .iter()
            .map(|lease| self.inner.keys.record(&lease.key))
            .collect();
        let slots = group_by_slot(&keys);
        let renew = |indices: &[usize]| {
            let batch: Vec<Lease> = indices.iter().map(|index| leases[*index]).collect();
            async move { self.renew_batch(&batch, lease).await }
        };
        let batches: Vec<_> = slots
            .iter()
            .flat_map(|indices| indices.chunks(HEARTBEAT_BATCH))
            .collect();
        let results = join_all(batches.iter().map(|indices| renew(indices))).await;
        let mut renewed = vec![false; leases.len()];
        for (indices, result) in batches.iter().zip(results) {
            indices
                .iter()
                .zip(result?)
                .for_each(|(index, is_renewed)| renewed[*index] = is_renewed);
        }
        Ok(renewed)
    }

    async fn take_group(&self, group: &SlotGroup) -> Result<TakenTokens, StoreError> {
        self.take_in_one_slot(&group.keys, &group.requests, true)
            .await
    }

    /// Gives back the tokens of all groups that admitted the request. A group that rejected has
    /// taken no tokens. The effect of a group that failed is unknown, so its tokens are not given
    /// back.
    async fn give_back(&self, groups: &[SlotGroup], taken: &[Result<TakenTokens, StoreError>]) {
        let calls = groups.iter().zip(taken).filter_map(|(group, taken)| {
            let admits =
                |taken: &&TakenTokens| Acquired::decide(&group.requests, &taken.states).admitted;
            let taken = taken.as_ref().ok().filter(admits)?;
            Some(self.give_group_back(group, taken))
        });
        for error in join_all(calls).await.into_iter().filter_map(Result::err) {
            tracing::debug!(
                %error,
                "tokens could not be given back and stay taken until their bucket refills"
            );
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
        let arguments: Vec<Vec<u8>> = group
            .requests
            .iter()
            .zip(&taken.states)
            .map(|(request, state)| give_back_argument(request, *state, taken.now))
            .collect();
        // The call is sent at most one time: a second execution would give the tokens back twice.
        let call = ScriptCall {
            keys: &group.keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        match self
            .inner
            .scripts
            .give_back
            .run_once(cluster, call, self.inner.timeout)
            .await?
        {
            Value::Int(0) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl SlotGroup {
    fn split_by_slot(keys: &[String], requests: &[LimitRequest<'static>]) -> Vec<Self> {
        let group = |indices: Vec<usize>| Self {
            keys: indices.iter().map(|index| keys[*index].clone()).collect(),
            requests: indices.iter().map(|index| requests[*index]).collect(),
            indices,
        };
        group_by_slot(keys).into_iter().map(group).collect()
    }

    /// Returns `true` if all limits of the group are shadows, which cannot reject.
    fn is_shadow(&self) -> bool {
        self.requests.iter().all(|request| request.shadow)
    }
}

/// Returns the limit request without its subject, so that a task can own it. The Redis key already
/// contains the subject.
fn without_subject(request: &LimitRequest<'_>) -> LimitRequest<'static> {
    let LimitRequest {
        bucket,
        quota,
        cost,
        max_cost,
        shadow,
        max_queue_wait,
    } = *request;
    let bucket = Bucket {
        subject: LimitSubject::Everyone,
        ..bucket
    };
    LimitRequest {
        bucket,
        quota,
        cost,
        max_cost,
        shadow,
        max_queue_wait,
    }
}

/// Merges the states of all buckets in the order of the limit requests. If the call for a group of
/// shadow limits has failed, the buckets of this group count as exhausted.
fn merge_states(
    groups: &[SlotGroup],
    taken: &[Result<TakenTokens, StoreError>],
    requests: &[LimitRequest<'_>],
) -> Result<Vec<BucketState>, StoreError> {
    let mut all: Vec<_> = requests
        .iter()
        .map(|request| BucketState::exhausted(request.quota))
        .collect();
    for (group, taken) in groups.iter().zip(taken) {
        match taken {
            Ok(taken) => {
                group
                    .indices
                    .iter()
                    .zip(&taken.states)
                    .for_each(|(index, state)| all[*index] = *state);
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

    /// Returns a request for one token. The bucket holds ten tokens, and gets one token per second.
    fn request(shadow: bool) -> LimitRequest<'static> {
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

    const fn ahead(seconds: u64) -> BucketState {
        BucketState::Ahead(seconds * 1_000_000)
    }

    fn admits(requests: &[LimitRequest<'_>], states: &[BucketState]) -> bool {
        Acquired::decide(requests, states).admitted
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form of a reply")]
    const fn taken(states: Vec<BucketState>) -> GroupResult {
        Ok(TakenTokens { states, now: 0 })
    }

    fn lost() -> GroupResult {
        Err(StoreError::Unavailable(String::from("lost")))
    }

    #[test]
    fn b05_keys_are_grouped_by_slot() {
        let keys = keys(&["{a}:1", "{b}:1", "{a}:2", "{c}", "{b}:2"]);
        let mut groups = group_by_slot(&keys);
        groups.sort();
        assert_eq!(groups, [vec![0, 2], vec![1, 4], vec![3]]);
        assert!(group_by_slot(&[]).is_empty());
    }

    #[test]
    fn b05_keys_with_the_same_tag_are_in_one_slot() {
        assert!(in_one_slot(&keys(&[
            "ap1:x:{a}:l:1",
            "ap1:x:{a}:i:2",
            "ap1:x:{a}:a:3"
        ])));
        assert!(in_one_slot(&[]) && in_one_slot(&keys(&["{a}"])));
        assert!(!in_one_slot(&keys(&["{a}", "{a}", "{b}"])));
    }

    #[test]
    fn b02_merged_states_have_the_order_of_the_limit_requests() {
        let (keys, requests) = (keys(&["{a}:1", "{b}:1", "{a}:2"]), [request(false); 3]);
        let groups = SlotGroup::split_by_slot(&keys, &requests);
        let results: Vec<_> = groups
            .iter()
            .map(|group| {
                taken(
                    group
                        .indices
                        .iter()
                        .map(|index| ahead(*index as u64))
                        .collect(),
                )
            })
            .collect();
        assert_eq!(
            merge_states(&groups, &results, &requests),
            Ok(vec![ahead(0), ahead(1), ahead(2)])
        );
    }

    #[test]
    fn b02_one_group_that_rejects_or_fails_rejects_the_request() {
        let requests = [request(false), request(false)];
        let groups = SlotGroup::split_by_slot(&keys(&["{a}", "{b}"]), &requests);
        let admits = |taken: &[_]| {
            merge_states(&groups, taken, &requests).map(|states| admits(&requests, &states))
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
    fn b17_a_shadow_in_another_slot_neither_rejects_nor_fails_the_request() {
        let keys = keys(&["{a}", "{b}"]);
        let requests = [request(false), request(true)];
        let groups = SlotGroup::split_by_slot(&keys, &requests);
        let (shadow, other) = if groups[0].is_shadow() {
            (0, 1)
        } else {
            (1, 0)
        };
        for result in [taken(vec![ahead(10)]), lost()] {
            let mut results = [taken(vec![ahead(0)]), taken(vec![ahead(0)])];
            results[shadow] = result;
            let states =
                merge_states(&groups, &results, &requests).expect("the other group decides");
            assert_eq!(
                (states.as_slice(), admits(&requests, &states)),
                ([ahead(0), ahead(10)].as_slice(), true)
            );
            results[other] = taken(vec![ahead(10)]);
            assert!(!admits(
                &requests,
                &merge_states(&groups, &results, &requests).expect("the other group rejects")
            ));
        }
    }
}
