use core::fmt;

use super::key::{CursorKey, Direction, SortColumn};
use super::position::Position;
use super::value::CursorValue;

/// A page in SQL: a condition on the sort columns, their order, and how many rows to read.
///
/// Names of columns come from the key's type, values are bound: nothing of a request gets into the text. With
/// all columns in one direction the condition compares rows, `(created_at, id) < (?, ?)`; else it is spelled
/// out, behind a bound of the first column. Either can be answered from an index over the columns in their
/// order, so that a page costs the same wherever it lies.
///
/// [`sql`](Self::sql) gives it as text and values. With the feature `sqlx` it can be pushed onto a query.
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
    /// Those of the key, and the limit.
    pub(super) values: Vec<CursorValue>,
}

/// A piece of a condition.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    /// The value of this index.
    Value(usize),
}

/// A [`Keyset`] as text and values.
///
/// Displayed, it is the end of a query, from what follows `WHERE … AND` on. Values are bound in the order of
/// `binds`; the last is the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysetSql {
    /// What a row must fulfil; of the first page, all do.
    pub condition: String,
    /// The columns and their directions.
    pub order_by: String,
    /// The placeholder of the number of rows.
    pub limit: String,
    /// The values.
    pub binds: Vec<CursorValue>,
}

/// How values are referred to in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholders {
    /// `?`, one after another: of any database but Postgres.
    Question,
    /// `?2`, `?3` and so on, from this number: of `SQLite`.
    QuestionFrom(usize),
    /// `$2`, `$3` and so on, from this number: of Postgres, and `SQLite`.
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

    /// The text with these placeholders, and the values to bind.
    pub fn sql(&self, placeholders: Placeholders) -> KeysetSql {
        let (mut condition, mut binds) = (String::new(), Vec::new());
        for piece in &self.condition {
            match piece {
                Piece::Text(text) => condition.push_str(text),
                Piece::Value(index) => {
                    condition.push_str(&placeholders.of(*index));
                    binds.push(self.values[*index].clone());
                }
            }
        }
        let last = self.values.len() - 1;
        binds.push(self.values[last].clone());
        // A number can be referred to many times.
        let binds = if placeholders == Placeholders::Question {
            binds
        } else {
            self.values.clone()
        };
        KeysetSql {
            condition,
            order_by: self.order_by.clone(),
            limit: placeholders.of(last),
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
    fn of(self, index: usize) -> String {
        match self {
            Self::Question => String::from("?"),
            Self::QuestionFrom(first) => format!("?{}", first + index),
            Self::DollarFrom(first) => format!("${}", first + index),
        }
    }
}

/// Whether a row lies beyond the key, in the order of these columns.
fn condition(columns: &[SortColumn]) -> Vec<Piece> {
    let alike = columns
        .windows(2)
        .all(|pair| pair[0].direction == pair[1].direction);
    if alike {
        row_condition(columns)
    } else {
        expanded_condition(columns)
    }
}

/// `a > ?`, `(a, b) > (?, ?)`
fn row_condition(columns: &[SortColumn]) -> Vec<Piece> {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let (open, close) = if columns.len() == 1 {
        ("", "")
    } else {
        ("(", ")")
    };
    let comparison = columns
        .first()
        .map_or("", |column| column_condition(column.direction));
    let mut pieces = vec![text(format!(
        "{open}{}{close} {comparison} {open}",
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

/// `a >= ? AND (a > ? OR (a = ? AND (b < ? OR (b = ? AND c > ?))))`, of at least two columns.
///
/// The first comparison follows from the second: it is there for the index.
fn expanded_condition(columns: &[SortColumn]) -> Vec<Piece> {
    let Some((last, others)) = columns.split_last() else {
        return Vec::new();
    };
    let mut pieces = Vec::new();
    for (index, SortColumn { name, direction }) in others.iter().enumerate() {
        let (comparison, value) = (column_condition(*direction), || Piece::Value(index));
        if index == 0 {
            pieces.extend([
                text(format!("{name} {comparison}= ")),
                value(),
                text(" AND "),
            ]);
        }
        pieces.extend([text(format!("({name} {comparison} ")), value()]);
        pieces.extend([text(format!(" OR ({name} = ")), value(), text(" AND ")]);
    }
    pieces.push(text(format!(
        "{} {} ",
        last.name,
        column_condition(last.direction)
    )));
    pieces.extend([Piece::Value(others.len()), text("))".repeat(others.len()))]);
    pieces
}

const fn column_condition(direction: Direction) -> &'static str {
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
