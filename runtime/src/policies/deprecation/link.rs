//! The link from a request to the same resource in the successor.

use std::borrow::Cow;

use crate::extract::reference;

/// The path template of a successor. It is filled with the path parameters of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SuccessorPath(Vec<PathPart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum PathPart {
    Literal(String),
    /// The segment with this index in the path of the request.
    Segment(usize),
}

impl SuccessorPath {
    /// Creates the path from `to`, the template of the successor. `from` is the template of the
    /// deprecated endpoint. Returns `None` if `to` has a parameter that `from` does not have.
    pub(super) fn new(from: &str, to: &str) -> Option<Self> {
        let part = |segment: &str| {
            if segment.starts_with('{') {
                from.split('/')
                    .position(|source| source == segment)
                    .map(PathPart::Segment)
            } else {
                Some(PathPart::Literal(segment.to_owned()))
            }
        };
        to.split('/').map(part).collect::<Option<_>>().map(Self)
    }

    /// Returns the successor's path for a request with this `path`, percent-encoded as in the
    /// request.
    pub(super) fn fill(&self, path: &str) -> String {
        let request_segments: Vec<&str> = path.split('/').collect();
        let segments = self.0.iter().map(|part| match part {
            PathPart::Literal(segment) => segment.as_str(),
            PathPart::Segment(index) => request_segments.get(*index).copied().unwrap_or_default(),
        });
        let segments: Vec<Cow<'_, str>> = segments.map(reference).collect();
        segments.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e02_a_successor_link_gets_the_request_parameters_with_the_same_names() {
        let path = SuccessorPath::new("/v1/a/{one}/b/{two}", "/things/{two}/of/{one}")
            .expect("the same names");
        assert_eq!(path.fill("/v1/a/x%2Fy/b/7"), "/things/7/of/x%2Fy");
        let path = SuccessorPath::new("/v1/things", "/things").expect("no parameters");
        assert_eq!(path.fill("/v1/things"), "/things");
        assert_eq!(SuccessorPath::new("/v1/a/{one}", "/a/{other}"), None);
    }

    #[test]
    fn e02_characters_outside_of_uri_references_are_encoded_in_a_link() {
        let path = SuccessorPath::new("/v1/a/{id}", "/a/{id}").expect("the same names");
        assert_eq!(path.fill("/v1/a/\"{ü}|%22"), "/a/%22%7B%C3%BC%7D%7C%22");
    }

    proptest::proptest! {
        #[test]
        fn e02_a_link_contains_no_character_of_the_path_that_could_end_the_link(id in "[^/]*") {
            let path = SuccessorPath::new("/v1/a/{id}", "/a/{id}").expect("the same names");
            let link = path.fill(&format!("/v1/a/{id}"));
            proptest::prop_assert!(link.starts_with("/a/") && link.is_ascii());
            proptest::prop_assert!(!link.contains(['<', '>', '"', ' ', '\r', '\n']));
        }
    }
}
