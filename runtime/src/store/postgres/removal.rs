use core::time::Duration;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::connect::Connections;
use super::records::remove_expired;

/// The task that removes expired rows. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Removal(AbortHandle);

/// The mean pause between two removals. Instances use different pauses, so that they rarely remove
/// at the same time.
const INTERVAL: Duration = Duration::from_secs(2);

/// The pause between two batches, in which requests can use the connection.
const BATCH_PAUSE: Duration = Duration::from_millis(5);

impl Removal {
    pub(super) fn start(connections: Arc<Connections>) -> Self {
        Self(tokio::spawn(run(connections)).abort_handle())
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(connections: Arc<Connections>) {
    loop {
        sleep(INTERVAL.mul_f64(0.5 + rand::random::<f64>())).await;
        connections.close_idle().await;
        loop {
            match remove_expired(&connections).await {
                Ok(true) => sleep(BATCH_PAUSE).await,
                Ok(false) => break,
                // The next removal tries again. Expired rows have no effect on requests.
                Err(error) => {
                    tracing::debug!(%error, "expired records could not be removed");
                    break;
                }
            }
        }
    }
}
