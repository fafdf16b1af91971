use core::fmt::Debug;
use std::collections::BTreeMap;

use aplomb::CursorKey;
use aplomb::policies::paginate::{Bidirectional, InOrder, Placeholders};
use sqlx::query::QueryScalar;
use sqlx::{AssertSqlSafe, Connection, QueryBuilder, Sqlite, SqliteConnection};

use crate::Order;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) rank: i32,
    pub(crate) name: String,
    pub(crate) flag: bool,
    pub(crate) tag: Vec<u8>,
}

pub(crate) const QUESTION_MARKS: Placeholders = Placeholders::Question;

/// The same rows in memory and in a database.
pub(crate) struct Table {
    rows: BTreeMap<i64, Row>,
    database: SqliteConnection,
    queries: usize,
}

impl Table {
    pub(crate) async fn new(rows: &[Row]) -> Self {
        let mut database = SqliteConnection::connect("sqlite::memory:")
            .await
            .expect("a database");
        sqlx::raw_sql(
            "CREATE TABLE rows (
                id INTEGER PRIMARY KEY, rank INTEGER NOT NULL, name TEXT NOT NULL, flag INTEGER NOT NULL, tag BLOB NOT NULL
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX rows_upwards ON rows (rank, name, id);
             CREATE INDEX rows_up_and_down ON rows (rank, name DESC, id);",
        )
        .execute(&mut database)
        .await
        .expect("a table");
        let mut table = Self {
            rows: BTreeMap::new(),
            database,
            queries: 0,
        };
        table
            .change(
                &rows
                    .iter()
                    .map(|row| (row.clone(), true))
                    .collect::<Vec<_>>(),
            )
            .await;
        table
    }

    /// Inserts or deletes these rows.
    pub(crate) async fn change(&mut self, changes: &[(Row, bool)]) {
        for (row, present) in changes {
            self.rows.remove(&row.id);
            let delete = sqlx::query("DELETE FROM rows WHERE id = ?").bind(row.id);
            delete.execute(&mut self.database).await.expect("deleted");
            if *present {
                self.insert(row).await;
            }
        }
    }

    async fn insert(&mut self, row: &Row) {
        self.rows.insert(row.id, row.clone());
        let Row {
            id,
            rank,
            name,
            flag,
            tag,
        } = row;
        let insert = sqlx::query("INSERT INTO rows VALUES (?, ?, ?, ?, ?)")
            .bind(id)
            .bind(rank);
        insert
            .bind(name)
            .bind(flag)
            .bind(tag)
            .execute(&mut self.database)
            .await
            .expect("inserted");
    }

    pub(crate) fn in_slice<K: Order>(&self, page: &Bidirectional<K>) -> Vec<Row> {
        let mut sorted: Vec<&Row> = self.rows.values().collect();
        sorted.sort_by(|left, right| K::reference_order(left, right));
        page.in_slice(&sorted, |row| K::of(row))
            .map(|row| (*row).clone())
            .collect()
    }

    pub(crate) fn in_map<K: Order>(&self, page: &Bidirectional<K>) -> Vec<Row> {
        let map: BTreeMap<InOrder<K>, &Row> = self
            .rows
            .values()
            .map(|row| (InOrder(K::of(row)), row))
            .collect();
        page.in_map(&map).map(|(_, row)| (*row).clone()).collect()
    }

    /// Reads a page from the database. Each call writes the query in the next of four ways.
    pub(crate) async fn in_sqlite<K: CursorKey>(&mut self, page: &Bidirectional<K>) -> Vec<Row> {
        self.queries += 1;
        let placeholders = match self.queries % 4 {
            0 => Placeholders::Question,
            1 => Placeholders::QuestionFrom(2),
            2 => Placeholders::DollarFrom(2),
            _ => return self.in_sqlite_with_builder(page).await,
        };
        let keyset = page.keyset().sql(placeholders);
        let text = format!("SELECT id FROM rows WHERE ? = 1 AND {keyset}");
        let query: QueryScalar<'_, _, i64, _> = sqlx::query_scalar(AssertSqlSafe(text)).bind(1);
        let query = keyset.binds.into_iter().fold(query, QueryScalar::bind);
        let ids = query.fetch_all(&mut self.database).await.expect("a page");
        self.rows_of(&ids)
    }

    /// Returns the query plan of a page.
    pub(crate) async fn plan<K: CursorKey>(&mut self, page: &Bidirectional<K>) -> Vec<String> {
        let mut query =
            QueryBuilder::<Sqlite>::new("EXPLAIN QUERY PLAN SELECT id FROM rows WHERE ");
        page.keyset().push_onto(&mut query);
        let query = query.build_query_as::<(i64, i64, i64, String)>();
        let steps = query.fetch_all(&mut self.database).await.expect("a plan");
        steps.into_iter().map(|(.., step)| step).collect()
    }

    async fn in_sqlite_with_builder<K: CursorKey>(&mut self, page: &Bidirectional<K>) -> Vec<Row> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM rows WHERE ");
        query.push_bind(1).push(" = 1 AND ");
        page.keyset().push_onto(&mut query);
        let ids: Vec<i64> = query
            .build_query_scalar()
            .fetch_all(&mut self.database)
            .await
            .expect("a page");
        self.rows_of(&ids)
    }

    fn rows_of(&self, ids: &[i64]) -> Vec<Row> {
        ids.iter().map(|id| self.rows[id].clone()).collect()
    }
}
