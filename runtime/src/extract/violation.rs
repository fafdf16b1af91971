//! Converts the paths of garde to locations in the data that the client sent. A path of garde
//! locates a field in a type.

use serde_json::Value;

use super::pointer::Pointer;
use crate::problem::Location;

/// A step of the path to a violation. The derived order sorts by index and then by name, so that
/// list items are in the order of the document.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

/// Converts a path to steps. The serialized form of a path is a list of pairs: a kind and a text.
/// Other forms of a path cannot distinguish the member `a.b` from the member `b` of `a`.
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

/// Returns the pointer into a document.
///
/// A step that has no member in the document is left out in two cases:
///
/// - If the value is an object that has a member for the next step, this step is a flattened
///   struct.
/// - If the step is index 0 and the value is neither an object nor a list, this step is the field
///   of a tuple struct, such as `struct Name(String)`.
pub(super) fn pointer(document: &Value, path: &[Step]) -> Location {
    let (mut pointer, mut here) = (Pointer::new(), Some(document));
    for (index, step) in path.iter().enumerate() {
        let name = name(here, step);
        let next = here.and_then(|here| descend(here, step, &name));
        let next_step = path.get(index + 1);
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

/// Returns the name of a step in the document.
fn name(here: Option<&Value>, step: &Step) -> String {
    match (step, here) {
        (Step::Index(index), _) => index.to_string(),
        (Step::Key(key), Some(Value::Object(members))) => variant_name(members.keys(), key),
        (Step::Key(key), _) => variant_name([].into_iter(), key),
    }
}

/// Returns the parameter of a violation. It is the innermost name of the path, because parameters
/// are flat. If the path has no name, as in a tuple of path parameters, the position selects the
/// parameter.
pub(super) fn parameter(names: &[String], path: &[Step]) -> Location {
    let innermost = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(variant_name(names.iter(), key)),
        Step::Index(_) => None,
    });
    let position = || match path.first() {
        Some(Step::Index(index)) => names.get(*index).cloned(),
        _ => names.first().cloned(),
    };
    Location::Parameter(innermost.or_else(position).unwrap_or_default().into())
}

/// Returns the name in the document that differs from the field's name only in style, such as
/// `giftText` for `gift_text`.
fn variant_name<'a>(mut names: impl Iterator<Item = &'a String> + Clone, field: &str) -> String {
    let field = field.strip_prefix("r#").unwrap_or(field);
    let has_same_letters = |name: &&String| letters(name).eq(letters(field));
    if names.clone().any(|name| name == field) {
        return field.to_owned();
    }
    names
        .find(has_same_letters)
        .map_or(field, String::as_str)
        .to_owned()
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
        for (path, expected) in [
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
            assert_eq!(text(pointer(&document, &path)), expected, "{path:?}");
        }
    }

    #[test]
    fn f04_a_parameter_has_the_name_that_was_sent() {
        let names = ["pageSize".to_owned(), "tag".to_owned()];
        for (path, expected) in [
            (vec![key("page_size")], "pageSize"),
            (vec![key("flattened"), key("tag"), Step::Index(3)], "tag"),
            (vec![key("missing")], "missing"),
            (vec![Step::Index(1)], "tag"),
            (vec![Step::Index(7)], ""),
            (vec![], "pageSize"),
        ] {
            assert_eq!(text(parameter(&names, &path)), expected, "{path:?}");
        }
    }
}
