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
/// Each entry is imported under a name of its own, beside a glob import that has all these names:
/// what the entry's path brings hides what the glob brings. So a function without `#[endpoint]`,
/// which brings no type, means the type `NotAnEndpoint` and gives an error that says what is
/// missing, where rustc alone would say that it expected a type. A path that leads nowhere brings
/// no value either, by which it is known, so that rustc's error is the only one.
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
    let imports = entries.iter().zip(&aliases).map(|(entry, alias)| import(entry, alias));
    let checks = aliases.iter().enumerate().map(|(index, alias)| check(entries, index, alias));
    let mounted = entries.iter().zip(&aliases).map(|(entry, alias)| mounted(entry, alias));
    quote! {{
        #[allow(dead_code, non_camel_case_types, non_upper_case_globals)]
        mod __not_endpoints {
            #(
                pub(super) type #aliases = ::aplomb::__private::NotAnEndpoint;
                pub(super) const #aliases: ::aplomb::__private::NotAnEndpoint = ::aplomb::__private::NotAnEndpoint::VALUE;
            )*
        }
        #[allow(unused_imports)]
        use __not_endpoints::*;
        #(#imports)*
        const SPECS: &[::aplomb::EndpointSpec] = &[#(#cfgs <#aliases as ::aplomb::Endpoint>::SPEC),*];
        const VERDICTS: &[::aplomb::__private::Verdict] =
            &::aplomb::__private::verdicts::<{ SPECS.len() }>(SPECS);
        #(#checks)*
        ::aplomb::Routes::from_entries(&[#(#mounted),*])
    }}
}

/// The name that an entry is imported under, at the entry's own place.
fn alias(entry: &Entry, index: usize) -> Ident {
    format_ident!("__Entry{index}", span = ends(&entry.path).1)
}

fn import(entry: &Entry, alias: &Ident) -> TokenStream {
    let (cfgs, path) = (entry.cfgs(), &entry.path);
    quote! {
        #cfgs
        #[allow(unused_imports, non_camel_case_types, non_upper_case_globals, deprecated)]
        use #path as #alias;
    }
}

/// Fails at the entry if it is no endpoint, or cannot stand beside those before it.
fn check(entries: &[Entry], index: usize, alias: &Ident) -> TokenStream {
    let entry = &entries[index];
    let (cfgs, index) = (entry.cfgs(), index_of(index, &entries[..index]));
    let value = quote!(::core::mem::size_of_val(&#alias));
    let endpoint = call_at(&entry.path, "assert_endpoint", &quote!(SPECS, #index, #value));
    let mountable = call_at(&entry.path, "assert_mountable", &quote!(SPECS, VERDICTS, #index));
    quote! {
        #cfgs
        #[allow(deprecated)]
        const _: () = {
            #endpoint
            #mountable
        };
    }
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
