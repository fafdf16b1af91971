use form_urlencoded::Serializer;

/// A builder of a `Link` field (RFC 8288) with the URIs of other pages. Each URI also has the
/// request's query parameters that do not select a page.
pub(super) struct Links<'a> {
    path: &'a str,
    filters: &'a [(String, String)],
    text: String,
}

impl<'a> Links<'a> {
    pub(super) const fn new(path: &'a str, filters: &'a [(String, String)]) -> Self {
        Self {
            path,
            filters,
            text: String::new(),
        }
    }

    /// Adds the page with these query parameters.
    pub(super) fn add(&mut self, relation: &str, parameters: &[(&str, &str)]) {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.filters).extend_pairs(parameters);
        let comma = if self.text.is_empty() { "" } else { ", " };
        for part in [
            comma,
            "<",
            self.path,
            "?",
            &query.finish(),
            ">; rel=\"",
            relation,
            "\"",
        ] {
            self.text.push_str(part);
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d06_links_keep_the_other_parameters() {
        let filters = [(String::from("account"), String::from("a&b"))];
        let mut links = Links::new("/v1/payments", &filters);
        links.add("first", &[("limit", "7")]);
        links.add("next", &[("limit", "7"), ("cursor", "abc")]);
        assert_eq!(
            links.finish(),
            "</v1/payments?account=a%26b&limit=7>; rel=\"first\", \
             </v1/payments?account=a%26b&limit=7&cursor=abc>; rel=\"next\""
        );
    }
}
