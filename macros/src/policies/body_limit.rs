//! `body_limit = "1MB"`: the largest request body.

use proc_macro2::TokenStream;
use quote::quote;

use super::Policy;
use crate::errors::Sink;
use crate::parse::{Argument, units};

/// The limit, if one is declared.
#[derive(Default)]
pub(crate) struct BodyLimit {
    bytes: Option<u64>,
}

impl Policy for BodyLimit {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        let Some((text, value)) = argument.text("body_limit = \"1MB\"", sink) else {
            return;
        };
        match units::size(&text) {
            Ok(0) => {
                let message = format!("\"{text}\" admits no body: write at least \"1B\"");
                sink.report(&value.tokens, message);
            }
            Ok(bytes) => self.bytes = Some(bytes),
            Err(message) => sink.report(&value.tokens, message),
        }
    }

    fn spec(&self) -> TokenStream {
        self.bytes
            .map_or_else(TokenStream::new, |bytes| quote!(.with_body_limit(#bytes)))
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors};

    #[test]
    fn a_size_is_accepted() {
        assert_eq!(
            calls("put = \"/a\", body_limit = \"2KiB\""),
            ".with_body_limit(2048u64)"
        );
    }

    #[test]
    fn other_values_are_rejected() {
        for text in [
            "body_limit",
            "body_limit = 1",
            "body_limit = \"1\"",
            "body_limit = \"0B\"",
            "body_limit = \"1mb\"",
        ] {
            assert_eq!(errors(&format!("put = \"/a\", {text}")).len(), 1, "{text}");
        }
    }
}
