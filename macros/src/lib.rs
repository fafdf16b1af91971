//! The attribute and derive macros of Aplomb. Use them through the `aplomb` crate, which documents
//! each macro with examples that compile.
//!
//! An `#[endpoint(…)]` attribute is expanded in five stages, each in a separate folder or file:
//!
//! 1. `parse` reads tokens into arguments.
//! 2. `policies` and `spec` read the arguments into a validated model.
//! 3. `check` applies the rules that need the whole endpoint.
//! 4. `expand` generates code from the model.
//! 5. `endpoint` runs the other stages and emits the item, the generated code and the errors.

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

/// Declares an endpoint and its policies; see `aplomb::endpoint`.
#[proc_macro_attribute]
pub fn endpoint(arguments: TokenStream, item: TokenStream) -> TokenStream {
    endpoint::endpoint(arguments.into(), item.into()).into()
}

/// Collects endpoints into a list; see `aplomb::routes`.
#[proc_macro]
pub fn routes(entries: TokenStream) -> TokenStream {
    routes::routes(entries.into()).into()
}

/// Derives the problem documents of an error type; see `aplomb::ApiError`.
#[proc_macro_derive(ApiError, attributes(problem))]
pub fn api_error(item: TokenStream) -> TokenStream {
    derive::api_error::derive(item.into()).into()
}

/// Derives the sort order of a list from a struct of its sort columns; see `aplomb::CursorKey`.
#[proc_macro_derive(CursorKey, attributes(cursor))]
pub fn cursor_key(item: TokenStream) -> TokenStream {
    derive::cursor_key::derive(item.into()).into()
}

/// Derives the identifier prefix of a type; see `aplomb::Resource`.
#[proc_macro_derive(Resource, attributes(resource))]
pub fn resource(item: TokenStream) -> TokenStream {
    derive::resource::derive(item.into()).into()
}
