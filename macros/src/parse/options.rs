//! The options in the parentheses of a key, such as `enforce` in `sunset("…", enforce)`.

use super::argument::{Argument, Item};
use crate::errors::Sink;
use crate::suggest;

/// The options that a key accepts in its parentheses.
pub(crate) struct Options<'a> {
    /// The name of the key, for messages.
    pub(crate) of: &'a str,
    /// The names of the options that the key accepts.
    pub(crate) keys: &'a [&'static str],
}

impl Options<'_> {
    /// Returns the options among `items`, each at most once, in the order written. Reports unknown
    /// options, repeated options and values.
    pub(crate) fn read<'i>(
        &self,
        items: &'i [Item],
        sink: &Sink<'_>,
    ) -> Vec<(&'static str, &'i Argument)> {
        let mut read: Vec<(&'static str, &Argument)> = Vec::new();
        for item in items {
            let option = match item {
                Item::Option(option) => option,
                Item::Value(value) => {
                    let keys = suggest::list(self.keys.iter().copied());
                    sink.report(
                        &value.tokens,
                        format!("expected an option of `{}`: {keys}", self.of),
                    );
                    continue;
                }
            };
            let name = option.name();
            match self.keys.iter().find(|key| **key == name) {
                None => {
                    let suggestion = suggest::suggestion(&name, self.keys.iter().copied());
                    sink.report(
                        &option.key,
                        format!("unknown option `{name}` of `{}`, {suggestion}", self.of),
                    );
                }
                Some(_) if read.iter().any(|(key, _)| *key == name) => {
                    sink.report(&option.key, format!("`{name}` is given twice: remove one"));
                }
                Some(key) => read.push((key, option)),
            }
        }
        read
    }
}
