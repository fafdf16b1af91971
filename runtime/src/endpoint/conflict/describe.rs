//! What a refused endpoint is told.

use super::same_bytes;
use crate::endpoint::message::Message;
use crate::spec::EndpointSpec;

pub(super) const fn same_requests(later: &EndpointSpec, earlier: &EndpointSpec) -> Message {
    let version = common_version(later, earlier);
    let message = named(Message::new(), later, version);
    if is_same(later, earlier) {
        return message.text(" is listed twice");
    }
    declared(named(message.text(" answers the same requests as "), earlier, version), earlier)
}

pub(super) const fn other_names(later: &EndpointSpec, earlier: &EndpointSpec) -> Message {
    let version = common_version(later, earlier);
    let message = named(Message::new(), later, version).text(" names its parameters otherwise than ");
    declared(named(message, earlier, version), earlier).text(": a router knows a path by one set of names")
}

pub(super) const fn hole(spec: &EndpointSpec, version: u32) -> Message {
    let first = match spec.version {
        Some(version) => version.first(),
        None => 0,
    };
    let message = Message::new()
        .text("no endpoint of this list serves version ")
        .number(version as usize)
        .text(", though others serve an earlier one and ");
    named(message, spec, first).text(" a later one: number the versions without a hole")
}

/// `` `get_order` (GET /v1/orders/{id}) ``
#[expect(clippy::large_types_passed_by_value, reason = "built once, where the compilation fails")]
const fn named(message: Message, spec: &EndpointSpec, version: u32) -> Message {
    let message = message.text("`").text(spec.name).text("` (").text(spec.method.as_str()).text(" ");
    let message = if version > 0 { message.text("/v").number(version as usize) } else { message };
    message.text(spec.path).text(")")
}

#[expect(clippy::large_types_passed_by_value, reason = "built once, where the compilation fails")]
const fn declared(message: Message, spec: &EndpointSpec) -> Message {
    message.text(", declared at ").text(spec.location.file).text(":").number(spec.location.line as usize)
}

/// The lowest version that both serve; 0 without versions.
const fn common_version(one: &EndpointSpec, other: &EndpointSpec) -> u32 {
    match (one.version, other.version) {
        (Some(a), Some(b)) if a.first() > b.first() => a.first(),
        (Some(_), Some(b)) => b.first(),
        _ => 0,
    }
}

const fn is_same(one: &EndpointSpec, other: &EndpointSpec) -> bool {
    one.location.line == other.location.line
        && same_text(one.name, other.name)
        && same_text(one.location.module, other.location.module)
        && same_text(one.location.file, other.location.file)
}

const fn same_text(one: &str, other: &str) -> bool {
    same_bytes(one.as_bytes(), 0, one.len(), other.as_bytes(), 0, other.len())
}
