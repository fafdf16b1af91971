//! The kinds of problems that an error can become.

use core::any::{TypeId, type_name};

use super::error::ApiError;
use super::spec::ProblemSpec;

/// The kinds of problems that an error can become, each with its error type and variant.
/// [`ApiError::kinds`] fills this list. The start-up check of an API reads the list and compares
/// the codes.
///
/// ```
/// use aplomb::ApiError;
/// use aplomb::problem::ProblemKinds;
///
/// #[derive(Debug, thiserror::Error, ApiError)]
/// enum Failure {
///     #[error("the account is closed")]
///     #[problem(conflict, code = "ACCOUNT_CLOSED")]
///     Closed,
///     #[error(transparent)]
///     #[problem(transparent)]
///     Ledger(#[from] LedgerError),
/// }
///
/// #[derive(Debug, thiserror::Error, ApiError)]
/// #[error("the books do not balance")]
/// #[problem(internal)]
/// struct LedgerError;
///
/// let kinds = ProblemKinds::of::<Failure>();
/// let codes: Vec<_> = kinds.iter().map(|kind| (kind.spec.status, kind.spec.code)).collect();
/// assert_eq!(codes, [(409, "ACCOUNT_CLOSED"), (500, "LEDGER_ERROR")]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProblemKinds {
    kinds: Vec<ProblemKind>,
    visited: Vec<TypeId>,
}

/// One kind of problem that an error can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemKind {
    /// The constant data of this kind.
    pub spec: ProblemSpec,
    /// The path of the error type.
    pub error: &'static str,
    /// The name of the variant; empty for a struct.
    pub variant: &'static str,
}

impl ProblemKinds {
    /// Returns the kinds of an error.
    pub fn of<E: ApiError>() -> Self {
        let mut kinds = Self::default();
        kinds.include::<E>();
        kinds
    }

    /// Adds the kind of one variant of `E`, or of the struct `E` if `variant` is empty.
    pub fn add<E: ApiError>(&mut self, spec: ProblemSpec, variant: &'static str) {
        self.kinds.push(ProblemKind {
            spec,
            error: type_name::<E>(),
            variant,
        });
    }

    /// Adds all kinds of another error. A second call with the same error does nothing, because an
    /// error type may contain itself.
    pub fn include<E: ApiError>(&mut self) {
        let id = TypeId::of::<E>();
        if !self.visited.contains(&id) {
            self.visited.push(id);
            E::kinds(self);
        }
    }

    /// Adds the kinds that a probe finds, if there is a probe.
    #[doc(hidden)]
    pub fn include_probe(&mut self, probe: Option<fn(&mut Self)>) {
        if let Some(probe) = probe {
            probe(self);
        }
    }

    /// Returns the kinds, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = &ProblemKind> {
        self.kinds.iter()
    }
}
