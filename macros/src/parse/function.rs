//! The annotated function: its attributes, visibility and signature.
//!
//! The body is never parsed, so that an incomplete body causes only the errors of rustc.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Lit, Meta, ReturnType, Signature, Token, Type,
    Visibility, parse_quote,
};

/// The parts of the function that the macro uses.
pub(crate) struct Function {
    /// The attributes of the function, without `#[endpoint]`.
    pub(crate) attributes: Vec<Attribute>,
    /// The visibility.
    pub(crate) visibility: Visibility,
    /// Everything up to the body.
    pub(crate) signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Self::new(attributes, visibility, signature))
    }
}

impl Function {
    fn new(attributes: Vec<Attribute>, visibility: Visibility, signature: Signature) -> Self {
        Self {
            attributes,
            visibility,
            signature,
        }
    }

    /// Parses an item. It is an error if the item is not a function, or if its signature is
    /// incomplete.
    pub(crate) fn parse(item: TokenStream) -> syn::Result<Self> {
        syn::parse2(item.clone()).map_err(|error| match Self::parse_incomplete(item.clone()) {
            Some(_) => syn::Error::new(
                error.span(),
                format!("this signature is incomplete: {error}"),
            ),
            None => syn::Error::new_spanned(
                first_line(item),
                "an endpoint must be an `async fn`: move `#[endpoint(…)]` to a function",
            ),
        })
    }

    /// Parses the part before the arguments of a function whose signature is incomplete. The result
    /// has no arguments and no return type.
    pub(crate) fn parse_incomplete(item: TokenStream) -> Option<Self> {
        let parser = |input: ParseStream<'_>| {
            let (attributes, visibility) = (input.call(Attribute::parse_outer)?, input.parse()?);
            while !input.peek(Token![fn]) {
                input.call(Ident::parse_any)?;
            }
            input.parse::<Token![fn]>()?;
            let name: Ident = input.parse()?;
            input.parse::<TokenStream>()?;
            Ok(Self::new(
                attributes,
                visibility,
                parse_quote!(async fn #name()),
            ))
        };
        parser.parse2(item).ok()
    }

    /// Returns the function's name, without the `r#` of a raw identifier.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// Returns the types of the arguments, in order.
    pub(crate) fn arguments(&self) -> Vec<&Type> {
        fn typed(argument: &FnArg) -> Option<&Type> {
            match argument {
                FnArg::Typed(argument) => Some(&argument.ty),
                FnArg::Receiver(_) => None,
            }
        }
        self.signature.inputs.iter().filter_map(typed).collect()
    }

    /// Returns the return type, or `None` if it is omitted.
    pub(crate) fn result(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    /// Returns the return type, if it contains no `impl Trait`.
    pub(crate) fn named_result(&self) -> Option<&Type> {
        self.result().filter(|ty| !is_opaque(ty))
    }

    /// Returns the return type, if it contains `impl Trait`.
    pub(crate) fn opaque_result(&self) -> Option<&Type> {
        self.result().filter(|ty| is_opaque(ty))
    }

    /// Returns the `#[cfg]` attributes, which every generated item repeats.
    pub(crate) fn cfgs(&self) -> TokenStream {
        let cfgs = self
            .attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("cfg"));
        cfgs.map(ToTokens::to_token_stream).collect()
    }

    /// Returns a second `#[endpoint(…)]` on the function, if there is one.
    pub(crate) fn second_endpoint_attribute(&self) -> Option<&Attribute> {
        let is_endpoint = |attribute: &&Attribute| {
            attribute
                .path()
                .segments
                .last()
                .is_some_and(|segment| segment.ident == "endpoint")
        };
        self.attributes.iter().find(is_endpoint)
    }

    /// Returns the first paragraph of the doc comment, on one line, and the rest of the comment.
    pub(crate) fn docs(&self) -> (String, String) {
        let lines: Vec<String> = self.attributes.iter().filter_map(doc_line).collect();
        let text = unindent(&lines.join("\n"));
        let (summary, description) = text.split_once("\n\n").unwrap_or((&text, ""));
        (
            summary.split_whitespace().collect::<Vec<_>>().join(" "),
            description.trim().to_owned(),
        )
    }
}

/// Returns the text of a `#[doc = "…"]` attribute.
fn doc_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Removes the space after `///` and the whitespace at the ends of lines.
fn unindent(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Returns true if the type contains `impl Trait`.
fn is_opaque(ty: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
            self.0 = true;
            visit::visit_type_impl_trait(self, ty);
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(ty);
    finder.0
}

/// Returns the tokens before the first group, so that a message does not underline a whole item.
fn first_line(item: TokenStream) -> TokenStream {
    item.into_iter()
        .take_while(|tree| !matches!(tree, proc_macro2::TokenTree::Group(_)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn docs_are_split_at_the_first_empty_line() {
        let function = Function::parse(quote! {
            /// Charges an
            /// account.
            ///
            /// Once, whatever
            /// happens.
            async fn f() {}
        });
        let docs = function.expect("a function").docs();
        assert_eq!(
            docs,
            (
                "Charges an account.".into(),
                "Once, whatever\nhappens.".into()
            )
        );
    }

    #[test]
    fn a_function_with_an_incomplete_body_parses() {
        assert!(Function::parse(quote!(pub async fn f(a: A) -> B { let x = })).is_ok());
        assert!(
            Function::parse(quote!(
                struct F;
            ))
            .is_err()
        );
    }

    #[test]
    fn an_incomplete_signature_is_an_error_but_its_name_is_read() {
        let incomplete = quote!(pub(crate) async fn f(a: , b: B) -> C {});
        let error = Function::parse(incomplete.clone())
            .err()
            .expect("an error")
            .to_string();
        assert!(error.starts_with("this signature is incomplete"), "{error}");
        assert_eq!(
            Function::parse_incomplete(incomplete)
                .expect("a function")
                .name(),
            "f"
        );
        assert!(
            Function::parse_incomplete(quote!(
                struct F {
                    f: fn(),
                }
            ))
            .is_none()
        );
    }

    #[test]
    fn impl_trait_is_found_anywhere_in_a_type() {
        let of = |item| {
            Function::parse(item)
                .expect("a function")
                .opaque_result()
                .is_some()
        };
        assert!(of(quote!(
            async fn f() -> Result<impl IntoResponse, E> {}
        )));
        assert!(!of(quote!(
            async fn f() -> Result<Json<T>, E> {}
        )));
    }
}
