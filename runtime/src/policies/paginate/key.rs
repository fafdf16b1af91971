use core::cmp::Ordering;

use super::value::CursorValue;

/// The sort key of a list: the values of a row that determine its position.
///
/// Derive the trait for a struct of the sort columns in their order. The last column must be
/// unique, so that no two rows have the same position. See [`derive@crate::CursorKey`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `CursorKey`",
    label = "does not declare the sort columns of a list",
    note = "write a struct of the sort columns, the unique one last: \
            `#[derive(CursorKey)] struct Newest {{ #[cursor(desc)] created_at: i64, #[cursor(desc, unique)] id: i64 }}`"
)]
pub trait CursorKey: Sized {
    /// The sort columns. The last column is unique.
    const COLUMNS: &'static [SortColumn];

    /// Converts the key to values, one per column.
    fn to_values(&self) -> Vec<CursorValue>;

    /// Converts back from the result of [`to_values`](Self::to_values). Returns `None` for any
    /// other values.
    fn from_values(values: Vec<CursorValue>) -> Option<Self>;

    /// Compares the positions of two rows in the list.
    fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.to_values().into_iter().zip(other.to_values());
        let orders = Self::COLUMNS
            .iter()
            .zip(pairs)
            .map(|(column, (own, other))| column.compare(&own, &other));
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

/// A column by which a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SortColumn {
    /// The name in SQL, such as `payments.created_at`.
    pub name: &'static str,
    /// The direction of the sort.
    pub direction: Direction,
}

/// The direction in which a column is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smallest value first.
    Ascending,
    /// The largest value first.
    Descending,
}

impl SortColumn {
    /// Creates a column with this name and direction.
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
    /// Returns the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// A key with the order of its list, for a [`BTreeMap`](std::collections::BTreeMap) of rows.
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
