//! Reading rows into values that are valid.

use core::str::FromStr;

use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row};

/// A text column that parses, such as an identifier.
pub(super) fn parsed<T>(row: &SqliteRow, column: &'static str) -> Result<T, Error>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(wrong(column))
}

/// The error of a column whose value the ledger would never have written.
pub(super) fn wrong<E>(column: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    }
}
