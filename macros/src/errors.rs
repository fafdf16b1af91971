//! Where mistakes go: a tree of sinks over one list, so that all mistakes are reported together
//! and each stage can ask whether its own part went well.

use std::cell::{Cell, RefCell};

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The mistakes of one macro call.
///
/// Panics when dropped without being read: a mistake must not be lost on the way.
pub(crate) struct Diagnostics {
    list: RefCell<Vec<syn::Error>>,
    /// The tokens at which each mistake is reported; empty where a parser knows the place only.
    #[cfg(test)]
    places: RefCell<Vec<String>>,
    read: bool,
}

impl Diagnostics {
    /// No mistake so far.
    pub(crate) fn new() -> Self {
        Self {
            list: RefCell::new(Vec::new()),
            #[cfg(test)]
            places: RefCell::new(Vec::new()),
            read: false,
        }
    }

    /// The root of the tree.
    pub(crate) fn sink(&self) -> Sink<'_> {
        Sink {
            mistakes: self,
            parent: None,
            failed: Cell::new(false),
        }
    }

    /// All mistakes as `compile_error!` calls, each at its place; empty without any.
    pub(crate) fn into_tokens(mut self) -> TokenStream {
        self.read = true;
        self.list
            .take()
            .iter()
            .map(syn::Error::to_compile_error)
            .collect()
    }

    /// All messages, for tests.
    #[cfg(test)]
    pub(crate) fn into_messages(mut self) -> Vec<String> {
        self.read = true;
        self.list.take().iter().map(ToString::to_string).collect()
    }

    /// All messages, each with the tokens at which it is reported, for tests.
    #[cfg(test)]
    pub(crate) fn into_placed_messages(self) -> Vec<(String, String)> {
        let places = self.places.take();
        places.into_iter().zip(self.into_messages()).collect()
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        assert!(
            self.read || std::thread::panicking(),
            "mistakes were dropped unread"
        );
    }
}

/// Takes the mistakes of one part of the work.
pub(crate) struct Sink<'a> {
    mistakes: &'a Diagnostics,
    parent: Option<&'a Sink<'a>>,
    failed: Cell<bool>,
}

impl Sink<'_> {
    /// A sink for a part of this part.
    pub(crate) fn child(&self) -> Sink<'_> {
        Sink {
            mistakes: self.mistakes,
            parent: Some(self),
            failed: Cell::new(false),
        }
    }

    /// Reports a mistake at these tokens, all of which are underlined.
    pub(crate) fn report(&self, place: &impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(place, message));
        #[cfg(test)]
        if let Some(last) = self.mistakes.places.borrow_mut().last_mut() {
            *last = place.to_token_stream().to_string();
        }
    }

    /// Reports what a parser refused.
    pub(crate) fn push(&self, error: syn::Error) {
        self.mistakes.list.borrow_mut().push(error);
        #[cfg(test)]
        self.mistakes.places.borrow_mut().push(String::new());
        self.mark();
    }

    /// Notes a mistake that rustc reports by itself.
    pub(crate) fn leave_to_rustc(&self) {
        self.mark();
    }

    /// The value, or its mistake reported.
    pub(crate) fn take<T>(&self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Whether this part, or a part of it, has a mistake.
    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    fn mark(&self) {
        self.failed.set(true);
        if let Some(parent) = self.parent {
            parent.mark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[test]
    fn a_mistake_marks_its_part_and_those_around_it_only() {
        let mistakes = Diagnostics::new();
        {
            let root = mistakes.sink();
            let (good, bad) = (root.child(), root.child());
            bad.report(&quote!(x), "no");
            assert!(root.failed() && bad.failed() && !good.failed());
        }
        assert_eq!(mistakes.into_messages(), ["no"]);
    }

    #[test]
    #[should_panic(expected = "unread")]
    fn a_mistake_cannot_be_lost() {
        drop(Diagnostics::new());
    }
}
