//! What only the whole API shows to be wrong.

use core::time::Duration;
use std::collections::HashMap;

use super::{Api, codes};
use crate::endpoint::PathShape;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::policies::rate_limit::{Quota, RateLimitSpec, impossible};
use crate::policies::version;
use crate::spec::{Access, EndpointSpec};
use crate::start::{StartError, StartErrors};

pub(super) fn endpoints<S>(api: &Api<S>, errors: &mut StartErrors) {
    access(api, errors);
    anonymous_keys(api, errors);
    named_limits(api, errors);
    problem_base(api, errors);
    deprecation_info(api, errors);
    open_ranges(api, errors);
    errors.extend(codes::conflicts(api.routes.specs()));
    for spec in api.routes.specs() {
        path_arguments(spec, errors);
        if spec
            .rate_limits
            .iter()
            .any(|limit| Quota::of(limit).is_none())
        {
            errors.push(impossible(spec));
        }
    }
}

fn access<S>(api: &Api<S>, errors: &mut StartErrors) {
    if api.auth.is_some() && api.open {
        errors.push(StartError::new(
            "the API says both Api::auth(…) and Api::without_auth(); remove one",
        ));
    }
    if api.auth.is_some() || api.open {
        return;
    }
    let guarded = api
        .routes
        .specs()
        .filter(|spec| spec.access == Access::Authenticated);
    errors.extend(guarded.map(|spec| {
        let name = named(spec);
        StartError::new(format!(
            "{name} wants a caller and the API has no authentication; say Api::auth(…), mark it `public`, or say \
             Api::without_auth() to let everybody in"
        ))
    }));
}

/// Without an identity, whoever knows a key gets its answer: that must be said.
fn anonymous_keys<S>(api: &Api<S>, errors: &mut StartErrors) {
    let unsaid = |spec: &&EndpointSpec| match spec.idempotency {
        IdempotencyPolicy::Idempotent(idempotency) => {
            let public = spec.access == Access::Public && !idempotency.optional;
            !idempotency.anonymous && (api.open || public)
        }
        _ => false,
    };
    errors.extend(api.routes.specs().filter(unsaid).map(|spec| {
        let name = named(spec);
        StartError::new(format!(
            "{name} is idempotent and its callers have no identity; say `idempotent(anonymous)`, which asks for keys \
             that cannot be guessed"
        ))
    }));
}

/// An answer must be there at least as long as a dead process blocks its key.
pub(super) fn times_to_live<S>(api: &Api<S>, lease: Duration, errors: &mut StartErrors) {
    for spec in api.routes.specs() {
        if let IdempotencyPolicy::Idempotent(idempotency) = spec.idempotency
            && idempotency.ttl < lease
        {
            let (name, ttl) = (named(spec), idempotency.ttl);
            errors.push(StartError::new(format!(
                "{name} keeps answers for {ttl:?} only, less than the lease of {lease:?}; raise `ttl`, or lower \
                 APLOMB_LEASE"
            )));
        }
    }
}

/// Endpoints that name the same limit share its buckets, so they must mean the same.
fn named_limits<S>(api: &Api<S>, errors: &mut StartErrors) {
    let mut seen: HashMap<&str, (&RateLimitSpec, &EndpointSpec)> = HashMap::new();
    for spec in api.routes.specs() {
        for (index, limit) in spec.rate_limits.iter().enumerate() {
            let Some(name) = limit.name else { continue };
            if spec.rate_limits[..index]
                .iter()
                .any(|other| other.name == limit.name)
            {
                errors.push(StartError::new(format!(
                    "{} names the limit `{name}` twice",
                    named(spec)
                )));
            }
            let (first, first_spec) = *seen.entry(name).or_insert((limit, spec));
            if !check_named_limit(first, limit) {
                let (left, right) = (named(first_spec), named(spec));
                let how = difference(first, limit);
                errors.push(StartError::new(format!(
                    "{left} and {right} declare the limit `{name}` differently{how}"
                )));
            }
        }
    }
}

/// What to write where one word makes the difference.
fn difference(left: &RateLimitSpec, right: &RateLimitSpec) -> &'static str {
    // A bucket of which some endpoints take what they please measures nothing.
    if left.shadow != right.shadow {
        "; say `shadow` in both or in neither"
    } else if left.on_error != right.on_error {
        "; say `on_error = deny` in both or in neither"
    } else {
        ""
    }
}

/// All but the cost, which is each endpoint's own.
fn check_named_limit(left: &RateLimitSpec, right: &RateLimitSpec) -> bool {
    left.with_cost(1) == right.with_cost(1)
}

fn problem_base<S>(api: &Api<S>, errors: &mut StartErrors) {
    let Some(base) = &api.problem_base else {
        return;
    };
    let scheme = base.split_once(':').map_or("", |(scheme, _)| scheme);
    let absolute =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && has_only_uri_bytes(base);
    if !absolute {
        errors.push(StartError::new(format!(
            "the problem base {base:?} is not an absolute URI"
        )));
    }
}

fn deprecation_info<S>(api: &Api<S>, errors: &mut StartErrors) {
    let Some(page) = &api.deprecation_info else {
        return;
    };
    let starts = ["https://", "http://", "/"]
        .iter()
        .find(|start| page.starts_with(*start));
    if starts.is_none_or(|start| *start != "/" && page.len() == start.len())
        || !has_only_uri_bytes(page)
    {
        errors.push(StartError::new(format!(
            "the page of deprecations {page:?} is neither an absolute URL of http or https nor a path that begins \
             with a slash"
        )));
    }
}

/// Versions that are dates, such as 20260101, beside a range that has no end.
fn open_ranges<S>(api: &Api<S>, errors: &mut StartErrors) {
    let newest = version::newest(api.routes.specs());
    for spec in api.routes.specs() {
        if let Some(last) = version::too_many(spec, newest) {
            errors.push(StartError::new(format!(
                "{}: its versions go up to {last}, which another endpoint names, and it can serve {} at most: \
                 write the last one that it serves",
                named(spec),
                version::MOST
            )));
        }
    }
}

fn has_only_uri_bytes(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

/// Compares what a `Path` argument reads with what the template names. The compiler has compared
/// the numbers of common types; the names of a struct's fields are known only here.
fn path_arguments(spec: &EndpointSpec, errors: &mut StartErrors) {
    let named_by_template: Vec<&str> = parameters(spec.path).collect();
    for probe in spec.path_arguments.iter().flatten() {
        let shape = match probe() {
            PathShape::Optional(_) if named_by_template.is_empty() => continue,
            PathShape::Optional(shape) => *shape,
            shape => shape,
        };
        let wrong = match shape {
            PathShape::Positional(count) if count != named_by_template.len() => {
                format!("reads {count}")
            }
            PathShape::Named(fields) => match misnamed(fields, &named_by_template) {
                Some(field) => format!("reads `{field}`"),
                None => continue,
            },
            PathShape::Positional(_)
            | PathShape::Unknown
            | PathShape::Optional(_)
            | PathShape::RequestId => continue,
        };
        let names = named_by_template.join("`, `");
        errors.push(StartError::new(format!(
            "{}: its `Path` argument {wrong}; the path names `{names}`",
            named(spec)
        )));
    }
}

/// A field that the template does not name, while the template names something that no field reads.
/// One without the other can be meant: an alias or an optional field, a parameter that is not read.
fn misnamed(fields: &'static [&'static str], named: &[&str]) -> Option<&'static str> {
    let unread = named.iter().any(|name| !fields.contains(name));
    fields
        .iter()
        .copied()
        .find(|field| unread && !named.contains(field))
}

fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

pub(super) fn named(spec: &EndpointSpec) -> String {
    format!("`{}` ({} {})", spec.name, spec.method, spec.path)
}
