//! What the driver told a tracing session: its events, taken apart by core's table.

use std::collections::BTreeMap;

use filterhost::Machine;
use filterhost::kernel::etw::{Event as Written, Tracing};
use siloscan_core::trace::{self, ToldError, TraceId};
pub use siloscan_service::why::Value;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub id: TraceId,
    /// Its fields by name.
    fields: BTreeMap<&'static str, Value>,
}

impl Event {
    /// A field.
    ///
    /// # Panics
    /// Where the event has no such field.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        let field = self.fields.get(name);
        field.unwrap_or_else(|| panic!("{:?} has no {name}", self.id))
    }

    /// A field that is text.
    ///
    /// # Panics
    /// Where the event has no such field.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Value::Text(text) => text,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A field that is a number.
    ///
    /// # Panics
    /// Where the event has no such field.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        match self.field(name) {
            Value::Number(number) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A field that is a GUID.
    ///
    /// # Panics
    /// Where the event has no such field.
    #[must_use]
    pub fn guid(&self, name: &str) -> [u8; 16] {
        match self.field(name) {
            Value::Guid(guid) => *guid,
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// The events that the driver told since the last call, in their order.
///
/// # Panics
/// On an event that is not of the table, or not as its row says: a defect of the driver's.
#[must_use]
pub fn take(m: &Machine) -> Vec<Event> {
    let written = m.state::<Tracing>().take_events();
    let told = written
        .iter()
        .map(|event| decode(event).unwrap_or_else(|error| panic!("{error}: {event:?}")));
    told.collect()
}

/// Those of one kind among the events since the last call; the others are dropped.
///
/// # Panics
/// As [`take`].
#[must_use]
pub fn take_of(m: &Machine, id: TraceId) -> Vec<Event> {
    let told = take(m).into_iter();
    told.filter(|event| event.id == id).collect()
}

/// An event of the table, wholly as its row says.
fn decode(event: &Written) -> Result<Event, ToldError> {
    let sorted = (event.descriptor.level, event.descriptor.keyword);
    let told = trace::read(sorted, &event.metadata, &event.values)?;
    let fields = told.fields().map(|(name, value)| (name, value.into()));
    Ok(Event {
        id: told.event.id,
        fields: fields.collect(),
    })
}
