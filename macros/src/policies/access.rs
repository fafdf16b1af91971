//! `public`: access without authentication.

use proc_macro2::TokenStream;
use quote::quote;

use super::Policy;
use crate::errors::Sink;
use crate::parse::Argument;

/// The access policy.
#[derive(Default)]
pub(crate) struct Access {
    public: bool,
}

impl Access {
    /// Returns true if requests are admitted without authentication.
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
    use crate::policies::{calls, errors};

    #[test]
    fn only_a_flag_is_accepted() {
        assert_eq!(calls("get = \"/a\", public"), ".public()");
        assert_eq!(errors("get = \"/a\", public = true").len(), 1);
        assert_eq!(errors("get = \"/a\", public(yes)").len(), 1);
    }
}
