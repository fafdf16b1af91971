//! `crate = path`: the path of the `aplomb` crate, if it has another name or is re-exported.

use syn::Path;
use syn::parse::Parser;

use super::Policy;
use crate::errors::Sink;
use crate::parse::{Argument, Kind, Value};

/// The path of the `aplomb` crate.
#[derive(Default)]
pub(crate) struct CratePath {
    path: Option<Path>,
}

impl CratePath {
    /// Returns the path, if one is declared.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// Reads `crate = path`.
    pub(crate) fn read(argument: &Argument, sink: &Sink<'_>) -> Self {
        let example = "crate = framework::aplomb";
        let path = argument.value(example, sink).and_then(|value| {
            Path::parse_mod_style
                .parse2(value.tokens.clone())
                .map_err(|_| {
                    let wanted = "the path of the `aplomb` crate, without quotes";
                    argument.report_wrong_value::<()>(value, wanted, example, sink);
                })
                .ok()
                .or_else(|| in_quotes(value))
        });
        Self { path }
    }
}

/// Returns the path in a string. Users may write a string, because macros of other crates take a
/// path in quotes. The string is reported as an error, but the expansion uses the path, so that no
/// further errors follow.
fn in_quotes(value: &Value) -> Option<Path> {
    match &value.kind {
        Kind::Text(text) => Path::parse_mod_style.parse_str(text).ok(),
        _ => None,
    }
}

impl Policy for CratePath {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        *self = Self::read(argument, sink);
    }
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use crate::policies::{errors, read};

    #[test]
    fn a_path_is_accepted() {
        for path in ["renamed", ":: renamed", "crate :: web :: aplomb", "crate"] {
            let attribute = format!("get = \"/a\", crate = {path}");
            let (spec, errors) = read(&attribute, "async fn f() {}");
            assert!(errors.is_empty(), "{errors:?}");
            let taken = spec.crate_path.path().expect("declared");
            assert_eq!(taken.to_token_stream().to_string(), path);
        }
    }

    #[test]
    fn only_a_path_is_accepted() {
        for wrong in [
            "crate",
            "crate = \"renamed\"",
            "crate = 1",
            "crate = a::<b>",
            "crate(a)",
            "crate = a.b",
        ] {
            let errors = errors(&format!("get = \"/a\", {wrong}"));
            assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
            assert!(
                errors[0].contains("`crate = framework::aplomb`"),
                "{errors:?}"
            );
        }
    }
}
