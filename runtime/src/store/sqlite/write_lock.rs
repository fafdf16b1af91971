use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to write to a file. One writer of the process has it at a time.
///
/// The transactions of handlers wait in a queue of their own, and only the first of them competes
/// with the thread that writes records. This thread renews leases, and never waits for more than one
/// transaction.
#[derive(Debug)]
pub(crate) struct WriteLock {
    transactions: Arc<Semaphore>,
    file: Arc<Semaphore>,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(crate) struct WritePermit {
    _file: OwnedSemaphorePermit,
    _transaction: Option<OwnedSemaphorePermit>,
}

impl WriteLock {
    pub(super) fn new() -> Self {
        Self {
            transactions: Arc::new(Semaphore::new(1)),
            file: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for the right of the thread that writes records.
    pub(super) async fn for_records(&self) -> WritePermit {
        WritePermit {
            _file: acquire(&self.file).await,
            _transaction: None,
        }
    }

    /// Waits for the right of a handler's transaction.
    pub(crate) async fn for_transaction(&self) -> WritePermit {
        let transaction = acquire(&self.transactions).await;
        WritePermit {
            _file: acquire(&self.file).await,
            _transaction: Some(transaction),
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let acquired = Arc::clone(semaphore).acquire_owned().await;
    acquired.expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_writer_of_records_waits_for_at_most_one_transaction() {
        let lock = WriteLock::new();
        let first = lock.for_transaction().await;
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(lock.for_transaction())).collect();
        for other in &mut others {
            assert!(other.now_or_never().is_none());
        }
        let mut records = Box::pin(lock.for_records());
        assert!((&mut records).now_or_never().is_none());
        drop(first);
        assert!((&mut others[0]).now_or_never().is_none());
        drop((&mut records).now_or_never().expect("the next writer"));
        let second = (&mut others[0]).now_or_never();
        assert!(second.is_some());
        assert!((&mut others[1]).now_or_never().is_none());
    }
}
