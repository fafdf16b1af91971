use core::time::Duration;
use std::net::IpAddr;
use std::sync::Once;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::cost::Cost;
use super::decide::LimitStatus;
use super::fields::{self, Label};
use super::max_costs::MaxCosts;
use super::overrides::Overrides;
use super::quota::Quota;
use super::request_keys::{KeyResolver, RequestKeys, ResolvedKey};
use super::shadow::Shadow;
use super::spec::{Algorithm, LimitBy, OnError, RateLimitSpec};
use super::store::{Acquired, Bucket, LimitRequest, LimitSubject};
use crate::client::rate_limit_prefix;
use crate::clock::{Clock, micros};
use crate::problem::{Problem, registry};
use crate::request::Caller;
use crate::spec::EndpointSpec;
use crate::start::StartError;

/// The limits of one endpoint, prepared at start.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The enforced limits, then the shadow limits.
    rules: Vec<PreparedLimit>,
    /// The response fields of the enforced limits. Shadow limits have no fields.
    labels: Vec<Label>,
    policy: HeaderValue,
    on_error: OnError,
}

#[derive(Debug)]
struct PreparedLimit {
    id: u64,
    quota: Quota,
    cost: Cost,
    /// The most tokens that one request takes, at any endpoint that declares the limit.
    max_cost: u64,
    by: LimitBy,
    /// The number of tokens in a prefetched batch; 0 without prefetching. The burst of `quota` is
    /// already lower by this number.
    prefetch: u64,
    /// The log of a shadow limit; `None` for an enforced limit.
    shadow: Option<Shadow>,
}

/// The properties of a request that its limits use.
pub(crate) struct LimitInputs<'a> {
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) address: Option<IpAddr>,
    /// The costs and keys that were read from the request.
    pub(crate) keys: &'a RequestKeys,
    /// The longest time for which the request can wait for its turn.
    pub(crate) max_queue_wait: Duration,
}

/// The token requests of one HTTP request, one per limit. Most endpoints have one limit, which
/// needs no allocation.
pub(crate) type LimitRequests<'a> = SmallVec<[LimitRequest<'a>; 1]>;

impl Limits {
    /// Prepares the limits of an endpoint. The limits are the same for all versions of the
    /// endpoint. Returns `None` if the endpoint has no limits.
    pub(crate) fn new(
        spec: &EndpointSpec,
        overrides: &Overrides,
        max_costs: &MaxCosts,
        namespace: &str,
    ) -> Result<Option<Self>, StartError> {
        if spec.rate_limits.is_empty() {
            return Ok(None);
        }
        let mut limits = Self {
            rules: Vec::new(),
            labels: Vec::new(),
            policy: HeaderValue::from_static(""),
            on_error: OnError::Local,
        };
        let mut quotas = Vec::new();
        let mut declared: Vec<_> = spec.rate_limits.iter().enumerate().collect();
        declared.sort_by_key(|(_, limit)| limit.shadow);
        for (index, limit) in declared {
            let limit = &overrides.apply(limit);
            let quota = Quota::of(limit).ok_or_else(|| invalid_limit(spec))?;
            let (id, label) = (
                limit_id(&limit_identity(spec, limit, namespace, index)),
                label(limit, index),
            );
            let shadow = limit.shadow.then(|| Shadow::new(label.clone()));
            if shadow.is_none() {
                limits.labels.push(Label::new(label, quota));
                limits.merge_on_error(limit.on_error);
            }
            let RateLimitSpec {
                cost, by, prefetch, ..
            } = *limit;
            let reserved = quota.reserve(prefetch);
            let max_cost = max_costs.max_cost(limit, reserved);
            limits.rules.push(PreparedLimit {
                id,
                quota: reserved,
                cost,
                max_cost,
                by,
                prefetch,
                shadow,
            });
            quotas.push(quota);
        }
        let enforced: Vec<_> = limits.labels.iter().zip(quotas).collect();
        limits.policy = fields::policy_value(&enforced);
        Ok(Some(limits))
    }

    /// Applies the `on_error` of an enforced limit to the endpoint. If any enforced limit has
    /// `deny`, the endpoint has `deny`.
    fn merge_on_error(&mut self, on_error: OnError) {
        if on_error == OnError::Deny {
            self.on_error = on_error;
        }
    }

    /// Returns the behaviour while the store does not decide.
    pub(crate) fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Returns the number of tokens to prefetch. Only an endpoint's single limit can prefetch.
    pub(crate) fn prefetch(&self) -> Option<u64> {
        match &self.rules[..] {
            [rule] if rule.prefetch > 0 => Some(rule.prefetch),
            _ => None,
        }
    }

    /// Returns `true` if a limit can count a request of this caller by the client address.
    pub(crate) fn needs_address(&self, caller: Option<&Caller>) -> bool {
        self.rules.iter().any(|rule| match rule.by {
            LimitBy::Caller | LimitBy::Header(..) | LimitBy::Param(..) => caller.is_none(),
            LimitBy::Ip => true,
            LimitBy::Route => false,
        })
    }

    /// Returns `true` if a limit lets requests wait for their turn.
    pub(crate) fn has_leaky_bucket(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.quota.algorithm() == Algorithm::LeakyBucket)
    }

    /// Reads the costs and keys of a request. Reads nothing if all costs are fixed and no limit
    /// counts by a key.
    pub(crate) fn resolve_keys(&self, head: &mut Parts, caller: Option<&Caller>) -> RequestKeys {
        if !self.rules.iter().any(PreparedLimit::reads_keys) {
            return RequestKeys::default();
        }
        let reads_parameters = self
            .rules
            .iter()
            .any(|rule| matches!(rule.by, LimitBy::Param(..)));
        let resolver = KeyResolver::new(head, reads_parameters, caller);
        self.rules
            .iter()
            .map(|rule| resolver.resolve(rule.cost, rule.quota, rule.by))
            .collect()
    }

    /// Returns a [`LimitRequest`] for each limit of a request, in the order of the limits.
    pub(crate) fn requests<'a>(&self, inputs: &LimitInputs<'a>) -> LimitRequests<'a> {
        let mut requests = LimitRequests::new();
        for (index, rule) in self.rules.iter().enumerate() {
            requests.push(rule.request(inputs.keys.get(index), inputs));
        }
        requests
    }

    /// Counts an admitted request that shadow limits would have rejected.
    pub(crate) fn count_shadow_rejections(
        &self,
        spec: &EndpointSpec,
        requests: &[LimitRequest<'_>],
        acquired: &Acquired,
        clock: &dyn Clock,
    ) {
        if self.rules.len() == self.labels.len() {
            return;
        }
        let decided = self.rules.iter().zip(requests).zip(&acquired.statuses);
        for ((rule, request), status) in decided.skip(self.labels.len()) {
            if let (Some(shadow), Some(_)) = (&rule.shadow, status.wait) {
                shadow.count(spec, &request.bucket.subject, clock.now());
            }
        }
    }

    /// Returns how long an admitted request waits for its turn.
    pub(crate) fn queue_delay(&self, acquired: &Acquired) -> Duration {
        let enforced = acquired.statuses.iter().take(self.labels.len());
        enforced
            .map(|status| status.queue_delay)
            .max()
            .unwrap_or_default()
    }

    /// Returns the 429 for a rejected request.
    pub(crate) fn rejection(&self, acquired: &Acquired) -> Problem {
        let violated: Vec<ViolatedPolicy<'_>> = self.violated_policies(acquired).collect();
        let enforced = acquired.statuses.iter().take(self.labels.len());
        let wait = enforced
            .filter_map(|status| status.wait)
            .max()
            .unwrap_or(Duration::ZERO);
        Problem::new(&registry::RATE_LIMITED)
            .with_detail("too many requests: retry after the number of seconds in `Retry-After`")
            .with_retry_after(wait)
            .with_extension("violated-policies", violated)
    }

    fn violated_policies<'a>(
        &'a self,
        acquired: &'a Acquired,
    ) -> impl Iterator<Item = ViolatedPolicy<'a>> {
        let rejecting = self
            .labels
            .iter()
            .zip(&acquired.statuses)
            .filter(|(_, status)| status.wait.is_some());
        rejecting.map(|(label, _)| ViolatedPolicy { name: &label.name })
    }

    /// Writes the response fields.
    pub(crate) fn write_fields(&self, headers: &mut HeaderMap, statuses: &[LimitStatus]) {
        fields::write(headers, &self.labels, statuses, &self.policy);
    }
}

impl PreparedLimit {
    /// Returns `true` if the cost or the key has to be read from the request.
    fn reads_keys(&self) -> bool {
        self.cost.fixed().is_none() || matches!(self.by, LimitBy::Header(..) | LimitBy::Param(..))
    }

    fn request<'a>(
        &self,
        resolved: Option<&'a ResolvedKey>,
        inputs: &LimitInputs<'a>,
    ) -> LimitRequest<'a> {
        LimitRequest {
            bucket: Bucket {
                limit: self.id,
                subject: subject(self.by, resolved, inputs),
            },
            quota: self.quota,
            cost: resolved.map_or_else(
                || self.cost.fixed().unwrap_or_default(),
                |resolved| resolved.cost,
            ),
            max_cost: self.max_cost,
            shadow: self.shadow.is_some(),
            max_queue_wait: inputs.max_queue_wait,
        }
    }
}

#[derive(Serialize)]
struct ViolatedPolicy<'a> {
    name: &'a str,
}

fn subject<'a>(
    by: LimitBy,
    resolved: Option<&'a ResolvedKey>,
    inputs: &LimitInputs<'a>,
) -> LimitSubject<'a> {
    let address = || {
        inputs
            .address
            .map_or_else(everyone_without_address, |address| {
                LimitSubject::Address(rate_limit_prefix(address))
            })
    };
    let caller = || inputs.caller.map_or_else(address, LimitSubject::Caller);
    match by {
        LimitBy::Caller => caller(),
        LimitBy::Header(..) | LimitBy::Param(..) => {
            let key = resolved.and_then(|resolved| resolved.key.as_deref());
            key.map_or_else(caller, LimitSubject::Key)
        }
        LimitBy::Ip => address(),
        LimitBy::Route => LimitSubject::Everyone,
    }
}

/// Returns the subject of the one bucket that all clients share if their addresses are unknown. The
/// first call logs an error.
fn everyone_without_address() -> LimitSubject<'static> {
    static LOG_ONCE: Once = Once::new();
    LOG_ONCE.call_once(|| {
        tracing::error!(
            "the client's address is unknown, so all clients share one bucket of each limit by address: serve the \
             router with `into_make_service_with_connect_info::<SocketAddr>()`"
        );
    });
    LimitSubject::Everyone
}

/// Returns the text that identifies a limit. The text contains the name of the limit. If the limit
/// has no name, the text contains the endpoint and the index of the limit. In both cases, the text
/// also contains the numbers of the limit.
///
/// While a limit is being changed, instances with the old and the new numbers run together. With
/// separate buckets, each group of instances admits at most its own limit. With a shared bucket,
/// neither limit would be kept.
fn limit_identity(
    spec: &EndpointSpec,
    limit: &RateLimitSpec,
    namespace: &str,
    index: usize,
) -> String {
    let RateLimitSpec {
        permits,
        period,
        burst,
        prefetch,
        algorithm,
        ..
    } = limit;
    let numbers = format!(
        "{algorithm:?}\0{permits}\0{}\0{burst}\0{prefetch}",
        micros(*period)
    );
    match limit.name {
        Some(name) => format!("{namespace}\0name\0{name}\0{numbers}"),
        None => {
            let first = if let Some(version) = spec.version {
                version.first()
            } else {
                0
            };
            format!(
                "{namespace}\0endpoint\0{}\0{first}\0{}\0{index}\0{numbers}",
                spec.method, spec.path
            )
        }
    }
}

fn limit_id(identity: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(identity.as_bytes()).into();
    digest[..8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn label(limit: &RateLimitSpec, index: usize) -> String {
    match (limit.name, index) {
        (Some(name), _) => name.to_owned(),
        (None, 0) => String::from("default"),
        (None, index) => format!("default-{}", index + 1),
    }
}

/// Returns the error at start for a limit that no bucket can implement. The macro reports most of
/// these errors earlier.
pub(crate) fn invalid_limit(spec: &EndpointSpec) -> StartError {
    StartError::new(format!(
        "`{}` ({} {}): a rate limit needs a rate and a burst of at least 1, a cost from 1 to the burst, and a bucket that \
         refills within a hundred years; a fixed window admits at most one request per microsecond, a sliding window logs \
         at most {} tokens, and `prefetch` needs a token bucket with room for two batches and a request",
        spec.name,
        spec.method,
        spec.path,
        Quota::MAX_LOG
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Method;

    const MINUTE: Duration = Duration::from_mins(1);
    const SPEC: EndpointSpec = EndpointSpec::new(Method::Get, "/", "endpoint");

    #[test]
    fn b01_a_changed_limit_has_separate_buckets() {
        let named_identity =
            |limit: RateLimitSpec| limit_identity(&SPEC, &limit.with_name("shared"), "test", 0);
        let limit = RateLimitSpec::new(100, MINUTE);
        assert_eq!(
            named_identity(limit),
            named_identity(limit.with_cost(3)),
            "each endpoint has its own cost"
        );
        for other in [
            RateLimitSpec::new(99, MINUTE).with_burst(100),
            RateLimitSpec::new(100, 2 * MINUTE),
            limit.with_burst(10),
            limit.with_prefetch(10),
            limit.with_algorithm(Algorithm::LeakyBucket),
        ] {
            assert_ne!(named_identity(limit), named_identity(other), "{other:?}");
        }
    }
}
