//! `routes![…]`: a list of endpoints, compared with one another while it is compiled.

use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path};

use crate::errors::{Diagnostics, Sink};
use crate::expand::{call_at, ends, import};
use crate::names::Names;
use crate::parse::{arguments, split};
use crate::policies::crate_path::CratePath;

struct Entry {
    cfgs: Vec<Attribute>,
    path: Path,
}

impl Entry {
    /// Reads an entry; of what follows a whole one the entry is kept.
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
        if !rest.is_empty() {
            sink.report(&rest, trailing_tokens(&rest));
        }
        Some(Self { cfgs, path })
    }

    fn cfgs(&self) -> TokenStream {
        self.cfgs.iter().map(ToTokens::to_token_stream).collect()
    }
}

/// The mistake of what follows an entry's path.
fn trailing_tokens(rest: &TokenStream) -> &'static str {
    match rest.clone().into_iter().next() {
        Some(TokenTree::Group(_)) => {
            "expected the path of an endpoint, not a call: remove the parentheses"
        }
        _ => "expected a comma before this",
    }
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
    let names = Names::avoiding(&tokens);
    let (path, tokens) = crate_path(tokens, &sink);
    let parts = split(tokens).into_iter();
    let entries: Vec<Entry> = parts
        .filter_map(|part| Entry::parse(&part, &sink))
        .collect();
    let aliases: Vec<Ident> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            // At the entry's own place, where what is wrong with it is reported.
            names.name_at(&format!("Entry{index}"), ends(&entry.path).0)
        })
        .collect();
    let checks = if sink.failed() {
        TokenStream::new()
    } else {
        checks(&entries, &aliases, &names)
    };
    let mut checked = mistakes.into_tokens();
    checked.extend(checks);
    expand(&import(&path), &entries, &aliases, &checked)
}

/// The path of the `aplomb` crate, and the entries: `crate = path;` may come before them.
fn crate_path(tokens: TokenStream, sink: &Sink<'_>) -> (CratePath, TokenStream) {
    let mut trees = tokens.clone().into_iter();
    let is_crate = matches!(trees.next(), Some(TokenTree::Ident(word)) if word == "crate");
    // `crate::orders::create` is an entry.
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

fn expand(
    import: &TokenStream,
    entries: &[Entry],
    aliases: &[Ident],
    checks: &TokenStream,
) -> TokenStream {
    let cfgs = entries.iter().map(Entry::cfgs);
    let paths = entries.iter().map(|entry| &entry.path);
    let mounted = entries
        .iter()
        .zip(aliases)
        .map(|(entry, alias)| mounted(entry, alias));
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

/// Compares all entries, and fails at each that cannot stand beside those before it.
fn checks(entries: &[Entry], aliases: &[Ident], names: &Names) -> TokenStream {
    let cfgs = entries.iter().map(Entry::cfgs);
    let lists = ["SPECS", "CHECKS"].map(|name| names.name(name));
    let one = |index| check(entries, index, &lists);
    let (checks, [specs, results]) = ((0..entries.len()).map(one), &lists);
    quote! {
        const #specs: &[__aplomb::EndpointSpec] = &[#(#cfgs <#aliases as __aplomb::Endpoint>::SPEC),*];
        const #results: &[__aplomb::__private::RouteCheck] =
            &__aplomb::__private::check_routes::<{ #specs.len() }>(#specs);
        #(#checks)*
    }
}

/// Fails at the entry if it cannot stand beside those before it.
fn check(entries: &[Entry], index: usize, [specs, results]: &[Ident; 2]) -> TokenStream {
    let entry = &entries[index];
    let (cfgs, index) = (entry.cfgs(), index_of(index, &entries[..index]));
    let assertion = call_at(
        &entry.path,
        "assert_mountable",
        &quote!(#specs, #results, #index),
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

/// The call that makes the entry, at the entry's own place: what its arguments cannot be extracted
/// from is reported there.
fn mounted(entry: &Entry, alias: &Ident) -> TokenStream {
    let cfgs = entry.cfgs();
    let site = ends(&entry.path).0;
    let entry = quote_spanned!(site=> __aplomb::__private::entry::<_, _, #alias>());
    quote!(#cfgs #entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_crate_comes_before_a_semicolon() {
        for (tokens, path, entries) in [
            (quote!(crate = web::aplomb; a, b), "web :: aplomb", "a , b"),
            (quote!(crate = ::web;), ":: web", ""),
            (quote!(crate = web), "web", ""),
            (quote!(crate::a, b), "", "crate :: a , b"),
            (quote!(a, crate::b), "", "a , crate :: b"),
            (quote!(crate), "", "crate"),
        ] {
            let mistakes = Diagnostics::new();
            let (read, rest) = crate_path(tokens.clone(), &mistakes.sink());
            assert_eq!(mistakes.into_messages(), [""; 0], "{tokens}");
            assert_eq!(read.path().to_token_stream().to_string(), path);
            assert_eq!(rest.to_string(), entries);
        }
    }

    #[test]
    fn a_wrong_path_of_the_crate_is_one_mistake() {
        for (tokens, message) in [
            (quote!(crate = web, a), "a semicolon separates"),
            (quote!(crate = "web"; a), "without quotes"),
            (quote!(crate = ; a), "needs a value"),
            (quote!(crate; a), "needs a value"),
            (quote!(crate web; a), "expected `=`"),
            (quote!(crate: web; a), "behind one `=`"),
        ] {
            let mistakes = Diagnostics::new();
            crate_path(tokens.clone(), &mistakes.sink());
            let messages = mistakes.into_messages();
            assert!(
                messages.len() == 1 && messages[0].contains(message),
                "{tokens}: {messages:?}"
            );
        }
    }

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
