use core::cmp::Ordering;

use super::value::CursorValue;

/// What a list is sorted by: the values of a row that say where in the list it stands.
///
/// Derived, for a struct of the sort columns in their order; the last one is unique, so that no two rows
/// stand at the same place. See [`derive@crate::CursorKey`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `CursorKey`",
    label = "does not declare the sort columns of a list",
    note = "write a struct of the sort columns, the unique one last: \
            `#[derive(CursorKey)] struct Newest {{ #[cursor(desc)] created_at: i64, #[cursor(desc, unique)] id: i64 }}`"
)]
pub trait CursorKey: Sized {
    /// The columns, the unique one last.
    const COLUMNS: &'static [SortColumn];

    /// The values, one a column.
    fn to_values(&self) -> Vec<CursorValue>;

    /// Reads what [`to_values`](Self::to_values) has made; `None` for anything else.
    fn from_values(values: Vec<CursorValue>) -> Option<Self>;

    /// Which of two rows stands first in the list.
    fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.to_values().into_iter().zip(other.to_values());
        let orders = Self::COLUMNS
            .iter()
            .zip(pairs)
            .map(|(column, (own, other))| column.compare(&own, &other));
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

/// A column that a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SortColumn {
    /// Its name in SQL, such as `payments.created_at`.
    pub name: &'static str,
    /// Which of its values come first.
    pub direction: Direction,
}

/// Which values of a column come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smallest.
    Ascending,
    /// The largest.
    Descending,
}

impl SortColumn {
    /// The column of this name.
    pub const fn new(name: &'static str, direction: Direction) -> Self {
        Self { name, direction }
    }

    fn compare(self, left: &CursorValue, right: &CursorValue) -> Ordering {
        match self.direction {
            Direction::Ascending => left.cmp(right),
            Direction::Descending => right.cmp(left),
        }
    }
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// A key in the order of its list: for a [`BTreeMap`](std::collections::BTreeMap) of rows.
#[derive(Debug, Clone, Copy)]
pub struct InOrder<K>(pub K);

impl<K: CursorKey> Ord for InOrder<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(&other.0)
    }
}

impl<K: CursorKey> PartialOrd for InOrder<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: CursorKey> PartialEq for InOrder<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: CursorKey> Eq for InOrder<K> {}
