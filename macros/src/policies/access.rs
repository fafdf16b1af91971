//! `public`: who may call.

use proc_macro2::TokenStream;
use quote::quote;

use super::Policy;
use crate::errors::Sink;
use crate::parse::Argument;

/// Who may call.
#[derive(Default)]
pub(crate) struct Access {
    public: bool,
}

impl Access {
    /// Whether everybody may.
    pub(crate) fn is_public(&self) -> bool {
        self.public
    }
}

impl Policy for Access {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        self.public = argument.flag(sink);
    }

    fn spec(&self) -> TokenStream {
        if self.public {
            quote!(.public())
        } else {
            TokenStream::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, mistakes};

    #[test]
    fn a_flag_is_taken_and_nothing_else() {
        assert_eq!(calls("get = \"/a\", public"), ".public()");
        assert_eq!(mistakes("get = \"/a\", public = true").len(), 1);
        assert_eq!(mistakes("get = \"/a\", public(yes)").len(), 1);
    }
}
