//! The error messages of conflicts.

use super::same_bytes;
use super::successors::missing_parameter;
use crate::endpoint::message::Message;
use crate::policies::deprecation::{Date, DeprecationSpec};
use crate::spec::{EndpointId, EndpointSpec};

pub(super) const fn same_requests(later: &EndpointSpec, earlier: &EndpointSpec) -> Message {
    let version = common_version(later, earlier);
    let message = named(Message::new(), later, version);
    if is_same(&later.id(), &earlier.id()) {
        return message.text(" is listed twice: remove one");
    }
    declared(
        named(
            message.text(" answers the same requests as "),
            earlier,
            version,
        ),
        earlier,
    )
    .text(": change the method, the path or the version of one")
}

pub(super) const fn parameter_names(later: &EndpointSpec, earlier: &EndpointSpec) -> Message {
    let version = common_version(later, earlier);
    let message =
        named(Message::new(), later, version).text(" names its path parameters differently from ");
    declared(named(message, earlier, version), earlier)
        .text(": use the same names, since a router accepts one name for each parameter")
}

pub(super) const fn version_gap(spec: &EndpointSpec, version: u32) -> Message {
    let first = match spec.version {
        Some(version) => version.first(),
        None => 0,
    };
    let message = Message::new()
        .text("no endpoint of this list serves version ")
        .number(version as usize)
        .text(", between an earlier version and ");
    named(message, spec, first).text(": number the versions without a gap")
}

pub(super) const fn successor_unlisted(spec: &EndpointSpec) -> Message {
    let message = own_name(Message::new(), spec);
    match spec.deprecation {
        Some(DeprecationSpec {
            successor: Some(id),
            ..
        }) => located(
            message.text(" has the successor `").text(id.name).text("`"),
            id,
        )
        .text(", which is not in this list: add it, or remove `successor`"),
        _ => message,
    }
}

pub(super) const fn successor_method(spec: &EndpointSpec, successor: &EndpointSpec) -> Message {
    succeeded(spec, successor)
        .text(", which has another method: use the same method, or remove `successor` and describe the ")
        .text("replacement on the page of `info`")
}

pub(super) const fn successor_parameter(spec: &EndpointSpec, successor: &EndpointSpec) -> Message {
    let name = match missing_parameter(spec.path, successor.path) {
        Some((from, to)) => successor.path.split_at(to).0.split_at(from).1,
        None => "",
    };
    succeeded(spec, successor)
        .text(", whose parameter `{")
        .text(name)
        .text("}` it does not have, so that responses cannot link to it: use the same names for the same ")
        .text("parameters, or remove `successor`")
}

pub(super) const fn successor_sunset(spec: &EndpointSpec, successor: &EndpointSpec) -> Message {
    let message = succeeded(spec, successor).text(", whose sunset ");
    let message = date(message, sunset(successor)).text(" is not later than ");
    date(message, sunset(spec)).text(": write a later sunset, or another successor")
}

pub(super) const fn successor_cycle(spec: &EndpointSpec, successor: &EndpointSpec) -> Message {
    succeeded(spec, successor)
        .text(", whose successors lead back to it: remove `successor` from the newest endpoint")
}

/// Starts a message such as `` `a` (GET /v1/a) has the successor `b` (GET /v2/a) ``.
const fn succeeded(spec: &EndpointSpec, successor: &EndpointSpec) -> Message {
    own_name(
        own_name(Message::new(), spec).text(" has the successor "),
        successor,
    )
}

const fn sunset(spec: &EndpointSpec) -> Option<Date> {
    match spec.deprecation {
        Some(deprecation) => deprecation.sunset,
        None => None,
    }
}

#[expect(
    clippy::large_types_passed_by_value,
    reason = "built once, where the compilation fails"
)]
const fn date(message: Message, date: Option<Date>) -> Message {
    let Some(date) = date else { return message };
    let message = message.number(date.year() as usize).text("-");
    let message = message
        .number(date.month() as usize / 10)
        .number(date.month() as usize % 10)
        .text("-");
    message
        .number(date.day() as usize / 10)
        .number(date.day() as usize % 10)
}

/// Appends the endpoint, with the version that links use.
#[expect(
    clippy::large_types_passed_by_value,
    reason = "built once, where the compilation fails"
)]
const fn own_name(message: Message, spec: &EndpointSpec) -> Message {
    let version = match spec.version {
        Some(version) => version.newest_named(),
        None => 0,
    };
    named(message, spec, version)
}

/// Appends an endpoint, such as `` `get_order` (GET /v1/orders/{id}) ``.
#[expect(
    clippy::large_types_passed_by_value,
    reason = "built once, where the compilation fails"
)]
const fn named(message: Message, spec: &EndpointSpec, version: u32) -> Message {
    let message = message
        .text("`")
        .text(spec.name)
        .text("` (")
        .text(spec.method.as_str())
        .text(" ");
    let message = if version > 0 {
        message.text("/v").number(version as usize)
    } else {
        message
    };
    message.text(spec.path).text(")")
}

#[expect(
    clippy::large_types_passed_by_value,
    reason = "built once, where the compilation fails"
)]
const fn declared(message: Message, spec: &EndpointSpec) -> Message {
    located(message, &spec.id())
}

#[expect(
    clippy::large_types_passed_by_value,
    reason = "built once, where the compilation fails"
)]
const fn located(message: Message, id: &EndpointId) -> Message {
    message
        .text(", declared at ")
        .text(id.location.file)
        .text(":")
        .number(id.location.line as usize)
}

/// Returns the lowest version that both endpoints serve, or 0 if they have no versions.
const fn common_version(one: &EndpointSpec, other: &EndpointSpec) -> u32 {
    match (one.version, other.version) {
        (Some(a), Some(b)) if a.first() > b.first() => a.first(),
        (Some(_), Some(b)) => b.first(),
        _ => 0,
    }
}

pub(super) const fn is_same(one: &EndpointId, other: &EndpointId) -> bool {
    one.location.line == other.location.line
        && same_text(one.name, other.name)
        && same_text(one.location.module, other.location.module)
        && same_text(one.location.file, other.location.file)
}

const fn same_text(one: &str, other: &str) -> bool {
    same_bytes(
        one.as_bytes(),
        0,
        one.len(),
        other.as_bytes(),
        0,
        other.len(),
    )
}
