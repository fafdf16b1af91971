//! Collects the warnings and errors that a service logs while it starts.

use core::fmt;
use core::fmt::Write as _;
use core::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A subscriber that collects warnings and errors, one line for each, in the order of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct LogCollector(Arc<Mutex<Vec<String>>>);

impl LogCollector {
    /// Takes the lines that were collected so far.
    pub(super) fn take(&self) -> Vec<String> {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs a future. The warnings and errors that this thread logs during the run are collected
/// instead of written to the log. Other threads are not affected. The future must not move to
/// another thread. `Runtime::block_on` guarantees this.
pub(super) async fn collect<F: Future>(warnings: &LogCollector, future: F) -> F::Output {
    let _guard = tracing::subscriber::set_default(warnings.clone());
    future.await
}

impl Subscriber for LogCollector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let line = line.finish();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    // Spans are not enabled, so their ids have no meaning.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The line of one event: its message, then its fields in parentheses.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(self) -> String {
        let Self { message, fields } = self;
        let line = if fields.is_empty() {
            message
        } else {
            format!("{message} ({fields})")
        };
        line.replace('\n', " ")
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{comma}{}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn warnings_and_errors_are_collected_as_lines() {
        let warnings = LogCollector::default();
        let result = collect(&warnings, async {
            tracing::info!("connected");
            tracing::warn!(
                store = "redis://x",
                address = None::<&str>,
                tries = 2,
                "a crash loses {}",
                "all"
            );
            tokio::task::yield_now().await;
            let _span = tracing::error_span!("request").entered();
            tracing::error!("two\nlines");
            7
        })
        .await;
        assert_eq!(result, 7);
        assert_eq!(
            warnings.take(),
            ["a crash loses all (store=redis://x, tries=2)", "two lines"]
        );
        tracing::warn!("later");
        assert!(warnings.take().is_empty());
    }
}
