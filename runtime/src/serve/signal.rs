//! The signal to stop.

/// Ends when the process is asked to stop: SIGTERM or SIGINT.
pub(super) async fn received() {
    tokio::select! {
        () = interrupt() => {}
        () = terminate() => {}
    }
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        core::future::pending::<()>().await;
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be waited for");
            core::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn terminate() {
    core::future::pending::<()>().await;
}
