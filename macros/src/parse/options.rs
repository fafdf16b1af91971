//! The options of a list.

use super::argument::{Argument, Item};
use crate::errors::Sink;
use crate::suggest;

/// The known options of a list, each at most once, in the order written.
pub(crate) struct Options<'a> {
    /// The argument that has them.
    pub(crate) of: &'a str,
    /// Their keys.
    pub(crate) keys: &'a [&'static str],
}

impl Options<'_> {
    /// The options among `items`; unknown and repeated ones and values are reported.
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
                        format!("no value is expected here: `{}` takes {keys}", self.of),
                    );
                    continue;
                }
            };
            let name = option.name();
            match self.keys.iter().find(|key| **key == name) {
                None => {
                    let instead = suggest::suggestion(&name, self.keys.iter().copied());
                    sink.report(
                        &option.key,
                        format!("`{}` has no `{name}`: {instead}", self.of),
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
