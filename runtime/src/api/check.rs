//! Start-up checks that need the whole API: several endpoints, or endpoints and settings.

use core::time::Duration;
use std::collections::HashMap;

use super::assemble::body_argument;
use super::{Api, codes};
use crate::describe::ByteSize;
use crate::endpoint::PathShape;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::policies::rate_limit::{Quota, RateLimitSpec, invalid_limit};
use crate::policies::version;
use crate::request::BodyArgument;
use crate::spec::{Access, Database, EndpointSpec};
use crate::start::{StartError, StartErrors};
use crate::transaction::TransactionSource;

/// Checks all endpoints, and collects the errors.
pub(super) fn endpoints<S>(api: &Api<S>, errors: &mut StartErrors) {
    access(api, errors);
    caller_arguments(api, errors);
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
            errors.push(invalid_limit(spec));
        }
    }
}

fn access<S>(api: &Api<S>, errors: &mut StartErrors) {
    if api.auth.is_some() && api.is_open {
        errors.push(StartError::new(
            "the API calls both Api::auth(…) and Api::without_auth(): remove one of them",
        ));
    }
    if api.auth.is_some() || api.is_open {
        return;
    }
    let authenticated = api
        .routes
        .specs()
        .filter(|spec| spec.access == Access::Authenticated);
    errors.extend(authenticated.map(|spec| {
        let name = describe(spec);
        StartError::new(format!(
            "{name} needs an authenticated caller, but the API has no authentication: call \
             Api::auth(…), mark the endpoint `public`, or call Api::without_auth() to open every \
             endpoint"
        ))
    }));
}

/// Reports endpoints that take a `Caller` although the API has no authentication. Their requests
/// would always get a 401.
fn caller_arguments<S>(api: &Api<S>, errors: &mut StartErrors) {
    // If the API calls neither `auth` nor `without_auth`, the check `access` already reports all
    // endpoints that need a caller.
    let is_checked = |spec: &&EndpointSpec| api.is_open || spec.access == Access::Public;
    let takes_caller = |spec: &&EndpointSpec| {
        let mut probes = spec.path_arguments.iter().flatten();
        probes.any(|probe| probe() == PathShape::Caller)
    };
    if api.auth.is_some() {
        return;
    }
    let endpoints = api.routes.specs().filter(is_checked).filter(takes_caller);
    errors.extend(endpoints.map(|spec| {
        let name = describe(spec);
        StartError::new(format!(
            "{name} takes a `Caller`, but the API has no authentication, so every request would get a 401: \
             call Api::auth(…), or take an `Option<Caller>`"
        ))
    }));
}

/// Checks that an endpoint declares `anonymous` if its callers have no identity. Such callers share
/// their keys: anyone who has a key gets its response.
fn anonymous_keys<S>(api: &Api<S>, errors: &mut StartErrors) {
    let undeclared = |spec: &&EndpointSpec| match spec.idempotency {
        IdempotencyPolicy::Idempotent(idempotency) => {
            let public = spec.access == Access::Public && !idempotency.optional;
            !idempotency.anonymous && (api.is_open || public)
        }
        _ => false,
    };
    errors.extend(api.routes.specs().filter(undeclared).map(|spec| {
        let name = describe(spec);
        StartError::new(format!(
            "{name} is `idempotent`, but its callers have no identity that a key could belong to: \
             write `idempotent(anonymous)`, which requires keys that cannot be guessed"
        ))
    }));
}

/// Checks that the store keeps its records in the database of the handlers' transactions.
pub(super) fn transactions<S>(
    api: &Api<S>,
    source: Option<&dyn TransactionSource>,
    errors: &mut StartErrors,
) {
    let found = source.map(TransactionSource::database);
    for database in [Database::Sqlite, Database::Postgres] {
        let takes_other =
            |spec: &&EndpointSpec| spec.transaction == Some(database) && found != Some(database);
        let endpoints = api.routes.specs().filter(takes_other);
        let names: Vec<_> = endpoints.map(describe).collect();
        if names.is_empty() {
            continue;
        }
        // One mistake is one error, although it concerns many endpoints.
        let (names, takes) = match &*names {
            [name] => (name.clone(), "takes"),
            names => (names.join(", "), "take"),
        };
        let url = url_of(database);
        errors.push(StartError::new(match found {
            Some(found) => format!(
                "{names} {takes} a `Tx<{database}>`, but the store is in another database: take a \
                 `Tx<{found}>`, or set APLOMB_STORE={url}"
            ),
            None => format!(
                "{names} {takes} a `Tx<{database}>`, but the idempotency records are in another \
                 store: set APLOMB_STORE={url}, or call Api::store(Store::{}(&pool))",
                database.as_str().to_lowercase()
            ),
        }));
    }
}

const fn url_of(database: Database) -> &'static str {
    match database {
        Database::Sqlite => "sqlite:<path of a file>",
        Database::Postgres => "postgres://…",
    }
}

/// Checks that every response is stored at least as long as a crashed process blocks its key.
pub(super) fn times_to_live<S>(api: &Api<S>, lease: Duration, errors: &mut StartErrors) {
    for spec in api.routes.specs() {
        if let IdempotencyPolicy::Idempotent(idempotency) = spec.idempotency
            && idempotency.ttl < lease
        {
            let (name, ttl) = (describe(spec), idempotency.ttl);
            errors.push(StartError::new(format!(
                "{name} stores responses for {ttl:?}, which is shorter than the lease of {lease:?}: \
                 raise `ttl` or lower APLOMB_LEASE"
            )));
        }
    }
}

/// Checks that the largest body that is read as a whole fits into the memory for bodies. Otherwise
/// this body would always be a 503.
pub(super) fn body_memory<S: Clone + Send + Sync + 'static>(
    api: &Api<S>,
    memory: u64,
    errors: &mut StartErrors,
) {
    let limit = |spec: &EndpointSpec| spec.body_limit.unwrap_or(api.body_limit);
    let buffered = api.routes.entries().iter().filter(|entry| {
        // The fingerprint of a key needs the whole body, even if the handler reads it part by part.
        body_argument(entry) == BodyArgument::Buffered || entry.spec.idempotency.spec().is_some()
    });
    let largest = buffered
        .map(|entry| entry.spec)
        .max_by_key(|spec| limit(spec));
    if let Some(spec) = largest.filter(|spec| limit(spec) > memory) {
        let (name, limit, memory) = (describe(spec), ByteSize(limit(spec)), ByteSize(memory));
        errors.push(StartError::new(format!(
            "{name} accepts bodies of {limit}, but all bodies together may use only {memory}: raise \
             APLOMB_BODY_MEMORY or lower `body_limit`"
        )));
    }
}

/// Checks that endpoints that name the same limit declare it in the same way, because they share
/// its buckets.
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
                    "{} declares the limit `{name}` twice: rename or remove one of them",
                    describe(spec)
                )));
            }
            let (first, first_spec) = *seen.entry(name).or_insert((limit, spec));
            if !is_same_limit(first, limit) {
                let (left, right) = (describe(first_spec), describe(spec));
                let fix = describe_fix(first, limit);
                errors.push(StartError::new(format!(
                    "{left} and {right} declare the limit `{name}` differently: {fix}"
                )));
            }
        }
    }
}

/// Returns the fix that makes two declarations agree.
fn describe_fix(left: &RateLimitSpec, right: &RateLimitSpec) -> &'static str {
    if left.shadow != right.shadow {
        "write `shadow` in both or in neither"
    } else if left.on_error != right.on_error {
        "write `on_error = deny` in both or in neither"
    } else {
        "write the same rate and the same options in both, except `cost`"
    }
}

/// Compares everything except the cost, which each endpoint chooses for itself.
fn is_same_limit(left: &RateLimitSpec, right: &RateLimitSpec) -> bool {
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
            "the problem base {base:?} is not an absolute URI such as https://docs.example/problems/"
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
            "the deprecation page {page:?} is neither an absolute http or https URL nor a path that \
             begins with a slash"
        )));
    }
}

/// Refuses an open range (`version = 1..`) that would serve too many versions, because another
/// endpoint has a high version number, such as the date 20260101.
fn open_ranges<S>(api: &Api<S>, errors: &mut StartErrors) {
    let newest = version::newest(api.routes.specs());
    for spec in api.routes.specs() {
        if let Some(last) = version::last_if_too_many(spec, newest) {
            errors.push(StartError::new(format!(
                "{} has an open range of versions, which would end at {last}, the newest version of \
                 the API; an endpoint can serve at most {} versions: write the last version that it \
                 serves",
                describe(spec),
                version::MAX_VERSIONS
            )));
        }
    }
}

fn has_only_uri_bytes(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

/// Compares the parameters that a `Path` argument reads with the parameters of the path template.
/// The compiler has compared the counts for common types; the names of a struct's fields are known
/// only at start.
fn path_arguments(spec: &EndpointSpec, errors: &mut StartErrors) {
    let parameters: Vec<&str> = template_parameters(spec.path).collect();
    for probe in spec.path_arguments.iter().flatten() {
        let shape = match probe() {
            PathShape::Optional(_) if parameters.is_empty() => continue,
            PathShape::Optional(shape) => *shape,
            shape => shape,
        };
        let wrong = match shape {
            PathShape::Positional(count) if count != parameters.len() => {
                format!("reads {count}")
            }
            PathShape::Named(fields) => match find_misnamed(fields, &parameters) {
                Some(field) => format!("reads `{field}`"),
                None => continue,
            },
            PathShape::Positional(_)
            | PathShape::Unknown
            | PathShape::Optional(_)
            | PathShape::RequestId
            | PathShape::Caller
            | PathShape::RawBody
            | PathShape::StreamedBody => continue,
        };
        let names = match parameters.as_slice() {
            [] => String::from("no parameters"),
            names => format!("`{}`", names.join("`, `")),
        };
        errors.push(StartError::new(format!(
            "{}: its `Path` argument {wrong}, but its path has {names}: use the same parameters in both",
            describe(spec)
        )));
    }
}

/// Finds a field that is not a parameter. Returns `None` if every parameter has its field, because
/// an additional field can be an alias or optional. A parameter without a field is allowed as well,
/// because a handler need not read every parameter. Only both together are a mistake.
fn find_misnamed(fields: &'static [&'static str], parameters: &[&str]) -> Option<&'static str> {
    let has_unread = parameters.iter().any(|name| !fields.contains(name));
    fields
        .iter()
        .copied()
        .find(|field| has_unread && !parameters.contains(field))
}

fn template_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

/// Returns the text for an endpoint in messages, such as "`get_order` (GET /orders/{id})".
pub(super) fn describe(spec: &EndpointSpec) -> String {
    format!("`{}` ({} {})", spec.name, spec.method, spec.path)
}
