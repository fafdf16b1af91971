//! `get = "/path"`: the method and the path.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::{Endpoint, Policy};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::parse::{Argument, PathTemplate};

/// The methods, each with its key and its variant of `aplomb::Method`.
const METHODS: [(&str, &str); 5] = [
    ("get", "Get"),
    ("post", "Post"),
    ("put", "Put"),
    ("patch", "Patch"),
    ("delete", "Delete"),
];

/// The method and the path of the requests that an endpoint handles.
#[derive(Default)]
pub(crate) struct Route {
    method: Option<Ident>,
    path: Option<PathTemplate>,
}

impl Route {
    /// Returns the method's key as written, such as `get`.
    pub(crate) fn method(&self) -> Option<&Ident> {
        self.method.as_ref()
    }

    /// Returns true if the method has this key.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.method.as_ref().is_some_and(|method| method == key)
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> Option<&PathTemplate> {
        self.path.as_ref()
    }

    /// Returns the variant of `aplomb::Method`, and the path as a string.
    pub(crate) fn expand(&self) -> Option<(Ident, &str)> {
        let method = self.method.as_ref()?;
        let (_, variant) = METHODS.iter().find(|(key, _)| method == key)?;
        Some((
            Ident::new(variant, Span::mixed_site()),
            self.path.as_ref()?.as_str(),
        ))
    }
}

impl Policy for Route {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        if let Some(first) = &self.method {
            let second = &argument.key;
            sink.report(
                second,
                format!("`{second}` and `{first}` exclude each other: declare `{second}` on another function"),
            );
            return;
        }
        self.method = Some(argument.key.clone());
        let example = format!("{} = \"/path\"", argument.key);
        if let Some((text, value)) = argument.text(&example, sink) {
            match PathTemplate::parse(&text) {
                Ok(path) => self.path = Some(path),
                Err(message) => sink.report(&value.tokens, message),
            }
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if self.method.is_none() && !endpoint.spec.incomplete {
            sink.push(syn::Error::new(
                Span::call_site(),
                "an endpoint needs a method and a path: write `get = \"/path\"`, or `post`, `put`, `patch` or `delete`",
            ));
        }
    }

    /// Asserts that each path argument reads as many parameters as the path has.
    ///
    /// The call contains the path and the name as literals. Reading them from the endpoint's type
    /// would count as a use of the type, and rustc would no longer warn about an endpoint that is
    /// in no `routes!` list.
    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let (name, path) = (
            endpoint.function.name(),
            self.path.as_ref().map_or("", PathTemplate::as_str),
        );
        let assertion = |ty: &&syn::Type| {
            let probe = quote!(__aplomb::__private::Probe::<#ty>::PARAMETERS);
            call_at(ty, "assert_path_parameters", &quote!(#probe, #path, #name))
        };
        endpoint
            .function
            .arguments()
            .iter()
            .map(assertion)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::errors;

    #[test]
    fn one_method_and_one_path_are_required() {
        assert!(errors("get = \"/a\"")[..].is_empty());
        assert_eq!(errors("").len(), 1);
        assert_eq!(errors("get = \"/a\", put = \"/b\"").len(), 1);
        assert_eq!(
            errors("get = \"/a\", get = \"/a\""),
            ["`get` is given twice: remove one"]
        );
        assert_eq!(
            errors("get"),
            ["`get` needs a value: write `get = \"/path\"`"]
        );
        assert_eq!(
            errors("get = 1"),
            ["`get` takes a string literal: write `get = \"/path\"`"]
        );
        let unknown = errors("gett = \"/a\"");
        assert!(
            unknown.len() == 1 && unknown[0].contains("did you mean `get = "),
            "{unknown:?}"
        );
    }
}
