//! The rate limits of a store. Each call is one statement.

use core::fmt;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow};

use super::connect::{Connections, Statement};
use super::records::{NEW_REQUEST, REMOVAL_BATCH, bind, only_row, unexpected};
use super::row::{self, Uuid};
use super::{PostgresRecords, Shared};
use crate::facet::{StoreError, StoreFuture};
use crate::policies::rate_limit::{Acquired, Bucket, BucketState, LimitRequest, LimitStore};
use crate::request::OwnerHasher;
use crate::secret::Key;
use crate::store::acquire::{RequestNumbers, hash_subject, parse_states};

/// The rate limits of one API in a PostgreSQL database.
///
/// Their tables are not in the write-ahead log of the server, so no request waits for the disk. A
/// crash of the server empties the tables, and each limit then admits its burst again.
///
/// A call locks the rows of its buckets, so the server executes calls with the same bucket one after
/// the other. Use [`prefetch`](crate::policies::rate_limit#prefetched-tokens) for a bucket that many
/// requests share.
#[derive(Clone)]
pub struct PostgresLimits {
    connections: Arc<Connections>,
    /// The parts of the records' handle. They contain the task that removes full buckets.
    shared: Arc<Shared>,
    owners: OwnerHasher,
    ids: Key,
}

/// The context that makes the ids of buckets differ from all other hashes. If the hashed data
/// changes, increase the number.
const CONTEXT: &str = "aplomb postgres bucket 1";

const ACQUIRE: &str = "SELECT states, unreadable FROM aplomb.bucket_acquire_v1($1, $2, $3, $4, $5)";

const REMOVE_FULL: &str = "SELECT aplomb.bucket_remove_v1($1)";

impl PostgresRecords {
    /// Returns the rate limits of the API with this name, in the same database. They share the
    /// connections of the records.
    pub fn limits(&self, name: &str) -> PostgresLimits {
        PostgresLimits {
            connections: Arc::clone(&self.connections),
            shared: Arc::clone(&self.shared),
            owners: OwnerHasher::new(name),
            ids: Key::of_purpose(CONTEXT),
        }
    }
}

impl fmt::Debug for PostgresLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLimits")
            .field("url", &self.shared.url)
            .finish_non_exhaustive()
    }
}

impl LimitStore for PostgresLimits {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.take(requests))
    }
}

impl PostgresLimits {
    async fn take(&self, requests: &[LimitRequest<'_>]) -> Result<Acquired, StoreError> {
        let mut buckets: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(position, request)| (self.id(&request.bucket), position))
            .collect();
        // The function locks the rows in this order, so that two calls do not deadlock.
        buckets.sort_unstable();
        let ordered: Vec<_> = buckets.iter().map(|(_, at)| requests[*at]).collect();
        let ids: Vec<_> = buckets.iter().map(|(id, _)| *id).collect();
        let states = self.take_ordered(&ids, &ordered).await?;
        let mut states: Vec<_> = buckets.iter().map(|(_, at)| *at).zip(states).collect();
        states.sort_unstable_by_key(|(position, _)| *position);
        let states: Vec<_> = states.into_iter().map(|(_, state)| state).collect();
        Ok(Acquired::decide(requests, &states))
    }

    /// Takes the tokens of buckets with these ids, which are in ascending order. Returns the states
    /// of the buckets before.
    ///
    /// If the connection breaks, the statement is repeated, and may take the tokens twice. The limit
    /// is never exceeded.
    async fn take_ordered(
        &self,
        ids: &[Uuid],
        requests: &[LimitRequest<'_>],
    ) -> Result<Vec<BucketState>, StoreError> {
        let numbers: Vec<_> = requests.iter().map(RequestNumbers::new).collect();
        let column = |number: fn(&RequestNumbers) -> u64| -> Vec<i64> {
            numbers.iter().map(number).map(bounded).collect()
        };
        let kinds: Vec<_> = numbers
            .iter()
            .map(|numbers| i16::from(numbers.kind))
            .collect();
        let mut arguments = PgArguments::default();
        bind(&mut arguments, ids.to_vec());
        bind(&mut arguments, kinds);
        bind(&mut arguments, column(|numbers| numbers.cost));
        bind(&mut arguments, column(|numbers| numbers.max_used));
        bind(&mut arguments, column(|numbers| numbers.window));
        let statement = Statement {
            sql: ACQUIRE,
            arguments,
        };
        let fetched = self.connections.fetch(&statement, NEW_REQUEST).await?;
        read_states(only_row(&fetched)?, ids, requests)
    }

    fn id(&self, bucket: &Bucket<'_>) -> Uuid {
        let subject = hash_subject(&self.owners, bucket);
        let limit = bucket.limit.to_be_bytes();
        Uuid(self.ids.hash().part(&subject).part(&limit).finish_short())
    }
}

/// Removes one batch of full buckets. Returns `true` if there may be more.
pub(super) async fn remove_full(connections: &Connections) -> Result<bool, StoreError> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, REMOVAL_BATCH);
    let statement = Statement {
        sql: REMOVE_FULL,
        arguments,
    };
    let fetched = connections.fetch(&statement, NEW_REQUEST).await?;
    Ok(row::number(only_row(&fetched)?) == Some(REMOVAL_BATCH))
}

/// Returns a number as an argument. All numbers of valid requests are below the bound, which keeps
/// sums in the function in the range of `bigint`.
fn bounded(number: u64) -> i64 {
    const LARGEST: i64 = 1 << 60;
    i64::try_from(number).unwrap_or(LARGEST).min(LARGEST)
}

/// Reads the result of the function that takes tokens.
fn read_states(
    row: &PgRow,
    ids: &[Uuid],
    requests: &[LimitRequest<'_>],
) -> Result<Vec<BucketState>, StoreError> {
    let columns = || -> Result<(Option<Vec<i64>>, Option<i32>), sqlx::Error> {
        Ok((row.try_get(0)?, row.try_get(1)?))
    };
    let (numbers, unreadable) = columns().map_err(|_| unexpected())?;
    let unreadable = unreadable.and_then(|position| usize::try_from(position - 1).ok());
    if let Some(id) = unreadable.and_then(|position| ids.get(position)) {
        return Err(StoreError::Malformed {
            key: format!("aplomb.bucket {id}"),
            why: String::from("the value is damaged, or another version wrote it"),
        });
    }
    let numbers: Option<Vec<u64>> = numbers
        .unwrap_or_default()
        .into_iter()
        .map(|number| u64::try_from(number).ok())
        .collect();
    numbers
        .and_then(|numbers| parse_states(&numbers, requests))
        .ok_or_else(unexpected)
}
