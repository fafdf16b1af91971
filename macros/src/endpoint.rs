//! `#[endpoint(…)]`: emits the item, then its expansion or the fallback, and then the errors.

use proc_macro2::TokenStream;

use crate::errors::Diagnostics;
use crate::parse::Function;
use crate::policies::Endpoint;
use crate::spec::Spec;
use crate::{check, expand};

/// Expands the attribute.
///
/// The item is always emitted as written, so that editors keep working. If there is an error, the
/// fallback declares stubs of the names that other code uses, so that no further errors follow.
pub(crate) fn endpoint(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let generated = generate(arguments, item.clone(), &diagnostics);
    let mut output = item;
    output.extend(generated);
    output.extend(diagnostics.into_tokens());
    output
}

fn generate(arguments: TokenStream, item: TokenStream, diagnostics: &Diagnostics) -> TokenStream {
    let sink = diagnostics.sink();
    let spec = Spec::parse(arguments, &sink);
    let Some(function) = sink.take(Function::parse(item.clone())) else {
        return Function::parse_incomplete(item)
            .map(|function| {
                expand::fallback(&Endpoint {
                    spec: &spec,
                    function: &function,
                })
            })
            .unwrap_or_default();
    };
    let endpoint = Endpoint {
        spec: &spec,
        function: &function,
    };
    check::check(&endpoint, &sink);
    if sink.failed() {
        expand::fallback(&endpoint)
    } else {
        expand::expand(&endpoint)
    }
}

#[cfg(test)]
mod tests;
