//! Log lines that are no records, such as a port that somebody else has: under the service
//! controller nobody sees the standard error.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{EventLog, ID_ERROR, ID_WARNING, Severity};

/// The module whose lines are records.
const RECORDS: &str = "siloscan_service::events";

/// Takes warnings and errors.
pub struct Lines(pub Arc<EventLog>);

/// The message, and a line for each field.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "\r\n{name}: {value:?}"),
        };
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let (id, severity) = match *event.metadata().level() {
            Level::ERROR => (ID_ERROR, Severity::Error),
            Level::WARN => (ID_WARNING, Severity::Warning),
            _ => return,
        };
        if event.metadata().target().starts_with(RECORDS) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        self.0.line(id, severity, &(text.message + &text.fields));
    }
}
