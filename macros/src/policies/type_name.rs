//! `type_name = name`: the name of the generated type, where the function's own is taken.

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
    /// The name, if one is declared.
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
                argument.wrong::<()>(
                    value,
                    "a name without quotes that is no keyword",
                    example,
                    sink,
                );
            }
        }
    }
}

/// Whether a type can have the name: a keyword is a word of the attribute, and no name.
fn is_identifier(name: &Ident) -> bool {
    syn::parse2::<Ident>(name.to_token_stream()).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::policies::{mistakes, read};

    #[test]
    fn a_name_is_taken() {
        let (spec, mistakes) = read("get = \"/a\", type_name = g", "async fn f() {}");
        assert!(mistakes.is_empty());
        assert_eq!(spec.type_name.name().expect("declared"), "g");
    }

    #[test]
    fn only_a_name_is_taken() {
        assert_eq!(mistakes("get = \"/a\", type_name = \"g\"").len(), 1);
        assert_eq!(mistakes("get = \"/a\", type_name").len(), 1);
        assert_eq!(mistakes("get = \"/a\", type_name = async").len(), 1);
        assert_eq!(mistakes("get = \"/a\", type_name = _").len(), 1);
        assert!(mistakes("get = \"/a\", type_name = r#async").is_empty());
    }
}
