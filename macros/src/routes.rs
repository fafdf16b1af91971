//! `routes![…]`: a list of endpoints, compared with one another while it is compiled.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path};

use crate::errors::{Diagnostics, Sink};
use crate::expand::{call_at, ends};
use crate::parse::split;

struct Entry {
    cfgs: Vec<Attribute>,
    path: Path,
}

impl Entry {
    /// Reads an entry. An entry that is followed by another one without a comma is kept.
    fn parse(tokens: &TokenStream, sink: &Sink<'_>) -> Option<Self> {
        let parser = |input: ParseStream<'_>| {
            let (cfgs, path) = (input.call(Attribute::parse_outer)?, input.parse());
            Ok((cfgs, path, input.parse::<TokenStream>()?))
        };
        let (cfgs, path, rest) = sink.take(parser.parse2(tokens.clone()))?;
        if let Some(other) = cfgs
            .iter()
            .find(|attribute| !attribute.path().is_ident("cfg"))
        {
            sink.report(
                other,
                "an entry may have a `#[cfg(…)]` and no other attribute",
            );
            return None;
        }
        let Ok(path) = path else {
            sink.report(
                tokens,
                "an entry is the path of an endpoint, such as `payments::create`",
            );
            return None;
        };
        match rest.clone().into_iter().next() {
            Some(TokenTree::Group(_)) => {
                sink.report(tokens, called(&path));
                return None;
            }
            Some(_) => sink.report(&rest, "a comma is missing before this"),
            None => {}
        }
        Some(Self { cfgs, path })
    }

    fn cfgs(&self) -> TokenStream {
        self.cfgs.iter().map(ToTokens::to_token_stream).collect()
    }
}

/// The message for an entry that is called: an endpoint, or a function that returns a list.
fn called(path: &Path) -> String {
    let path = path.to_token_stream().to_string().replace(' ', "");
    format!(
        "an entry is the path of one endpoint and is not called: write `{path}` if it is an endpoint, \
         or the path of each endpoint if it returns a list"
    )
}

/// Expands the list. Entries that can be read are expanded whatever the others are, so that an editor
/// keeps working; they are compared with one another where all can be read.
///
/// Each entry gets an alias, through which all else refers to it, so that a path that leads nowhere
/// is reported once. An alias and not an import: an import of `time` is ambiguous where a crate of
/// that name is known, and a type is not.
pub(crate) fn routes(tokens: TokenStream) -> TokenStream {
    let mistakes = Diagnostics::new();
    let sink = mistakes.sink();
    let parts = split(tokens).into_iter();
    let entries: Vec<Entry> = parts
        .filter_map(|part| Entry::parse(&part, &sink))
        .collect();
    let aliases: Vec<Ident> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| alias(entry, index))
        .collect();
    let checks = if sink.failed() {
        TokenStream::new()
    } else {
        checks(&entries, &aliases)
    };
    expand(&entries, &aliases, &checks, &mistakes.into_tokens())
}

fn expand(
    entries: &[Entry],
    aliases: &[Ident],
    checks: &TokenStream,
    mistakes: &TokenStream,
) -> TokenStream {
    let cfgs = entries.iter().map(Entry::cfgs);
    let paths = entries.iter().map(|entry| &entry.path);
    let mounted = entries
        .iter()
        .zip(aliases)
        .map(|(entry, alias)| mounted(entry, alias));
    let state = state();
    quote! {{
        #(
            #cfgs
            #[allow(non_camel_case_types)]
            type #aliases = #paths;
        )*
        #mistakes
        #checks
        let #state = ::aplomb::__private::StateType::new();
        ::aplomb::Routes::from_entries(#state, &[#(#mounted),*])
    }}
}

/// The name that an entry has here, at the entry's own place.
fn alias(entry: &Entry, index: usize) -> Ident {
    format_ident!("__Entry{index}", span = ends(&entry.path).0)
}

/// Compares all entries, and fails at each that cannot stand beside those before it.
fn checks(entries: &[Entry], aliases: &[Ident]) -> TokenStream {
    let cfgs = entries.iter().map(Entry::cfgs);
    let checks = (0..entries.len()).map(|index| check(entries, index));
    quote! {
        const SPECS: &[::aplomb::EndpointSpec] = &[#(#cfgs <#aliases as ::aplomb::Endpoint>::SPEC),*];
        const CHECKS: &[::aplomb::__private::RouteCheck] =
            &::aplomb::__private::check_routes::<{ SPECS.len() }>(SPECS);
        #(#checks)*
    }
}

/// Fails at the entry if it cannot stand beside those before it.
fn check(entries: &[Entry], index: usize) -> TokenStream {
    let entry = &entries[index];
    let (cfgs, index) = (entry.cfgs(), index_of(index, &entries[..index]));
    let assertion = call_at(
        &entry.path,
        "assert_mountable",
        &quote!(SPECS, CHECKS, #index),
    );
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

/// The name of the state's type, which the entries share.
fn state() -> Ident {
    Ident::new("state", Span::mixed_site())
}

/// The call that makes the entry, at the entry's own place: an argument that the state does not
/// provide is reported there.
fn mounted(entry: &Entry, alias: &Ident) -> TokenStream {
    let cfgs = entry.cfgs();
    let site = ends(&entry.path).0;
    let (state, checked) = (
        state(),
        quote_spanned!(site=> <#alias as ::aplomb::Endpoint>::Checked<#alias>),
    );
    let entry = quote_spanned!(site=> ::aplomb::__private::entry::<_, _, _, #checked>(#state));
    quote!(#cfgs #entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_those_before_it_that_are_compiled() {
        let tokens = quote!(
            a,
            #[cfg(x)]
            b,
            c,
            #[cfg(y)]
            d,
            e
        );
        let mistakes = Diagnostics::new();
        let entries: Vec<Entry> = split(tokens)
            .into_iter()
            .filter_map(|part| Entry::parse(&part, &mistakes.sink()))
            .collect();
        assert!(mistakes.into_messages().is_empty());
        let index = |index: usize| {
            index_of(index, &entries[..index])
                .to_string()
                .replace(' ', "")
        };
        assert_eq!(index(1), "1usize");
        assert_eq!(index(2), "1usize+<[()]>::len(&[#[cfg(x)]()])");
        assert_eq!(index(4), "2usize+<[()]>::len(&[#[cfg(x)](),#[cfg(y)]()])");
    }
}
