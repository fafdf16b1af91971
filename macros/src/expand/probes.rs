//! Generates the assertions that only the compiler can evaluate. All assertions of an endpoint are
//! in one constant, which `cargo check` evaluates. The associated type `Checked` depends on this
//! constant, so that a failed assertion causes no further errors.

use proc_macro2::TokenStream;
use quote::quote;

use super::{checks, transaction};
use crate::names;
use crate::policies::Endpoint;

/// Generates the associated type `Checked`, which contains the constant. If there are no
/// assertions, the type contains no constant.
///
/// The constant has no name, because rustc reports an error in a named constant again at each use.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let mut assertions = checks::expand(endpoint);
    assertions.extend(transaction::assertions(endpoint));
    let policies = endpoint.spec.policies().into_iter();
    assertions.extend(policies.map(|policy| policy.assertions(endpoint)));
    let ty = names::name("T");
    if assertions.is_empty() {
        return quote!(type Checked<#ty> = #ty;);
    }
    quote! {
        type Checked<#ty> =
            <__aplomb::__private::Checks<{ #assertions true }> as __aplomb::__private::IfPassed<#ty>>::Type;
    }
}
