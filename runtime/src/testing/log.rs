use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// A `tracing` subscriber that captures the log lines of one part of the program. Clones share
/// their lines.
///
/// ```
/// use aplomb::testing::TestLog;
///
/// let log = TestLog::of("payments");
/// let _listening = log.listen();
/// let span = tracing::info_span!("request", request_id = "r1");
/// span.in_scope(|| tracing::info!(target: "payments", amount = 7, "paid"));
/// assert_eq!(log.lines()[0].field("amount"), Some("7"));
/// assert_eq!(log.lines()[0].span_field("request_id"), Some("r1"));
/// ```
#[derive(Debug, Clone)]
pub struct TestLog {
    target_suffix: &'static str,
    captured: Arc<Mutex<Captured>>,
}

#[derive(Debug, Default)]
struct Captured {
    lines: Vec<LogLine>,
    /// The fields of each span. The id of a span is its index here, plus 1.
    spans: Vec<Fields>,
    /// The spans that each thread has entered, the innermost last.
    entered: HashMap<ThreadId, Vec<usize>>,
}

/// A captured log line.
#[derive(Debug, Clone)]
pub struct LogLine {
    level: Level,
    fields: Fields,
    /// The fields of the spans around the line, the innermost last.
    spans: Vec<Fields>,
}

#[derive(Debug, Clone, Default)]
struct Fields(Vec<(&'static str, String)>);

impl TestLog {
    /// Creates a log of the lines whose target ends with `target_suffix`, such as
    /// `rate_limit::shadow`.
    pub fn of(target_suffix: &'static str) -> Self {
        Self {
            target_suffix,
            captured: Arc::default(),
        }
    }

    /// Captures the lines of this thread until the returned guard is dropped.
    #[must_use]
    pub fn listen(&self) -> DefaultGuard {
        set_default(self.clone())
    }

    /// Returns the lines that were captured so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.captured().lines.clone()
    }

    fn captured(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogLine {
    /// Returns the level of the line.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Returns the value of a field as text. The field `message` is the message of the line.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.field(name)
    }

    /// Returns the value of a field of the innermost span that has it.
    pub fn span_field(&self, name: &str) -> Option<&str> {
        self.spans
            .iter()
            .rev()
            .find_map(|fields| fields.field(name))
    }
}

impl Captured {
    fn entered(&mut self) -> &mut Vec<usize> {
        self.entered.entry(thread::current().id()).or_default()
    }

    fn write(&mut self, level: Level, fields: Fields) {
        let entered = self.entered().clone();
        let spans = entered
            .iter()
            .filter_map(|index| self.spans.get(*index).cloned())
            .collect();
        self.lines.push(LogLine {
            level,
            fields,
            spans,
        });
    }
}

impl Fields {
    fn field(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// Returns the index of a span. Ids begin with 1, because `tracing` does not allow 0.
fn index(span: &Id) -> usize {
    usize::try_from(span.into_u64() - 1).unwrap_or(usize::MAX)
}

impl Subscriber for TestLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() || metadata.target().ends_with(self.target_suffix)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut captured = self.captured();
        captured.spans.push(fields);
        Id::from_u64(captured.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(fields) = self.captured().spans.get_mut(index(span)) {
            values.record(fields);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.captured().write(*event.metadata().level(), fields);
    }

    fn enter(&self, span: &Id) {
        self.captured().entered().push(index(span));
    }

    fn exit(&self, span: &Id) {
        let mut captured = self.captured();
        let entered = captured.entered();
        if let Some(position) = entered.iter().rposition(|entered| *entered == index(span)) {
            entered.remove(position);
        }
    }
}
