//! Identifiers in database columns, stored as text.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};

use super::{Id, Resource};

impl<DB: Database, T> Type<DB> for Id<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        String::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        String::compatible(ty)
    }
}

impl<'q, DB: Database, T: Resource> Encode<'q, DB> for Id<T>
where
    String: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.to_string().encode(buffer)
    }

    fn produces(&self) -> Option<DB::TypeInfo> {
        String::new().produces()
    }
}

/// Decodes an identifier from a text column. A text that is not an identifier of `T` is a decoding
/// error of the column.
impl<'r, DB: Database, T: Resource> Decode<'r, DB> for Id<T>
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<&str>::decode(value)?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;
    use sqlx::{Row, SqlitePool};

    use super::*;

    struct Payment;

    impl Resource for Payment {
        const PREFIX: &'static str = "pay";
    }

    struct Account;

    impl Resource for Account {
        const PREFIX: &'static str = "acc";
    }

    async fn database() -> SqlitePool {
        // Each connection to `:memory:` has its own database, so the pool has only one.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect("sqlite::memory:")
            .await
            .expect("a database");
        sqlx::query("CREATE TABLE payments (id TEXT PRIMARY KEY, parent TEXT) STRICT")
            .execute(&pool)
            .await
            .expect("a table");
        pool
    }

    #[tokio::test]
    async fn h01_identifiers_are_stored_as_text() {
        let (pool, id) = (database().await, Id::<Payment>::new());
        sqlx::query("INSERT INTO payments VALUES (?, ?)")
            .bind(id)
            .bind(None::<Id<Payment>>)
            .execute(&pool)
            .await
            .expect("inserted");
        let row = sqlx::query("SELECT id, parent, id AS text FROM payments WHERE id = ?")
            .bind(id)
            .fetch_one(&pool)
            .await
            .expect("the row");
        assert_eq!(row.get::<Id<Payment>, _>("id"), id);
        assert_eq!(row.get::<Option<Id<Payment>>, _>("parent"), None);
        assert_eq!(row.get::<String, _>("text"), id.to_string());
    }

    #[tokio::test]
    async fn h01_an_invalid_identifier_is_a_decoding_error_of_its_column() {
        let pool = database().await;
        for text in [
            "acc_01HZQK7P3WVXBN4Y9MRDTJC8E6",
            "pay_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "",
        ] {
            let row = sqlx::query("SELECT ? AS id")
                .bind(text)
                .fetch_one(&pool)
                .await
                .expect("a row");
            let error = row
                .try_get::<Id<Payment>, _>("id")
                .expect_err(text)
                .to_string();
            assert!(
                error.contains("\"id\"") && error.contains("such as pay_01"),
                "{error}"
            );
        }
        let number = sqlx::query("SELECT 7 AS id")
            .fetch_one(&pool)
            .await
            .expect("a row");
        assert!(number.try_get::<Id<Account>, _>("id").is_err());
    }
}
