//! `#[endpoint(…)]`: the item first, then its expansion or the fallback, then the mistakes.

use proc_macro2::TokenStream;

use crate::errors::Diagnostics;
use crate::parse::Function;
use crate::policies::Endpoint;
use crate::spec::Spec;
use crate::{check, expand};

/// Expands the attribute.
///
/// The item is always emitted as written, mistakes or not, so that an editor keeps working. With a
/// mistake, what others refer to is emitted inert, so that nothing follows from it.
pub(crate) fn endpoint(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mistakes = Diagnostics::new();
    let generated = generate(arguments, item.clone(), &mistakes);
    let mut output = item;
    output.extend(generated);
    output.extend(mistakes.into_tokens());
    output
}

fn generate(arguments: TokenStream, item: TokenStream, mistakes: &Diagnostics) -> TokenStream {
    let sink = mistakes.sink();
    let spec = Spec::parse(arguments, &sink);
    let Some(function) = sink.take(Function::parse(item.clone())) else {
        let half = Function::parse_incomplete(item);
        return half
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
