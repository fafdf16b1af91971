//! Conversion of columns to valid values.

use core::str::FromStr;

use sqlx::{Error, Row as _};

use super::super::Row;

/// Parses a text column, such as an identifier.
pub(super) fn parse_column<T>(row: &Row, column: &'static str) -> Result<T, Error>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(invalid_column(column))
}

/// Returns a function that converts any error to an error that names the column. The error means
/// that the column has a value that the ledger never writes.
pub(super) fn invalid_column<E>(column: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(source),
    }
}
