//! Keysets in sqlx queries.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Encode, QueryBuilder, Type};

use super::keyset::{Keyset, Piece};
use super::value::CursorValue;

impl Keyset {
    /// Pushes the condition, `ORDER BY` and `LIMIT` onto a query that ends with `WHERE` or `AND`.
    ///
    /// ```
    /// use aplomb::CursorKey;
    /// use aplomb::policies::paginate::PageRequest;
    /// use sqlx::{QueryBuilder, Sqlite};
    ///
    /// #[derive(CursorKey)]
    /// struct Newest {
    ///     #[cursor(desc, unique)]
    ///     id: i64,
    /// }
    ///
    /// let page = PageRequest::new(Some(Newest { id: 7 }), 50);
    /// let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM payments WHERE account = ");
    /// query.push_bind("acc_1").push(" AND ");
    /// page.bidirectional().keyset().push_onto(&mut query);
    /// assert_eq!(query.into_string(), "SELECT id FROM payments WHERE account = ? AND id < ? ORDER BY id DESC LIMIT ?");
    /// ```
    pub fn push_onto<DB: Database>(&self, query: &mut QueryBuilder<DB>)
    where
        CursorValue: for<'q> Encode<'q, DB> + Type<DB>,
    {
        for piece in &self.condition {
            match piece {
                Piece::Text(text) => query.push(text),
                Piece::Value(index) => query.push_bind(self.values[*index].clone()),
            };
        }
        query
            .push(" ORDER BY ")
            .push(&self.order_by)
            .push(" LIMIT ");
        query.push_bind(self.values[self.values.len() - 1].clone());
    }
}

impl<DB: Database> Type<DB> for CursorValue
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        String::type_info()
    }
}

impl<'q, DB: Database> Encode<'q, DB> for CursorValue
where
    i64: Encode<'q, DB> + Type<DB>,
    String: Encode<'q, DB> + Type<DB>,
    Vec<u8>: Encode<'q, DB> + Type<DB>,
    bool: Encode<'q, DB> + Type<DB>,
{
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Integer(value) => value.encode_by_ref(buffer),
            Self::Text(value) => value.encode_by_ref(buffer),
            Self::Bytes(value) => value.encode_by_ref(buffer),
            Self::Bool(value) => value.encode_by_ref(buffer),
        }
    }

    fn produces(&self) -> Option<DB::TypeInfo> {
        Some(match self {
            Self::Integer(_) => i64::type_info(),
            Self::Text(_) => String::type_info(),
            Self::Bytes(_) => Vec::<u8>::type_info(),
            Self::Bool(_) => bool::type_info(),
        })
    }
}
