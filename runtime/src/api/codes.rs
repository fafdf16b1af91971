//! Checks that every code has one kind of problem, because clients decide by the code.

use core::fmt;
use std::collections::{HashMap, HashSet};

use super::check::describe;
use crate::problem::{ProblemKind, ProblemSpec, registry};
use crate::spec::EndpointSpec;
use crate::start::StartError;

/// Returns an error for each declaration of a code that contradicts the first declaration of this
/// code. Several error types may declare the same kind: many have a `NOT_FOUND`.
pub(super) fn conflicts(specs: impl Iterator<Item = &'static EndpointSpec>) -> Vec<StartError> {
    let mut declarations: HashMap<&str, Declaration> =
        registry::ALL.iter().map(framework_declaration).collect();
    // An error type that several endpoints return is reported once.
    let (mut reported, mut errors) = (HashSet::new(), Vec::new());
    for endpoint in specs {
        for kind in endpoint.problems().iter() {
            let other = Declaration {
                spec: kind.spec,
                declared_at: DeclaredAt::Error(*kind, endpoint),
            };
            let first = declarations.entry(kind.spec.code).or_insert(other);
            let declared_by = (kind.error, kind.variant, kind.spec.code);
            if !first.agrees_with(&other) && reported.insert(declared_by) {
                errors.push(StartError::new(first.describe_conflict(&other)));
            }
        }
    }
    errors
}

fn framework_declaration(spec: &ProblemSpec) -> (&'static str, Declaration) {
    (
        spec.code,
        Declaration {
            spec: *spec,
            declared_at: DeclaredAt::Framework,
        },
    )
}

/// The kind of problem that a code has, and where it is declared.
#[derive(Clone, Copy)]
struct Declaration {
    spec: ProblemSpec,
    declared_at: DeclaredAt,
}

#[derive(Clone, Copy)]
enum DeclaredAt {
    Framework,
    Error(ProblemKind, &'static EndpointSpec),
}

impl Declaration {
    /// Returns `true` if both declarations are the same to a client. `retryable`, `Retry-After` and
    /// the effects may differ, because they depend on how far the handler got.
    fn agrees_with(&self, other: &Self) -> bool {
        let kind = |spec: &ProblemSpec| (spec.category, spec.status, spec.title);
        kind(&self.spec) == kind(&other.spec)
    }

    fn describe_conflict(&self, other: &Self) -> String {
        let code = self.spec.code;
        let fix = match self.declared_at {
            DeclaredAt::Framework => {
                "give your error another code, or the status and title of the framework"
            }
            DeclaredAt::Error(..) => "give one of them another code",
        };
        format!("the code `{code}` has two meanings: {self}, and {other}: {fix}")
    }
}

impl fmt::Display for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProblemSpec {
            status,
            category,
            title,
            ..
        } = self.spec;
        write!(f, "{status} `{category}` {title:?} {}", self.declared_at)
    }
}

impl fmt::Display for DeclaredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framework => f.write_str("in the framework"),
            Self::Error(kind, endpoint) => {
                let separator = if kind.variant.is_empty() { "" } else { "::" };
                write!(
                    f,
                    "in `{}{separator}{}` of {}",
                    kind.error,
                    kind.variant,
                    describe(endpoint)
                )
            }
        }
    }
}
