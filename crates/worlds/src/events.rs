//! What the driver told a tracing session: its events, taken apart by core's table.

use std::collections::BTreeMap;

use filterhost::Machine;
use filterhost::kernel::etw::{Event as Written, Tracing};
use siloscan_core::trace::{FieldKind, TRACE_EVENTS, TraceEvent, TraceId};

/// The value of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A GUID, as it lies in memory.
    Guid([u8; 16]),
    /// Text of either kind.
    Text(String),
}

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
        .map(|event| decode(event).unwrap_or_else(|| panic!("no event of the table: {event:?}")));
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
fn decode(event: &Written) -> Option<Event> {
    // Traits of the provider, metadata of the event, then the fields.
    let (metadata, values) = event.data.get(1..)?.split_first()?;
    let row = TRACE_EVENTS.iter().find(|row| row.metadata == metadata)?;
    let sorted = (event.descriptor.level, event.descriptor.keyword);
    if sorted != (row.level as u8, row.keyword) {
        return None;
    }
    let fields = fields(row, &values.concat())?;
    Some(Event { id: row.id, fields })
}

/// The fields of an event of this row, if the bytes are those and no more.
fn fields(row: &TraceEvent, bytes: &[u8]) -> Option<BTreeMap<&'static str, Value>> {
    let mut rest = bytes;
    let mut fields = BTreeMap::new();
    for field in row.fields {
        let value = match field.kind {
            FieldKind::Number => {
                Value::Number(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?))
            }
            FieldKind::Guid => Value::Guid(*rest.split_off(..16)?.first_chunk()?),
            FieldKind::Wide => {
                let (units, _) = counted(&mut rest)?.as_chunks::<2>();
                let units: Vec<_> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
                Value::Text(String::from_utf16_lossy(&units))
            }
            FieldKind::Text => {
                Value::Text(String::from_utf8_lossy(counted(&mut rest)?).into_owned())
            }
        };
        fields.insert(field.name, value);
    }
    rest.is_empty().then_some(fields)
}

/// The bytes that follow their number, which has 16 bits.
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?);
    rest.split_off(..usize::from(length))
}
