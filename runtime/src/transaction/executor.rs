//! The implementations of sqlx's `Executor`.
//!
//! They are not generic over the database: a generic implementation needs a bound on all lifetimes
//! of the connection, and the compiler does not find an end when it looks for one.

/// Implements `Executor` for a transaction and its savepoints.
macro_rules! executors {
    ($DB:ty) => {
        executors!($DB, Tx<$DB>, |tx| tx.slot());
        executors!($DB, Savepoint<'_, $DB>, |savepoint| savepoint.slot);
    };
    ($DB:ty, $Handle:ty, |$handle:ident| $slot:expr) => {
        impl<'c> sqlx::Executor<'c> for &'c mut $Handle {
            type Database = $DB;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<Either<<$DB as Db>::QueryResult, <$DB as Db>::Row>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $DB>,
            {
                let $handle = self;
                tx::fetch_many::<$DB, E>($slot, query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<<$DB as Db>::Row>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $DB>,
            {
                let $handle = self;
                tx::fetch_optional::<$DB, E>($slot, query)
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$DB as Db>::TypeInfo],
            ) -> BoxFuture<'e, Result<<$DB as Db>::Statement, Error>>
            where
                'c: 'e,
            {
                let $handle = self;
                tx::prepare_with::<$DB>($slot, sql, parameters)
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<$DB>, Error>>
            where
                'c: 'e,
            {
                let $handle = self;
                tx::describe::<$DB>($slot, sql)
            }
        }
    };
}

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Database as Db, Either, Error, Execute, SqlStr};

use super::savepoint::Savepoint;
use super::tx::{self, Tx};

#[cfg(feature = "postgres")]
executors!(sqlx::Postgres);
#[cfg(feature = "sqlite")]
executors!(sqlx::Sqlite);
