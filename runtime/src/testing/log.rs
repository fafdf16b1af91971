use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

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
/// let span = tracing::info_span!("request", request_id = "r1");
/// span.in_scope(|| tracing::info!(target: "payments", amount = 7, "paid"));
/// assert_eq!(log.lines()[0].field("amount"), Some("7"));
/// assert_eq!(log.lines()[0].span_field("request_id"), Some("r1"));
/// ```
#[derive(Debug, Clone)]
pub struct TestLog {
    part: &'static str,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    lines: Vec<LogLine>,
    /// The fields of each span, which has its place in the list for an id.
    spans: Vec<Fields>,
    entered: HashMap<ThreadId, Vec<usize>>,
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct LogLine {
    level: Level,
    fields: Fields,
    /// Those of the spans around it, the innermost last.
    spans: Vec<Fields>,
}

#[derive(Debug, Clone, Default)]
struct Fields(Vec<(&'static str, String)>);

impl TestLog {
    /// A log of all whose target ends in `part`, such as `rate_limit::shadow`.
    pub fn of(part: &'static str) -> Self {
        Self {
            part,
            noted: Arc::default(),
        }
    }

    /// Listens on this thread for as long as the answer lives.
    #[must_use]
    pub fn listen(&self) -> DefaultGuard {
        set_default(self.clone())
    }

    /// What was written so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.noted().lines.clone()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogLine {
    /// How loud it is.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// A field as text; its message is the field `message`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.field(name)
    }

    /// A field of the spans that it stands in, of the innermost that has it.
    pub fn span_field(&self, name: &str) -> Option<&str> {
        self.spans
            .iter()
            .rev()
            .find_map(|fields| fields.field(name))
    }
}

impl Noted {
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

/// The place of a span in the list. Ids begin with 1.
fn index(span: &Id) -> usize {
    usize::try_from(span.into_u64() - 1).unwrap_or(usize::MAX)
}

impl Subscriber for TestLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() || metadata.target().ends_with(self.part)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut noted = self.noted();
        noted.spans.push(fields);
        Id::from_u64(noted.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(fields) = self.noted().spans.get_mut(index(span)) {
            values.record(fields);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.noted().write(*event.metadata().level(), fields);
    }

    fn enter(&self, span: &Id) {
        self.noted().entered().push(index(span));
    }

    fn exit(&self, span: &Id) {
        let mut noted = self.noted();
        let entered = noted.entered();
        if let Some(place) = entered.iter().rposition(|entered| *entered == index(span)) {
            entered.remove(place);
        }
    }
}
