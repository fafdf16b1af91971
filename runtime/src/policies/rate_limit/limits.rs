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

/// The limits of one endpoint, ready to decide.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Those that are enforced, then the shadows.
    rules: Vec<Rule>,
    /// Of those that are enforced: clients are told of no other.
    labels: Vec<Label>,
    policy: HeaderValue,
    on_error: OnError,
}

#[derive(Debug)]
struct Rule {
    id: u64,
    quota: Quota,
    cost: Cost,
    /// What the dearest request of all endpoints takes.
    max_cost: u64,
    by: LimitBy,
    /// How many tokens are taken ahead; the quota is lessened by them.
    prefetch: u64,
    /// Of a limit that only counts.
    shadow: Option<Shadow>,
}

/// What limits know of a request.
pub(crate) struct LimitInputs<'a> {
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) address: Option<IpAddr>,
    /// What they looked up.
    pub(crate) keys: &'a RequestKeys,
    /// How long it can wait for its turn.
    pub(crate) max_queue_wait: Duration,
}

/// The claims of one request: mostly one.
pub(crate) type LimitRequests<'a> = SmallVec<[LimitRequest<'a>; 1]>;

impl Limits {
    /// The limits of an endpoint, whatever its versions; `None` without any.
    pub(crate) fn new(
        spec: &EndpointSpec,
        overrides: &Overrides,
        dearest: &MaxCosts,
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
            let quota = Quota::of(limit).ok_or_else(|| impossible(spec))?;
            let (id, label) = (
                number(&identity(spec, limit, namespace, index)),
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
            let lessened = quota.reserve(prefetch);
            let dearest = dearest.request(limit, lessened);
            limits.rules.push(Rule {
                id,
                quota: lessened,
                cost,
                max_cost: dearest,
                by,
                prefetch,
                shadow,
            });
            quotas.push(quota);
        }
        let enforced: Vec<_> = limits.labels.iter().zip(quotas).collect();
        limits.policy = fields::policy(&enforced);
        Ok(Some(limits))
    }

    /// What one of those that are enforced denies, is denied.
    fn merge_on_error(&mut self, on_error: OnError) {
        if on_error == OnError::Deny {
            self.on_error = on_error;
        }
    }

    /// Who decides what the store does not.
    pub(crate) fn on_error(&self) -> OnError {
        self.on_error
    }

    /// How many tokens are taken ahead, of an endpoint's only limit.
    pub(crate) fn prefetch(&self) -> Option<u64> {
        match &self.rules[..] {
            [rule] if rule.prefetch > 0 => Some(rule.prefetch),
            _ => None,
        }
    }

    /// Whether one of them counts by the client's address.
    pub(crate) fn ask_for_address(&self, caller: Option<&Caller>) -> bool {
        self.rules.iter().any(|rule| match rule.by {
            LimitBy::Caller | LimitBy::Header(..) | LimitBy::Param(..) => caller.is_none(),
            LimitBy::Ip => true,
            LimitBy::Route => false,
        })
    }

    /// Whether one of them lets requests wait for their turn.
    pub(crate) fn shape(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.quota.algorithm() == Algorithm::LeakyBucket)
    }

    /// Looks at a request for what they have to know of it; at nothing where all is known.
    pub(crate) fn resolve_keys(&self, head: &mut Parts, caller: Option<&Caller>) -> RequestKeys {
        if !self.rules.iter().any(Rule::reads_keys) {
            return RequestKeys::default();
        }
        let by_parameters = self
            .rules
            .iter()
            .any(|rule| matches!(rule.by, LimitBy::Param(..)));
        let sight = KeyResolver::new(head, by_parameters, caller);
        self.rules
            .iter()
            .map(|rule| sight.resolve(rule.cost, rule.quota, rule.by))
            .collect()
    }

    /// What a request claims.
    pub(crate) fn requests<'a>(&self, claimant: &LimitInputs<'a>) -> LimitRequests<'a> {
        let mut claims = LimitRequests::new();
        for (place, rule) in self.rules.iter().enumerate() {
            claims.push(rule.request(claimant.keys.of(place), claimant));
        }
        claims
    }

    /// Counts an admitted request where shadow limits would have refused it.
    pub(crate) fn note_shadows(
        &self,
        spec: &EndpointSpec,
        claims: &[LimitRequest<'_>],
        acquired: &Acquired,
        clock: &dyn Clock,
    ) {
        if self.rules.len() == self.labels.len() {
            return;
        }
        let asked = self.rules.iter().zip(claims).zip(&acquired.statuses);
        for ((rule, claim), reading) in asked.skip(self.labels.len()) {
            if let (Some(shadow), Some(_)) = (&rule.shadow, reading.wait) {
                shadow.note(spec, &claim.bucket.subject, clock.now());
            }
        }
    }

    /// How long an admitted request waits for its turn.
    pub(crate) fn queue_delay(&self, acquired: &Acquired) -> Duration {
        let enforced = acquired.statuses.iter().take(self.labels.len());
        enforced
            .map(|reading| reading.turn)
            .max()
            .unwrap_or_default()
    }

    /// The 429 of a refused request.
    pub(crate) fn refusal(&self, acquired: &Acquired) -> Problem {
        let violated: Vec<Violated<'_>> = self.violated(acquired).collect();
        let enforced = acquired.statuses.iter().take(self.labels.len());
        let wait = enforced
            .filter_map(|reading| reading.wait)
            .max()
            .unwrap_or(Duration::ZERO);
        Problem::new(&registry::RATE_LIMITED)
            .with_detail("too many requests; wait as long as Retry-After says")
            .with_retry_after(wait)
            .with_extension("violated-policies", violated)
    }

    fn violated<'a>(&'a self, acquired: &'a Acquired) -> impl Iterator<Item = Violated<'a>> {
        let refusing = self
            .labels
            .iter()
            .zip(&acquired.statuses)
            .filter(|(_, reading)| reading.wait.is_some());
        refusing.map(|(label, _)| Violated { name: &label.name })
    }

    /// Writes the fields of a response.
    pub(crate) fn write(&self, headers: &mut HeaderMap, readings: &[LimitStatus]) {
        fields::write(headers, &self.labels, readings, &self.policy);
    }
}

impl Rule {
    /// Whether it must look at a request.
    fn reads_keys(&self) -> bool {
        self.cost.known().is_none() || matches!(self.by, LimitBy::Header(..) | LimitBy::Param(..))
    }

    fn request<'a>(
        &self,
        known: Option<&'a ResolvedKey>,
        claimant: &LimitInputs<'a>,
    ) -> LimitRequest<'a> {
        LimitRequest {
            bucket: Bucket {
                limit: self.id,
                subject: subject(self.by, known, claimant),
            },
            quota: self.quota,
            cost: known.map_or_else(|| self.cost.known().unwrap_or_default(), |known| known.cost),
            max_cost: self.max_cost,
            shadow: self.shadow.is_some(),
            max_queue_wait: claimant.max_queue_wait,
        }
    }
}

#[derive(Serialize)]
struct Violated<'a> {
    name: &'a str,
}

fn subject<'a>(
    by: LimitBy,
    known: Option<&'a ResolvedKey>,
    claimant: &LimitInputs<'a>,
) -> LimitSubject<'a> {
    let address = || {
        claimant.address.map_or_else(without_address, |address| {
            LimitSubject::Address(rate_limit_prefix(address))
        })
    };
    let caller = || claimant.caller.map_or_else(address, LimitSubject::Caller);
    match by {
        LimitBy::Caller => caller(),
        LimitBy::Header(..) | LimitBy::Param(..) => {
            let key = known.and_then(|known| known.key.as_deref());
            key.map_or_else(caller, LimitSubject::Key)
        }
        LimitBy::Ip => address(),
        LimitBy::Route => LimitSubject::Everyone,
    }
}

/// All clients share one bucket where their addresses are not known, which is said once.
fn without_address() -> LimitSubject<'static> {
    static LOG_ONCE: Once = Once::new();
    LOG_ONCE.call_once(|| {
        tracing::error!(
            "limits by address share one bucket: the router is served without the client's address; use \
             `into_make_service_with_connect_info::<SocketAddr>()`"
        );
    });
    LimitSubject::Everyone
}

/// What makes two limits one: the name where there is one, else the endpoint and its place; and how they count.
/// While a limit is changed, instances that know the old one and the new one have buckets of their own: in one
/// of both, neither would keep to its worst case.
fn identity(spec: &EndpointSpec, limit: &RateLimitSpec, namespace: &str, index: usize) -> String {
    let RateLimitSpec {
        permits,
        period,
        burst,
        prefetch,
        algorithm,
        ..
    } = limit;
    let counted = format!(
        "{algorithm:?}\0{permits}\0{}\0{burst}\0{prefetch}",
        micros(*period)
    );
    match limit.name {
        Some(name) => format!("{namespace}\0name\0{name}\0{counted}"),
        None => {
            let first = if let Some(version) = spec.version {
                version.first()
            } else {
                0
            };
            format!(
                "{namespace}\0endpoint\0{}\0{first}\0{}\0{index}\0{counted}",
                spec.method, spec.path
            )
        }
    }
}

fn number(identity: &str) -> u64 {
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

/// What no bucket can keep; the macro refuses most of it already.
pub(crate) fn impossible(spec: &EndpointSpec) -> StartError {
    StartError::new(format!(
        "`{}` ({} {}): a rate limit needs a rate and a burst of at least 1, a cost of at most the burst, and a \
         bucket that refills within a hundred years; a fixed window admits at most one a microsecond, and a sliding \
         window logs at most {} requests",
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
    fn b01_a_limit_that_is_changed_has_buckets_of_its_own() {
        let named = |limit: RateLimitSpec| identity(&SPEC, &limit.with_name("shared"), "test", 0);
        let limit = RateLimitSpec::new(100, MINUTE);
        assert_eq!(
            named(limit),
            named(limit.with_cost(3)),
            "the cost is each endpoint's own"
        );
        for other in [
            RateLimitSpec::new(99, MINUTE).with_burst(100),
            RateLimitSpec::new(100, 2 * MINUTE),
            limit.with_burst(10),
            limit.with_prefetch(10),
            limit.with_algorithm(Algorithm::LeakyBucket),
        ] {
            assert_ne!(named(limit), named(other), "{other:?}");
        }
    }
}
