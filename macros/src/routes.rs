//! `routes![…]`: a list of endpoints. The endpoints are compared with one another at compile time.

use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path};

use crate::errors::{Diagnostics, Sink};
use crate::expand::{call_at, ends, import};
use crate::names;
use crate::parse::{arguments, split};
use crate::policies::crate_path::CratePath;

/// The path of one endpoint, with its `#[cfg]` attributes.
struct Entry {
    cfgs: Vec<Attribute>,
    path: Path,
}

impl Entry {
    /// Parses an entry. If the next entry follows without a comma, reports the missing comma and
    /// keeps this entry.
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
                "an entry takes only `#[cfg(…)]`: remove this attribute",
            );
            return None;
        }
        let Ok(path) = path else {
            sink.report(
                tokens,
                "expected the path of an endpoint, such as `payments::create`",
            );
            return None;
        };
        match rest.clone().into_iter().next() {
            Some(TokenTree::Group(_)) => {
                sink.report(tokens, call_message(&path));
                return None;
            }
            Some(TokenTree::Punct(mark)) if mark.as_char() == '!' => {
                sink.report(
                    tokens,
                    "expected the path of an endpoint, not a macro: write the path of each endpoint",
                );
                return None;
            }
            Some(_) => sink.report(&rest, "expected a comma before this"),
            None => {}
        }
        Some(Self { cfgs, path })
    }

    fn cfgs(&self) -> TokenStream {
        self.cfgs.iter().map(ToTokens::to_token_stream).collect()
    }
}

/// Returns the error message for an entry that is written as a call, such as `create()`. The entry
/// is an endpoint, or a function that returns a list.
fn call_message(path: &Path) -> String {
    let path = path.to_token_stream().to_string().replace(' ', "");
    format!(
        "expected the path of an endpoint, not a call: write `{path}` if it is an endpoint, or the path of each \
         endpoint if it returns a list"
    )
}

/// Expands the list.
///
/// After an error in one entry the other entries are still expanded, so that an editor keeps
/// working. The entries are compared with one another only if all of them are valid.
pub(crate) fn routes(tokens: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let sink = diagnostics.sink();
    let (crate_path, tokens) = take_crate_path(tokens, &sink);
    let entries: Vec<Entry> = split(tokens)
        .into_iter()
        .filter_map(|part| Entry::parse(&part, &sink))
        .collect();
    let comparison = if sink.failed() {
        TokenStream::new()
    } else {
        comparison(&entries)
    };
    let mut checks = diagnostics.into_tokens();
    checks.extend(comparison);
    expand(&import(&crate_path), &entries, &checks)
}

/// Takes `crate = path;` from the start of the list. Returns the path and the rest of the list.
fn take_crate_path(tokens: TokenStream, sink: &Sink<'_>) -> (CratePath, TokenStream) {
    let mut trees = tokens.clone().into_iter();
    let is_crate = matches!(trees.next(), Some(TokenTree::Ident(word)) if word == "crate");
    // A list can begin with `crate`, as in `crate::orders::create`. This is an entry.
    let is_entry = match trees.next() {
        Some(TokenTree::Punct(mark)) => match mark.as_char() {
            ':' => mark.spacing() == Spacing::Joint,
            mark => mark == ',',
        },
        Some(_) => false,
        None => true,
    };
    if !is_crate || is_entry {
        return (CratePath::default(), tokens);
    }
    let is_end =
        |tree: &TokenTree| matches!(tree, TokenTree::Punct(mark) if ";,".contains(mark.as_char()));
    let mut trees = tokens.into_iter().peekable();
    let mut path = TokenStream::new();
    while let Some(tree) = trees.next_if(|tree| !is_end(tree)) {
        path.extend([tree]);
    }
    if let Some(TokenTree::Punct(mark)) = trees.next()
        && mark.as_char() == ','
    {
        sink.report(
            &mark,
            "a semicolon separates the path from the entries: write `routes![crate = framework::aplomb; a, b]`",
        );
    }
    let path = arguments(path, sink);
    let path = path.first().map(|path| CratePath::read(path, sink));
    (path.unwrap_or_default(), trees.collect())
}

/// Expands the list without a comparison of its entries.
///
/// Each entry gets a type alias, and the expansion uses only the alias, so that a wrong path is
/// reported only once. The expansion uses no import, because an import fails if there is a crate or
/// a local variable of the same name.
fn expand(import: &TokenStream, entries: &[Entry], checks: &TokenStream) -> TokenStream {
    let aliases: Vec<Ident> = aliases(entries).collect();
    let cfgs = entries.iter().map(Entry::cfgs);
    let paths = entries.iter().map(|entry| &entry.path);
    let mounted = entries.iter().zip(&aliases).map(mount);
    quote! {{
        #import
        #(
            #cfgs
            type #aliases = #paths;
        )*
        #checks
        __aplomb::Routes::from_entries(&[#(#mounted),*])
    }}
}

/// Returns the aliases. Each has the span of its entry, because errors about the entry appear
/// there.
fn aliases(entries: &[Entry]) -> impl Iterator<Item = Ident> {
    let alias = |(index, entry): (usize, &Entry)| {
        names::name_at(&format!("Entry{index}"), ends(&entry.path).0)
    };
    entries.iter().enumerate().map(alias)
}

/// Generates the comparison of all entries. An entry that conflicts with an earlier entry is an
/// error.
fn comparison(entries: &[Entry]) -> TokenStream {
    let (aliases, cfgs) = (aliases(entries), entries.iter().map(Entry::cfgs));
    let constants = ["SPECS", "CHECKS"].map(names::name);
    let [specs, results] = &constants;
    let checks = (0..entries.len()).map(|index| check(entries, index, &constants));
    quote! {
        const #specs: &[__aplomb::EndpointSpec] = &[#(#cfgs <#aliases as __aplomb::Endpoint>::SPEC),*];
        const #results: &[__aplomb::__private::RouteCheck] =
            &__aplomb::__private::check_routes::<{ #specs.len() }>(#specs);
        #(#checks)*
    }
}

/// Generates an assertion that the entry does not conflict with an earlier entry.
fn check(entries: &[Entry], index: usize, [specs, results]: &[Ident; 2]) -> TokenStream {
    let entry = &entries[index];
    let (cfgs, index) = (entry.cfgs(), compiled_index(entries, index));
    let assertion = call_at(
        &entry.path,
        "assert_mountable",
        &quote!(#specs, #results, #index),
    );
    quote!(#cfgs const _: () = { #assertion };)
}

/// Returns an expression for the index of an entry in the compiled list. The compiled list does not
/// contain entries whose `#[cfg]` is false.
fn compiled_index(entries: &[Entry], index: usize) -> TokenStream {
    let conditional = entries[..index]
        .iter()
        .filter(|entry| !entry.cfgs.is_empty());
    let cfgs: Vec<TokenStream> = conditional.map(Entry::cfgs).collect();
    let unconditional = index - cfgs.len();
    if cfgs.is_empty() {
        return quote!(#unconditional);
    }
    quote!(#unconditional + <[()]>::len(&[#(#cfgs ()),*]))
}

/// Generates the call that mounts an entry. The call has the span of the entry. If the state does
/// not provide an argument of the handler, rustc reports the error at the entry.
fn mount((entry, alias): (&Entry, &Ident)) -> TokenStream {
    let (cfgs, span) = (entry.cfgs(), ends(&entry.path).0);
    let checked = quote_spanned!(span=> <#alias as __aplomb::Endpoint>::Checked<#alias>);
    let call = quote_spanned!(span=> __aplomb::__private::entry::<_, _, #checked>());
    quote!(#cfgs #call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_path_is_read_up_to_the_semicolon() {
        for (tokens, path, entries) in [
            (quote!(crate = web::aplomb; a, b), "web :: aplomb", "a , b"),
            (quote!(crate = ::web;), ":: web", ""),
            (quote!(crate = web), "web", ""),
            (quote!(crate::a, b), "", "crate :: a , b"),
            (quote!(a, crate::b), "", "a , crate :: b"),
            (quote!(crate), "", "crate"),
        ] {
            let diagnostics = Diagnostics::new();
            let (read, rest) = take_crate_path(tokens.clone(), &diagnostics.sink());
            assert_eq!(diagnostics.into_messages(), [""; 0], "{tokens}");
            assert_eq!(read.path().to_token_stream().to_string(), path);
            assert_eq!(rest.to_string(), entries);
        }
    }

    #[test]
    fn a_wrong_crate_path_is_one_error() {
        for (tokens, message) in [
            (quote!(crate = web, a), "a semicolon separates"),
            (quote!(crate = "web"; a), "without quotes"),
            (quote!(crate = ; a), "needs a value"),
            (quote!(crate; a), "needs a value"),
            (quote!(crate web; a), "expected `=`"),
            (quote!(crate: web; a), "expected one `=`"),
        ] {
            let diagnostics = Diagnostics::new();
            take_crate_path(tokens.clone(), &diagnostics.sink());
            let messages = diagnostics.into_messages();
            assert!(
                messages.len() == 1 && messages[0].contains(message),
                "{tokens}: {messages:?}"
            );
        }
    }

    #[test]
    fn the_index_of_an_entry_counts_the_compiled_entries_before_it() {
        let tokens = quote!(
            a,
            #[cfg(x)]
            b,
            c,
            #[cfg(y)]
            d,
            e
        );
        let diagnostics = Diagnostics::new();
        let entries: Vec<Entry> = split(tokens)
            .into_iter()
            .filter_map(|part| Entry::parse(&part, &diagnostics.sink()))
            .collect();
        assert!(diagnostics.into_messages().is_empty());
        let index = |index: usize| compiled_index(&entries, index).to_string().replace(' ', "");
        assert_eq!(index(1), "1usize");
        assert_eq!(index(2), "1usize+<[()]>::len(&[#[cfg(x)]()])");
        assert_eq!(index(4), "2usize+<[()]>::len(&[#[cfg(x)](),#[cfg(y)]()])");
    }
}
