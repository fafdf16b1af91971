use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// What a part of the program writes to the log.
///
/// ```
/// use aplomb::testing::TestLog;
///
/// let log = TestLog::of("payments");
/// let _listening = log.listen();
/// tracing::info!(target: "payments", amount = 7, "paid");
/// assert_eq!(log.lines()[0].field("amount"), Some("7"));
/// ```
#[derive(Debug, Clone)]
pub struct TestLog {
    part: &'static str,
    lines: Arc<Mutex<Vec<LogLine>>>,
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct LogLine {
    level: Level,
    fields: Vec<(&'static str, String)>,
}

impl TestLog {
    /// A log of all whose target ends in `part`, such as `rate_limit::shadow`.
    pub fn of(part: &'static str) -> Self {
        Self { part, lines: Arc::default() }
    }

    /// Listens on this thread for as long as the answer lives.
    #[must_use]
    pub fn listen(&self) -> DefaultGuard {
        set_default(self.clone())
    }

    /// What was written so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LogLine {
    /// How loud it is.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// A field as text; its message is the field `message`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.push((field.name(), format!("{value:?}")));
    }
}

impl Subscriber for TestLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with(self.part)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = LogLine { level: *event.metadata().level(), fields: Vec::new() };
        event.record(&mut line);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
