//! The errors of a macro call: a tree of sinks that write to one list.
//!
//! The macro reports all errors together. Each stage can check whether its own part failed.

use std::cell::{Cell, RefCell};

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The errors of one macro call.
///
/// Panics if it is dropped before the errors were read, so that no error is lost.
pub(crate) struct Diagnostics {
    list: RefCell<Vec<syn::Error>>,
    /// The tokens at which each error is reported. A parser error has a span but no tokens, so its
    /// entry is empty.
    #[cfg(test)]
    places: RefCell<Vec<String>>,
    read: bool,
}

impl Diagnostics {
    /// Makes an empty list.
    pub(crate) fn new() -> Self {
        Self {
            list: RefCell::new(Vec::new()),
            #[cfg(test)]
            places: RefCell::new(Vec::new()),
            read: false,
        }
    }

    /// Returns the root of the tree of sinks.
    pub(crate) fn sink(&self) -> Sink<'_> {
        Sink {
            diagnostics: self,
            parent: None,
            failed: Cell::new(false),
        }
    }

    /// Returns all errors as `compile_error!` calls with the spans of the errors.
    pub(crate) fn into_tokens(mut self) -> TokenStream {
        self.read = true;
        self.list
            .take()
            .iter()
            .map(syn::Error::to_compile_error)
            .collect()
    }

    /// Returns all messages, for tests.
    #[cfg(test)]
    pub(crate) fn into_messages(mut self) -> Vec<String> {
        self.read = true;
        self.list.take().iter().map(ToString::to_string).collect()
    }

    /// Returns all messages, each with the tokens at which it is reported, for tests.
    #[cfg(test)]
    pub(crate) fn into_placed_messages(self) -> Vec<(String, String)> {
        let places = self.places.take();
        places.into_iter().zip(self.into_messages()).collect()
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        // The check is skipped during a panic. A second panic would abort the compiler and hide the
        // first one.
        assert!(
            self.read || std::thread::panicking(),
            "the errors were dropped unread"
        );
    }
}

/// Receives the errors of one part of the work.
pub(crate) struct Sink<'a> {
    diagnostics: &'a Diagnostics,
    parent: Option<&'a Sink<'a>>,
    failed: Cell<bool>,
}

impl Sink<'_> {
    /// Creates a child sink for a smaller part of the work of this sink. An error in the child
    /// marks both parts as failed.
    pub(crate) fn child(&self) -> Sink<'_> {
        Sink {
            diagnostics: self.diagnostics,
            parent: Some(self),
            failed: Cell::new(false),
        }
    }

    /// Reports an error that underlines these tokens.
    pub(crate) fn report(&self, place: &impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(place, message));
        #[cfg(test)]
        if let Some(last) = self.diagnostics.places.borrow_mut().last_mut() {
            *last = place.to_token_stream().to_string();
        }
    }

    /// Reports an error of a parser.
    pub(crate) fn push(&self, error: syn::Error) {
        self.diagnostics.list.borrow_mut().push(error);
        #[cfg(test)]
        self.diagnostics.places.borrow_mut().push(String::new());
        self.mark_failed();
    }

    /// Marks this part as failed without a message, because rustc reports the error.
    pub(crate) fn leave_to_rustc(&self) {
        self.mark_failed();
    }

    /// Returns the value, or reports the error and returns `None`.
    pub(crate) fn take<T>(&self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Returns true if this part of the work, or a smaller part of it, has an error.
    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    fn mark_failed(&self) {
        self.failed.set(true);
        if let Some(parent) = self.parent {
            parent.mark_failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn an_error_marks_its_part_and_the_enclosing_parts_as_failed() {
        let diagnostics = Diagnostics::new();
        {
            let root = diagnostics.sink();
            let (good, bad) = (root.child(), root.child());
            bad.report(&quote!(x), "no");
            assert!(root.failed() && bad.failed() && !good.failed());
        }
        assert_eq!(diagnostics.into_messages(), ["no"]);
    }

    #[test]
    #[should_panic(expected = "unread")]
    fn dropping_unread_errors_panics() {
        drop(Diagnostics::new());
    }
}
