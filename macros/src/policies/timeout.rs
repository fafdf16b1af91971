//! `timeout = "5s"`: the response deadline.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

use super::{Policy, duration};
use crate::errors::Sink;
use crate::parse::{Argument, units};

/// The deadline, if one is declared.
#[derive(Default)]
pub(crate) struct Timeout {
    after: Option<Duration>,
}

impl Policy for Timeout {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        let Some((text, value)) = argument.text("timeout = \"5s\"", sink) else {
            return;
        };
        match units::duration(&text) {
            Ok(after) => self.after = Some(after),
            Err(message) => sink.report(&value.tokens, message),
        }
    }

    fn spec(&self) -> TokenStream {
        let after = self.after.map(duration);
        after.map_or_else(TokenStream::new, |after| quote!(.with_timeout(#after)))
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors};

    #[test]
    fn a_duration_is_accepted() {
        assert_eq!(
            calls("get = \"/a\", timeout = \"5s\""),
            ".with_timeout(Duration::from_millis(5000u64))"
        );
    }

    #[test]
    fn other_values_are_rejected() {
        for text in [
            "timeout",
            "timeout = 5",
            "timeout = \"5\"",
            "timeout = \"0s\"",
            "timeout(\"5s\")",
            "timeout = 5s",
        ] {
            assert_eq!(errors(&format!("get = \"/a\", {text}")).len(), 1, "{text}");
        }
    }
}
