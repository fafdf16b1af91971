//! The attribute and derive macros of Aplomb. Use them through the `aplomb` crate, where each is
//! documented with examples that compile.
//!
//! An attribute goes through five stages, one folder or file each: `parse` (tokens to arguments),
//! `policies` and `spec` (arguments to a validated model), `check` (rules that need the whole
//! endpoint), `expand` (the model to code), and `endpoint`, which holds them together.

mod bounds;
mod check;
mod derive;
mod endpoint;
mod errors;
mod expand;
mod grammar;
mod names;
mod parse;
mod policies;
#[cfg(test)]
mod robustness;
mod routes;
mod spec;
mod suggest;

use proc_macro::TokenStream;

/// Declares what an endpoint promises; see `aplomb::endpoint`.
#[proc_macro_attribute]
pub fn endpoint(arguments: TokenStream, item: TokenStream) -> TokenStream {
    endpoint::endpoint(arguments.into(), item.into()).into()
}

/// Collects endpoints into a list; see `aplomb::routes`.
#[proc_macro]
pub fn routes(entries: TokenStream) -> TokenStream {
    routes::routes(entries.into()).into()
}

/// Makes an error type a problem; see `aplomb::ApiError`.
#[proc_macro_derive(ApiError, attributes(problem))]
pub fn api_error(item: TokenStream) -> TokenStream {
    derive::api_error::derive(item.into()).into()
}

/// Says what a list is sorted by; see `aplomb::CursorKey`.
#[proc_macro_derive(CursorKey, attributes(cursor))]
pub fn cursor_key(item: TokenStream) -> TokenStream {
    derive::cursor_key::derive(item.into()).into()
}

/// Gives a type identifiers of its own; see `aplomb::Resource`.
#[proc_macro_derive(Resource, attributes(resource))]
pub fn resource(item: TokenStream) -> TokenStream {
    derive::resource::derive(item.into()).into()
}
