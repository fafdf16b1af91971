use core::fmt;

use super::key::{CursorKey, Direction, SortColumn};
use super::position::Position;
use super::value::CursorValue;

/// The SQL of a page: a condition on the sort columns, their order, and the number of rows to read.
///
/// Column names come from the type of the key and values are bound, so the text of the query
/// contains no part of a request. If all columns have the same direction, the condition compares
/// rows: `(created_at, id) < (?, ?)`. Otherwise the condition compares the columns one by one,
/// after an additional comparison of the first column. A database can answer both forms from an
/// index over the columns in their order, so every page costs the same.
///
/// [`sql`](Self::sql) returns the text and the values. With the feature `sqlx`, `push_onto` pushes
/// them onto a query.
///
/// ```
/// use aplomb::CursorKey;
/// use aplomb::policies::paginate::{CursorValue, PageRequest, Placeholders, Position};
///
/// #[derive(CursorKey)]
/// struct Newest {
///     #[cursor(desc)]
///     created_at: i64,
///     #[cursor(desc, unique)]
///     id: i64,
/// }
///
/// let page = PageRequest::at(Position::After(Newest { created_at: 1_800, id: 7 }), 50);
/// let keyset = page.bidirectional().keyset().sql(Placeholders::QuestionFrom(2));
/// assert_eq!(
///     format!("SELECT * FROM payments WHERE account = ?1 AND {keyset}"),
///     "SELECT * FROM payments WHERE account = ?1 AND (created_at, id) < (?2, ?3) \
///      ORDER BY created_at DESC, id DESC LIMIT ?4"
/// );
/// assert_eq!(keyset.binds.last(), Some(&CursorValue::Integer(51)));
/// ```
#[derive(Debug, Clone)]
pub struct Keyset {
    pub(super) condition: Vec<Piece>,
    pub(super) order_by: String,
    /// The values of the key, then the limit.
    pub(super) values: Vec<CursorValue>,
}

/// A part of a condition.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    /// A placeholder for the value with this index.
    Value(usize),
}

/// The text and the values of a [`Keyset`].
///
/// Write its [`Display`](fmt::Display) form after `WHERE` or `AND` in a query. Bind the values in
/// the order of `binds`; the last one is the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysetSql {
    /// The condition for the rows of the page; always true on the first page.
    pub condition: String,
    /// The columns with their directions.
    pub order_by: String,
    /// The placeholder of the number of rows.
    pub limit: String,
    /// The values to bind.
    pub binds: Vec<CursorValue>,
}

/// The syntax of placeholders in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholders {
    /// `?` for each value in turn. Not supported by Postgres.
    Question,
    /// `?2`, `?3` and so on, starting with this number. For `SQLite`.
    QuestionFrom(usize),
    /// `$2`, `$3` and so on, starting with this number. For Postgres and `SQLite`.
    DollarFrom(usize),
}

impl Keyset {
    pub(super) fn new<K: CursorKey>(position: &Position<&K>, fetch_limit: usize) -> Self {
        let backward = position.is_backward();
        let reversed = |column: &SortColumn| SortColumn {
            direction: if backward {
                column.direction.reversed()
            } else {
                column.direction
            },
            ..*column
        };
        let columns: Vec<SortColumn> = K::COLUMNS.iter().map(reversed).collect();
        let condition = if position.key().is_some() {
            condition(&columns)
        } else {
            vec![text("1 = 1")]
        };
        let mut values = position.key().map_or_else(Vec::new, |key| key.to_values());
        values.push(CursorValue::Integer(
            i64::try_from(fetch_limit).unwrap_or(i64::MAX),
        ));
        Self {
            condition,
            order_by: order_by(&columns),
            values,
        }
    }

    /// Returns the text with these placeholders and the values to bind.
    pub fn sql(&self, placeholders: Placeholders) -> KeysetSql {
        let (mut condition, mut binds) = (String::new(), Vec::new());
        for piece in &self.condition {
            match piece {
                Piece::Text(text) => condition.push_str(text),
                Piece::Value(index) => {
                    condition.push_str(&placeholders.placeholder(*index));
                    binds.push(self.values[*index].clone());
                }
            }
        }
        let last = self.values.len() - 1;
        binds.push(self.values[last].clone());
        // A numbered placeholder can occur several times, but its value is bound once.
        let binds = if placeholders == Placeholders::Question {
            binds
        } else {
            self.values.clone()
        };
        KeysetSql {
            condition,
            order_by: self.order_by.clone(),
            limit: placeholders.placeholder(last),
            binds,
        }
    }
}

impl fmt::Display for KeysetSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            condition,
            order_by,
            limit,
            ..
        } = self;
        write!(f, "{condition} ORDER BY {order_by} LIMIT {limit}")
    }
}

impl Placeholders {
    fn placeholder(self, index: usize) -> String {
        match self {
            Self::Question => String::from("?"),
            Self::QuestionFrom(first) => format!("?{}", first + index),
            Self::DollarFrom(first) => format!("${}", first + index),
        }
    }
}

/// Returns the condition for rows after the key, in the order of these columns.
fn condition(columns: &[SortColumn]) -> Vec<Piece> {
    let same_direction = columns
        .windows(2)
        .all(|pair| pair[0].direction == pair[1].direction);
    if same_direction {
        row_condition(columns)
    } else {
        expanded_condition(columns)
    }
}

/// Returns a row comparison: `a > ?` or `(a, b) > (?, ?)`.
fn row_condition(columns: &[SortColumn]) -> Vec<Piece> {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let (open, close) = if columns.len() == 1 {
        ("", "")
    } else {
        ("(", ")")
    };
    let operator = columns
        .first()
        .map_or("", |column| comparison_operator(column.direction));
    let mut pieces = vec![text(format!(
        "{open}{}{close} {operator} {open}",
        names.join(", ")
    ))];
    for index in 0..columns.len() {
        if index > 0 {
            pieces.push(text(", "));
        }
        pieces.push(Piece::Value(index));
    }
    pieces.push(text(close));
    pieces
}

/// Returns `a >= ? AND (a > ? OR (a = ? AND (b < ? OR (b = ? AND c > ?))))`, for at least two
/// columns.
///
/// The first comparison does not change the result, because the other comparisons imply it. It lets
/// the database start at the right position in the index.
fn expanded_condition(columns: &[SortColumn]) -> Vec<Piece> {
    let Some((last, others)) = columns.split_last() else {
        return Vec::new();
    };
    let mut pieces = Vec::new();
    for (index, SortColumn { name, direction }) in others.iter().enumerate() {
        let (operator, value) = (comparison_operator(*direction), || Piece::Value(index));
        if index == 0 {
            pieces.extend([text(format!("{name} {operator}= ")), value(), text(" AND ")]);
        }
        pieces.extend([text(format!("({name} {operator} ")), value()]);
        pieces.extend([text(format!(" OR ({name} = ")), value(), text(" AND ")]);
    }
    pieces.push(text(format!(
        "{} {} ",
        last.name,
        comparison_operator(last.direction)
    )));
    pieces.extend([Piece::Value(others.len()), text("))".repeat(others.len()))]);
    pieces
}

const fn comparison_operator(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => ">",
        Direction::Descending => "<",
    }
}

fn order_by(columns: &[SortColumn]) -> String {
    let column = |SortColumn { name, direction }: &SortColumn| match direction {
        Direction::Ascending => (*name).to_owned(),
        Direction::Descending => format!("{name} DESC"),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

#[cfg(test)]
mod tests;
