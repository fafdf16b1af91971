//! One code, one kind of problem: clients decide by codes, so none may mean two things.

use core::fmt;
use std::collections::{HashMap, HashSet};

use super::check::named;
use crate::problem::{ProblemKind, ProblemSpec, registry};
use crate::spec::EndpointSpec;
use crate::start::StartError;

/// Every code that is declared as two kinds of problems, once for each two places. To declare the same kind
/// in several errors is fine: many errors have a `NOT_FOUND`.
pub(super) fn conflicts(specs: impl Iterator<Item = &'static EndpointSpec>) -> Vec<StartError> {
    let mut meanings: HashMap<&str, Meaning> = registry::ALL.iter().map(framework).collect();
    let (mut said, mut errors) = (HashSet::new(), Vec::new());
    for endpoint in specs {
        for kind in endpoint.problems().iter() {
            let other = Meaning {
                spec: kind.spec,
                place: DeclaredAt::Declared(*kind, endpoint),
            };
            let first = meanings.entry(kind.spec.code).or_insert(other);
            if !first.agrees(&other) && said.insert((kind.error, kind.variant, kind.spec.code)) {
                errors.push(StartError::new(first.contradicted(&other)));
            }
        }
    }
    errors
}

fn framework(spec: &ProblemSpec) -> (&'static str, Meaning) {
    (
        spec.code,
        Meaning {
            spec: *spec,
            place: DeclaredAt::Framework,
        },
    )
}

/// What a code means, and who says so.
#[derive(Clone, Copy)]
struct Meaning {
    spec: ProblemSpec,
    place: DeclaredAt,
}

#[derive(Clone, Copy)]
enum DeclaredAt {
    Framework,
    Declared(ProblemKind, &'static EndpointSpec),
}

impl Meaning {
    /// Whether a client may take both for the same. When to try again may differ by what was done so far.
    fn agrees(&self, other: &Self) -> bool {
        let kind = |spec: &ProblemSpec| (spec.category, spec.status, spec.title);
        kind(&self.spec) == kind(&other.spec)
    }

    fn contradicted(&self, other: &Self) -> String {
        let code = self.spec.code;
        let way_out = match self.place {
            DeclaredAt::Framework => "give it another code, or the same status and title",
            DeclaredAt::Declared(..) => "give one of them another code",
        };
        format!("the code `{code}` is {self} and {other}; {way_out}")
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProblemSpec {
            status,
            category,
            title,
            ..
        } = self.spec;
        write!(f, "{status} `{category}` {title:?} {}", self.place)
    }
}

impl fmt::Display for DeclaredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framework => f.write_str("by the framework"),
            Self::Declared(kind, endpoint) => {
                let separator = if kind.variant.is_empty() { "" } else { "::" };
                write!(
                    f,
                    "by `{}{separator}{}` of {}",
                    kind.error,
                    kind.variant,
                    named(endpoint)
                )
            }
        }
    }
}
