//! Takes apart what the driver told: an event's bytes, read by the table.
//!
//! The bytes come out of a tracing session, where any process that may write events can claim to
//! be the driver. So they are read once, within their bounds, and what is not exactly an event of
//! the table is an error with a name.

use core::fmt;

use super::{FIELDS_MAX, FieldKind, TRACE_EVENTS, TraceEvent};
use crate::limits::TRACE_UNITS;

/// Bytes of the longest text: the driver cuts what is longer.
const TEXT_BYTES_MAX: usize = 2 * TRACE_UNITS;

/// The value of one field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A GUID, as it lies in memory.
    Guid([u8; 16]),
    /// UTF-16, as bytes: an even number of them.
    Wide(&'a [u8]),
    /// Text of one-byte units.
    Text(&'a [u8]),
}

/// One event, as the driver told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<'a> {
    /// Which one.
    pub event: &'static TraceEvent,
    /// The values of its fields, in their order.
    values: [Option<Value<'a>>; FIELDS_MAX],
}

impl<'a> Told<'a> {
    /// The values by the names of their fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Value<'a>)> {
        let names = self.event.fields.iter().map(|field| field.name);
        names.zip(self.values.into_iter().flatten())
    }
}

/// Why bytes are no event of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToldError {
    /// Its metadata is that of no event of this release.
    Unknown,
    /// An event of the table, under another level or keyword than its own.
    Sorted(&'static str),
    /// The bytes end within this field of this event.
    Short(&'static str, &'static str),
    /// A text of this field of this event is longer than the driver writes, or is half a unit.
    Text(&'static str, &'static str),
    /// So many bytes are left behind the last field of this event.
    Left(&'static str, usize),
}

impl fmt::Display for ToldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => out.write_str(
                "an event that this release does not know; use the command of the driver's release",
            ),
            Self::Sorted(event) => {
                write!(
                    out,
                    "an event {event} under another level or keyword than its own"
                )
            }
            Self::Short(event, field) => write!(out, "an event {event} that ends in its {field}"),
            Self::Text(event, field) => {
                write!(
                    out,
                    "an event {event} whose {field} the driver would not have written"
                )
            }
            Self::Left(event, bytes) => {
                write!(out, "an event {event} with {bytes} bytes too many")
            }
        }
    }
}

impl core::error::Error for ToldError {}

/// Reads an event: level and keyword by which it was sorted, its metadata as TraceLogging carries
/// it, and the bytes of its fields, which have to be those and no more.
///
/// # Errors
/// [`ToldError`].
pub fn read<'a>(
    (level, keyword): (u8, u64),
    metadata: &[u8],
    values: &'a [u8],
) -> Result<Told<'a>, ToldError> {
    let mut rows = TRACE_EVENTS.iter();
    let event = rows
        .find(|row| row.metadata == metadata)
        .ok_or(ToldError::Unknown)?;
    if (level, keyword) != (event.level as u8, event.keyword) {
        return Err(ToldError::Sorted(event.name));
    }
    let mut rest = values;
    let mut values = [None; FIELDS_MAX];
    for (slot, field) in values.iter_mut().zip(event.fields) {
        let value = value(field.kind, &mut rest);
        *slot = Some(value.map_err(|fault| match fault {
            Fault::Short => ToldError::Short(event.name, field.name),
            Fault::Text => ToldError::Text(event.name, field.name),
        })?);
    }
    match rest.len() {
        0 => Ok(Told { event, values }),
        left => Err(ToldError::Left(event.name, left)),
    }
}

/// What is wrong with a field.
enum Fault {
    Short,
    Text,
}

/// The value at the start of `rest`, which is then behind it.
fn value<'a>(kind: FieldKind, rest: &mut &'a [u8]) -> Result<Value<'a>, Fault> {
    Ok(match kind {
        FieldKind::Number => Value::Number(u64::from_le_bytes(fixed(rest)?)),
        FieldKind::Guid => Value::Guid(fixed(rest)?),
        FieldKind::Wide => {
            let bytes = counted(rest)?;
            if bytes.len() % 2 != 0 {
                return Err(Fault::Text);
            }
            Value::Wide(bytes)
        }
        FieldKind::Text => Value::Text(counted(rest)?),
    })
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (first, more) = rest.split_first_chunk::<N>().ok_or(Fault::Short)?;
    *rest = more;
    Ok(*first)
}

/// The bytes that follow their number, which has 16 bits.
fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = usize::from(u16::from_le_bytes(fixed(rest)?));
    if length > TEXT_BYTES_MAX {
        return Err(Fault::Text);
    }
    let (bytes, more) = rest.split_at_checked(length).ok_or(Fault::Short)?;
    *rest = more;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::TraceId;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    /// The bytes of these values, as the driver writes them.
    fn written(values: &[Value<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            match value {
                Value::Number(number) => bytes.extend(number.to_le_bytes()),
                Value::Guid(guid) => bytes.extend(guid),
                Value::Wide(text) | Value::Text(text) => {
                    bytes.extend((text.len() as u16).to_le_bytes());
                    bytes.extend(*text);
                }
            }
        }
        bytes
    }

    fn sorted(event: &TraceEvent) -> (u8, u64) {
        (event.level as u8, event.keyword)
    }

    /// Values for each field of an event, texts of `length` units.
    fn values<'a>(event: &TraceEvent, text: &'a [u8], number: u64) -> Vec<Value<'a>> {
        let one = |kind| match kind {
            FieldKind::Number => Value::Number(number),
            FieldKind::Guid => Value::Guid([number as u8; 16]),
            FieldKind::Wide => Value::Wide(text),
            FieldKind::Text => Value::Text(text),
        };
        event.fields.iter().map(|field| one(field.kind)).collect()
    }

    #[test]
    fn every_event_is_read_back_and_each_shorter_or_longer_one_is_refused() -> Result<(), ToldError>
    {
        for event in &TRACE_EVENTS {
            let wanted = values(event, b"some text \xd8\0", 7);
            let bytes = written(&wanted);
            let read_back = |bytes| read(sorted(event), event.metadata, bytes);
            let told = read_back(&bytes)?;
            assert_eq!(told.event.id, event.id);
            let names: Vec<_> = event.fields.iter().map(|field| field.name).collect();
            let told: (Vec<_>, Vec<_>) = told.fields().unzip();
            assert_eq!(told, (names, wanted));
            for length in 0..bytes.len() {
                let refused = read_back(&bytes[..length]);
                assert!(matches!(refused, Err(ToldError::Short(name, _)) if name == event.name));
            }
            let longer = [bytes.as_slice(), &[0; 3]].concat();
            assert_eq!(read_back(&longer), Err(ToldError::Left(event.name, 3)));
        }
        Ok(())
    }

    #[test]
    fn what_the_driver_does_not_write_is_named() -> Result<(), &'static str> {
        let event = TraceId::Detection.event().ok_or("it is in the table")?;
        let with = |text: &[u8]| {
            let bytes = written(&values(event, text, 1));
            read(sorted(event), event.metadata, &bytes).map(drop)
        };
        assert_eq!(with(&[b'a'; 2 * TRACE_UNITS]), Ok(()));
        let refused = Err(ToldError::Text("Detection", "File"));
        assert_eq!(with(&[b'a'; 2 * TRACE_UNITS + 2]), refused);
        assert_eq!(with(b"odd"), refused);
        let bytes = written(&values(event, b"", 1));
        for (level, keyword) in [(4, event.keyword), (event.level as u8, 0)] {
            let told = read((level, keyword), event.metadata, &bytes);
            assert_eq!(told, Err(ToldError::Sorted("Detection")));
        }
        for metadata in [&[][..], &event.metadata[1..], b"\x05\0\0Open\0"] {
            let told = read(sorted(event), metadata, &bytes);
            assert_eq!(told, Err(ToldError::Unknown));
        }
        assert!(ToldError::Left("Open", 9).to_string().contains("9 bytes"));
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_beyond_their_end_or_differently_than_written(
            which in 0..TRACE_EVENTS.len(),
            bytes in vec(any::<u8>(), 0..200),
        ) {
            let event = &TRACE_EVENTS[which];
            if let Ok(told) = read(sorted(event), event.metadata, &bytes) {
                let values: Vec<_> = told.fields().map(|(_, value)| value).collect();
                prop_assert_eq!(values.len(), event.fields.len());
                prop_assert_eq!(written(&values), bytes);
            }
        }

        #[test]
        fn a_changed_byte_is_an_error_or_another_event_of_the_same_shape(
            which in 0..TRACE_EVENTS.len(),
            text in vec(any::<u8>(), 0..20),
            at in any::<prop::sample::Index>(),
            by in 1..=u8::MAX,
        ) {
            let event = &TRACE_EVENTS[which];
            let even = &text[..text.len() & !1];
            let mut bytes = written(&values(event, even, 5));
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            if let Ok(told) = read(sorted(event), event.metadata, &bytes) {
                let values: Vec<_> = told.fields().map(|(_, value)| value).collect();
                prop_assert_eq!(written(&values), bytes);
            }
        }
    }
}
