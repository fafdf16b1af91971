//! From a place in a type, as garde tells it, to the place in what a client sent.

use serde_json::Value;

use super::pointer::Pointer;
use crate::problem::Location;

/// A step of the way to a mistake. Sorted as a reader would look for it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

/// A path serialises as a list of pairs of a kind and a text; its other forms cannot tell `a.b` from `a` and `b`.
pub(super) fn steps(path: &garde::Path) -> Vec<Step> {
    let Ok(Value::Array(components)) = serde_json::to_value(path) else {
        return Vec::new();
    };
    components.iter().filter_map(step).collect()
}

fn step(component: &Value) -> Option<Step> {
    let text = component[1].as_str()?;
    match component[0].as_str()? {
        "index" => text.parse().map(Step::Index).ok(),
        "key" => Some(Step::Key(text.to_owned())),
        _ => None,
    }
}

/// The pointer into a document. A step that leads nowhere while the next one leads on is that of a
/// flattened struct, which the document does not have; nor has it the one into a struct that wraps a plain value.
pub(super) fn pointer(document: &Value, place: &[Step]) -> Location {
    let (mut pointer, mut here) = (Pointer::new(), Some(document));
    for (position, step) in place.iter().enumerate() {
        let name = name(here, step);
        let next = here.and_then(|here| descend(here, step, &name));
        let next_step = place.get(position + 1);
        if next.is_none()
            && here.is_some_and(|here| continues_path(here, next_step) || wraps(step, here))
        {
            continue;
        }
        pointer.push(&name);
        here = next;
    }
    pointer.into()
}

fn continues_path(here: &Value, step: Option<&Step>) -> bool {
    step.is_some_and(|step| {
        here.is_object() && descend(here, step, &name(Some(here), step)).is_some()
    })
}

fn wraps(step: &Step, here: &Value) -> bool {
    *step == Step::Index(0) && !here.is_array() && !here.is_object()
}

fn descend<'a>(here: &'a Value, step: &Step, name: &str) -> Option<&'a Value> {
    match step {
        Step::Index(index) if here.is_array() => here.get(index),
        // A number can be the name of a member.
        _ => here.get(name),
    }
}

/// What the document calls it.
fn name(here: Option<&Value>, step: &Step) -> String {
    match (step, here) {
        (Step::Index(index), _) => index.to_string(),
        (Step::Key(key), Some(Value::Object(members))) => variant_name(members.keys(), key),
        (Step::Key(key), _) => variant_name([].into_iter(), key),
    }
}

/// The innermost name: parameters are flat. By position only where there is none, as in a tuple of path parameters.
pub(super) fn parameter(names: &[String], place: &[Step]) -> Location {
    let innermost = place.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(variant_name(names.iter(), key)),
        Step::Index(_) => None,
    });
    let position = || match place.first() {
        Some(Step::Index(index)) => names.get(*index).cloned(),
        _ => names.first().cloned(),
    };
    Location::Parameter(innermost.or_else(position).unwrap_or_default().into())
}

/// The name that says the same as a field's in its own style, such as `giftText` for `gift_text`.
fn variant_name<'a>(mut names: impl Iterator<Item = &'a String> + Clone, field: &str) -> String {
    let field = field.strip_prefix("r#").unwrap_or(field);
    let same = |name: &&String| letters(name).eq(letters(field));
    if names.clone().any(|name| name == field) {
        return field.to_owned();
    }
    names.find(same).map_or(field, String::as_str).to_owned()
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|letter| !['_', '-'].contains(letter))
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    fn text(location: Location) -> String {
        match location {
            Location::Pointer(text) | Location::Parameter(text) | Location::Header(text) => {
                text.into_owned()
            }
        }
    }

    #[test]
    fn f04_a_pointer_has_the_names_of_the_document() {
        let document = json!({
            "giftText": {"LAST_NAME": 1, "kebab-case": [[0], [1]]}, "type": 1, "a_b": 1, "aB": 2,
            "byNumber": {"7": {"lastName": 1}},
        });
        for (place, expected) in [
            (vec![], "#"),
            (
                vec![key("gift_text"), key("last_name")],
                "#/giftText/LAST_NAME",
            ),
            (
                vec![
                    key("gift_text"),
                    key("kebab_case"),
                    Step::Index(1),
                    Step::Index(0),
                ],
                "#/giftText/kebab-case/1/0",
            ),
            (vec![key("r#type")], "#/type"),
            (vec![key("a_b")], "#/a_b"),
            (vec![key("missing"), key("gift_text")], "#/giftText"),
            (vec![key("missing_member")], "#/missing_member"),
            (
                vec![key("gift_text"), key("missing"), key("deeper")],
                "#/giftText/missing/deeper",
            ),
            (vec![key("type"), key("of_a_number")], "#/type/of_a_number"),
            (vec![Step::Index(0), key("gift_text")], "#/giftText"),
            (vec![key("type"), Step::Index(0)], "#/type"),
            (
                vec![
                    key("gift_text"),
                    key("kebab_case"),
                    Step::Index(1),
                    Step::Index(0),
                    Step::Index(0),
                ],
                "#/giftText/kebab-case/1/0",
            ),
            (
                vec![key("gift_text"), Step::Index(7), key("last_name")],
                "#/giftText/LAST_NAME",
            ),
            (
                vec![key("by_number"), Step::Index(7), key("last_name")],
                "#/byNumber/7/lastName",
            ),
        ] {
            assert_eq!(text(pointer(&document, &place)), expected, "{place:?}");
        }
    }

    #[test]
    fn f04_a_parameter_has_the_name_that_was_sent() {
        let names = ["pageSize".to_owned(), "tag".to_owned()];
        for (place, expected) in [
            (vec![key("page_size")], "pageSize"),
            (vec![key("flattened"), key("tag"), Step::Index(3)], "tag"),
            (vec![key("missing")], "missing"),
            (vec![Step::Index(1)], "tag"),
            (vec![Step::Index(7)], ""),
            (vec![], "pageSize"),
        ] {
            assert_eq!(text(parameter(&names, &place)), expected, "{place:?}");
        }
    }
}
