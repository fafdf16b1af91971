//! The annotated function: its attributes, visibility and signature. Its body is never parsed, so
//! that a half-typed one gives rustc's own error and no other.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Lit, Meta, ReturnType, Signature, Token, Type,
    Visibility, parse_quote,
};

use crate::names::Names;

/// What the macro needs to know of the function.
pub(crate) struct Function {
    /// The attributes below `#[endpoint]`, and those above that others put there.
    pub(crate) attributes: Vec<Attribute>,
    /// How far the function is seen.
    pub(crate) visibility: Visibility,
    /// Everything up to the body.
    pub(crate) signature: Signature,
    /// The generated code's own names, which do not occur in the signature.
    pub(crate) names: Names,
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
        let names = Names::avoiding(&signature.to_token_stream());
        Self {
            attributes,
            visibility,
            signature,
            names,
        }
    }

    /// Reads an item; what is no function is refused as a whole.
    pub(crate) fn parse(item: TokenStream) -> syn::Result<Self> {
        syn::parse2(item.clone()).map_err(|error| match Self::parse_incomplete(item.clone()) {
            Some(_) => syn::Error::new(
                error.span(),
                format!("this signature is not whole: {error}"),
            ),
            None => syn::Error::new_spanned(
                first_line(item),
                "an endpoint is an `async fn`: put `#[endpoint(…)]` on one",
            ),
        })
    }

    /// Of a function whose signature is half typed, what stands before its arguments.
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

    /// The function's name, without the `r#` of a raw one.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// The types of the arguments, in order.
    pub(crate) fn arguments(&self) -> Vec<&Type> {
        fn typed(argument: &FnArg) -> Option<&Type> {
            match argument {
                FnArg::Typed(argument) => Some(&argument.ty),
                FnArg::Receiver(_) => None,
            }
        }
        self.signature.inputs.iter().filter_map(typed).collect()
    }

    /// What the function returns; `None` for nothing.
    pub(crate) fn result(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    /// What the function returns, where the type is named in full.
    pub(crate) fn named_result(&self) -> Option<&Type> {
        self.result().filter(|ty| !is_opaque(ty))
    }

    /// The opaque type in what the function returns.
    pub(crate) fn opaque_result(&self) -> Option<&Type> {
        self.result().filter(|ty| is_opaque(ty))
    }

    /// The `#[cfg]` attributes, which every generated item repeats.
    pub(crate) fn cfgs(&self) -> TokenStream {
        let cfgs = self
            .attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("cfg"));
        cfgs.map(ToTokens::to_token_stream).collect()
    }

    /// A second `#[endpoint(…)]` on the function.
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

    /// The doc comment: its first paragraph on one line, and the rest.
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

fn unindent(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

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

/// The tokens up to the first block, so that a message does not underline a whole item.
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
    fn docs_are_cut_at_the_first_empty_line() {
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
    fn a_body_that_does_not_parse_is_no_concern() {
        assert!(Function::parse(quote!(pub async fn f(a: A) -> B { let x = })).is_ok());
        assert!(
            Function::parse(quote!(
                struct F;
            ))
            .is_err()
        );
    }

    #[test]
    fn of_half_a_signature_the_name_is_read() {
        let half = quote!(pub(crate) async fn f(a: , b: B) -> C {});
        let error = Function::parse(half.clone())
            .err()
            .expect("a mistake")
            .to_string();
        assert!(error.starts_with("this signature is not whole"), "{error}");
        assert_eq!(
            Function::parse_incomplete(half).expect("a function").name(),
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
    fn opaque_types_are_found_anywhere() {
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
