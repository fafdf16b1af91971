//! `type_name = name`: the name of the generated type, if another type already has the name of the
//! function.

use quote::ToTokens;
use syn::Ident;

use super::Policy;
use crate::errors::Sink;
use crate::parse::{Argument, Kind};

/// The name of the generated type.
#[derive(Default)]
pub(crate) struct TypeName {
    name: Option<Ident>,
}

impl TypeName {
    /// Returns the name, if one is declared.
    pub(crate) fn name(&self) -> Option<&Ident> {
        self.name.as_ref()
    }
}

impl Policy for TypeName {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        let example = "type_name = create_user_endpoint";
        let Some(value) = argument.value(example, sink) else {
            return;
        };
        match &value.kind {
            Kind::Name(name) if is_identifier(name) => self.name = Some(name.clone()),
            _ => {
                argument.report_wrong_value::<()>(
                    value,
                    "a name without quotes that is not a keyword",
                    example,
                    sink,
                );
            }
        }
    }
}

/// Returns true if a type can have this name. `Kind::Name` can also contain a keyword.
fn is_identifier(name: &Ident) -> bool {
    syn::parse2::<Ident>(name.to_token_stream()).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::policies::{errors, read};

    #[test]
    fn a_name_is_accepted() {
        let (spec, errors) = read("get = \"/a\", type_name = g", "async fn f() {}");
        assert!(errors.is_empty());
        assert_eq!(spec.type_name.name().expect("declared"), "g");
    }

    #[test]
    fn keywords_and_other_values_are_rejected() {
        assert_eq!(errors("get = \"/a\", type_name = \"g\"").len(), 1);
        assert_eq!(errors("get = \"/a\", type_name").len(), 1);
        assert_eq!(errors("get = \"/a\", type_name = async").len(), 1);
        assert_eq!(errors("get = \"/a\", type_name = _").len(), 1);
        assert!(errors("get = \"/a\", type_name = r#async").is_empty());
    }
}
