//! `routes![…]`: a list of endpoints, compared with one another while it is compiled.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Path, Token};

use crate::expand::{call_at, ends};

struct Entry {
    cfgs: Vec<Attribute>,
    path: Path,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let cfgs = input.call(Attribute::parse_outer)?;
        if let Some(other) = cfgs.iter().find(|attribute| !attribute.path().is_ident("cfg")) {
            return Err(syn::Error::new_spanned(
                other,
                "an entry may have a `#[cfg(…)]` and no other attribute",
            ));
        }
        let path = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "an entry is the path of an endpoint, such as `payments::create`")
        })?;
        Ok(Self { cfgs, path })
    }
}

impl Entry {
    fn cfgs(&self) -> TokenStream {
        self.cfgs.iter().map(ToTokens::to_token_stream).collect()
    }
}

/// Expands the list.
///
/// Each entry is imported under a name of its own. A function without `#[endpoint]` brings no type,
/// so that the name means the type of the glob import below it, whose error says what is missing;
/// rustc alone would say that it expected a type.
pub(crate) fn routes(tokens: TokenStream) -> TokenStream {
    let parser = Punctuated::<Entry, Token![,]>::parse_terminated;
    match syn::parse::Parser::parse2(parser, tokens) {
        Ok(entries) => expand(&entries.into_iter().collect::<Vec<_>>()),
        Err(error) => {
            let error = error.to_compile_error();
            quote!({ #error ::aplomb::Routes::from_entries(&[]) })
        }
    }
}

fn expand(entries: &[Entry]) -> TokenStream {
    let aliases: Vec<Ident> = (0..entries.len()).map(alias).collect();
    let cfgs: Vec<TokenStream> = entries.iter().map(Entry::cfgs).collect();
    let paths = entries.iter().map(|entry| &entry.path);
    let checks = entries.iter().enumerate().map(|(index, entry)| check(entry, index, &entries[..index]));
    let mounted = entries.iter().zip(&aliases).map(|(entry, alias)| mounted(entry, alias));
    quote! {{
        #[allow(dead_code, non_camel_case_types)]
        mod __not_endpoints {
            #(pub(super) type #aliases = ::aplomb::__private::NotAnEndpoint;)*
        }
        #[allow(unused_imports)]
        use __not_endpoints::*;
        #(
            #cfgs
            #[allow(unused_imports, non_camel_case_types)]
            use #paths as #aliases;
        )*
        const SPECS: &[::aplomb::EndpointSpec] = &[#(#cfgs <#aliases as ::aplomb::Endpoint>::SPEC),*];
        const VERDICTS: &[::aplomb::__private::Verdict] =
            &::aplomb::__private::verdicts::<{ SPECS.len() }>(SPECS);
        #(#checks)*
        ::aplomb::Routes::from_entries(&[#(#mounted),*])
    }}
}

fn alias(index: usize) -> Ident {
    format_ident!("__Entry{index}", span = Span::mixed_site())
}

/// Fails at the entry if it cannot stand beside those before it.
fn check(entry: &Entry, index: usize, earlier: &[Entry]) -> TokenStream {
    let (cfgs, index) = (entry.cfgs(), index_of(index, earlier));
    let assertion = call_at(&entry.path, "assert_mountable", &quote!(SPECS, VERDICTS, #index));
    quote!(#cfgs const _: () = { #assertion };)
}

/// The entry's index among those that are compiled.
fn index_of(index: usize, earlier: &[Entry]) -> TokenStream {
    let conditional = earlier.iter().filter(|entry| !entry.cfgs.is_empty());
    let cfgs: Vec<TokenStream> = conditional.map(Entry::cfgs).collect();
    let certain = index - cfgs.len();
    if cfgs.is_empty() {
        return quote!(#certain);
    }
    quote!(#certain + <[()]>::len(&[#(#cfgs ()),*]))
}

/// The call that makes the entry, at the entry's own place: what its arguments cannot be extracted
/// from is reported there.
fn mounted(entry: &Entry, alias: &Ident) -> TokenStream {
    let cfgs = entry.cfgs();
    let site = ends(&entry.path).0;
    let alias = Ident::new(&alias.to_string(), site);
    let entry = quote_spanned!(site=> ::aplomb::__private::entry::<_, _, #alias>());
    quote!(#cfgs #entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_those_before_it_that_are_compiled() {
        let entries: Punctuated<Entry, Token![,]> =
            syn::parse::Parser::parse_str(Punctuated::parse_terminated, "a, #[cfg(x)] b, c, #[cfg(y)] d, e")
                .expect("entries");
        let entries: Vec<Entry> = entries.into_iter().collect();
        let index = |index: usize| index_of(index, &entries[..index]).to_string().replace(' ', "");
        assert_eq!(index(1), "1usize");
        assert_eq!(index(2), "1usize+<[()]>::len(&[#[cfg(x)]()])");
        assert_eq!(index(4), "2usize+<[()]>::len(&[#[cfg(x)](),#[cfg(y)]()])");
    }
}
