//! `routes![…]`: a list of endpoints, compared with one another while it is compiled.

use proc_macro2::{Ident, TokenStream};
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
/// Each entry gets an alias, through which all else refers to it, so that a path that leads nowhere
/// is reported once. An alias and not an import: an import of `time` is ambiguous where a crate of
/// that name is known, and a type is not.
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
    let aliases: Vec<Ident> = entries.iter().enumerate().map(|(index, entry)| alias(entry, index)).collect();
    let cfgs: Vec<TokenStream> = entries.iter().map(Entry::cfgs).collect();
    let paths = entries.iter().map(|entry| &entry.path);
    let checks = (0..entries.len()).map(|index| check(entries, index));
    let mounted = entries.iter().zip(&aliases).map(|(entry, alias)| mounted(entry, alias));
    quote! {{
        #(
            #cfgs
            #[allow(non_camel_case_types)]
            type #aliases = #paths;
        )*
        const SPECS: &[::aplomb::EndpointSpec] = &[#(#cfgs <#aliases as ::aplomb::Endpoint>::SPEC),*];
        const VERDICTS: &[::aplomb::__private::Verdict] =
            &::aplomb::__private::verdicts::<{ SPECS.len() }>(SPECS);
        #(#checks)*
        ::aplomb::Routes::from_entries(&[#(#mounted),*])
    }}
}

/// The name that an entry has here, at the entry's own place.
fn alias(entry: &Entry, index: usize) -> Ident {
    format_ident!("__Entry{index}", span = ends(&entry.path).0)
}

/// Fails at the entry if it cannot stand beside those before it.
fn check(entries: &[Entry], index: usize) -> TokenStream {
    let entry = &entries[index];
    let (cfgs, index) = (entry.cfgs(), index_of(index, &entries[..index]));
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
