use core::any::{TypeId, type_name};

use super::error::ApiError;
use super::spec::ProblemSpec;

/// The kinds of problems that an error can be, each with the place of its declaration. It is what
/// [`ApiError::kinds`] tells, and the start-up check and descriptions of an API read.
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
    asked: Vec<TypeId>,
}

/// One kind of problem that an error can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemKind {
    /// What is constant about it.
    pub spec: ProblemSpec,
    /// The path of the error's type.
    pub error: &'static str,
    /// The variant; empty for a struct.
    pub variant: &'static str,
}

impl ProblemKinds {
    /// Those of an error.
    pub fn of<E: ApiError>() -> Self {
        let mut kinds = Self::default();
        kinds.include::<E>();
        kinds
    }

    /// Adds a kind that a variant of `E` is, or `E` itself where the name is empty.
    pub fn add<E: ApiError>(&mut self, spec: ProblemSpec, variant: &'static str) {
        self.kinds.push(ProblemKind {
            spec,
            error: type_name::<E>(),
            variant,
        });
    }

    /// Adds all of another error, once: an error may hold itself.
    pub fn include<E: ApiError>(&mut self) {
        let id = TypeId::of::<E>();
        if !self.asked.contains(&id) {
            self.asked.push(id);
            E::kinds(self);
        }
    }

    /// Adds those of an error that may be none that tells.
    #[doc(hidden)]
    pub fn ask(&mut self, probe: Option<ProblemsProbe>) {
        if let Some(probe) = probe {
            probe(self);
        }
    }

    /// All of them, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = &ProblemKind> {
        self.kinds.iter()
    }
}

/// Asks the error of a result.
pub type ProblemsProbe = fn(&mut ProblemKinds);
