//! The method and the path: `get = "/path"`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::{Endpoint, Policy};
use crate::errors::Sink;
use crate::expand::call_at;
use crate::parse::{Argument, PathTemplate};

/// The methods, as keys and as variants of `aplomb::Method`.
const METHODS: [(&str, &str); 5] = [
    ("get", "Get"),
    ("post", "Post"),
    ("put", "Put"),
    ("patch", "Patch"),
    ("delete", "Delete"),
];

/// What requests an endpoint answers.
#[derive(Default)]
pub(crate) struct Route {
    method: Option<Ident>,
    path: Option<PathTemplate>,
}

impl Route {
    /// The method's key as written, such as `get`.
    pub(crate) fn method(&self) -> Option<&Ident> {
        self.method.as_ref()
    }

    /// Whether the method is this one, named by its key.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.method.as_ref().is_some_and(|method| method == key)
    }

    /// The path.
    pub(crate) fn path(&self) -> Option<&PathTemplate> {
        self.path.as_ref()
    }

    /// The variant of `aplomb::Method` and the path as a string.
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
                format!("an endpoint answers one method, here `{first}`: declare `{second}` on a function of its own"),
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
                "an endpoint answers a method and a path: write `get = \"/path\"`, or post, put, patch, delete",
            ));
        }
    }

    /// Says the path and the name once more instead of the constant: a use of the type would hide
    /// from rustc that a forgotten endpoint is never used.
    fn assertions(&self, endpoint: &Endpoint<'_>) -> TokenStream {
        let (name, path) = (
            endpoint.function.name(),
            self.path.as_ref().map_or("", PathTemplate::as_str),
        );
        let one = |ty: &&syn::Type| {
            let probe = quote!(__aplomb::__private::Probe::<#ty>::PARAMETERS);
            call_at(ty, "assert_path_parameters", &quote!(#probe, #path, #name))
        };
        endpoint.function.arguments().iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::mistakes;

    #[test]
    fn one_method_and_one_path() {
        assert!(mistakes("get = \"/a\"")[..].is_empty());
        assert_eq!(mistakes("").len(), 1);
        assert_eq!(mistakes("get = \"/a\", put = \"/b\"").len(), 1);
        assert_eq!(
            mistakes("get = \"/a\", get = \"/a\""),
            ["`get` is given twice: remove one"]
        );
        assert_eq!(
            mistakes("get"),
            ["`get` needs a value: write `get = \"/path\"`"]
        );
        assert_eq!(
            mistakes("get = 1"),
            ["`get` takes text in quotes: write `get = \"/path\"`"]
        );
        let unknown = mistakes("gett = \"/a\"");
        assert!(
            unknown.len() == 1 && unknown[0].contains("did you mean `get`?"),
            "{unknown:?}"
        );
    }
}
