//! Tracing sessions of a process that lives outside, and how events travel.
//!
//! Each event of an answer: 00 keyword, 08 time, 10 level, 14 bytes of metadata, 18 bytes of
//! values, then metadata and values. Little-endian; time in 100 ns since 1601.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::calls::{Answer, Caller, WAIT_MAX, done};
use super::files::guid;
use super::frame::{Frame, PAYLOAD_BYTES_MAX};
use crate::kernel::etw::{Event, Tracing, Wanted};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER,
};

/// Sessions that one process may have at one time.
const TRACES_MAX: usize = 8;
/// Handles of sessions begin here, above those of connections.
const TRACE_HANDLES: u64 = 1 << 48;
/// Bytes before an event's metadata.
const HEAD_BYTES: usize = 28;

/// One event, as a session gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedEvent {
    /// When it was written: the system time in 100 ns since 1601.
    pub time: u64,
    /// Its level: 1 critical to 5 verbose.
    pub level: u8,
    /// Its keyword bits.
    pub keyword: u64,
    /// What a self-described event says of itself; empty for others.
    pub metadata: Vec<u8>,
    /// The values of its fields, one after the other.
    pub values: Vec<u8>,
}

/// What a session gave at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Events, oldest first.
    pub events: Vec<TracedEvent>,
    /// How many were lost since the last time.
    pub lost: u64,
}

impl TracedEvent {
    /// All events of an answer; nothing where the bytes are not such events and no more.
    pub(super) fn read_all(payload: &[u8]) -> Option<Vec<Self>> {
        let mut rest = payload;
        let mut events = Vec::new();
        while !rest.is_empty() {
            events.push(Self::read(&mut rest)?);
        }
        Some(events)
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let long =
            |rest: &mut &[u8]| Some(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?));
        let short =
            |rest: &mut &[u8]| Some(u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?));
        let (keyword, time) = (long(rest)?, long(rest)?);
        let level = u8::try_from(short(rest)?).ok()?;
        let (metadata, values) = (short(rest)? as usize, short(rest)? as usize);
        Some(Self {
            time,
            level,
            keyword,
            metadata: rest.split_off(..metadata)?.to_vec(),
            values: rest.split_off(..values)?.to_vec(),
        })
    }
}

/// Appends an event to a payload.
fn write(event: &Event, payload: &mut Vec<u8>) {
    payload.extend(event.descriptor.keyword.to_le_bytes());
    payload.extend(event.time.cast_unsigned().to_le_bytes());
    let lengths = [event.metadata.len(), event.values.len()].map(|length| length as u32);
    for number in [u32::from(event.descriptor.level), lengths[0], lengths[1]] {
        payload.extend(number.to_le_bytes());
    }
    payload.extend(&event.metadata);
    payload.extend(&event.values);
}

/// The sessions of a process.
#[derive(Default)]
pub(super) struct Traces {
    open: Mutex<BTreeSet<u64>>,
}

impl Traces {
    /// Ends the session with this handle, if there is one.
    pub(super) fn end(&self, m: &Arc<Machine>, handle: u64) -> bool {
        let removed = self.open.lock().remove(&handle);
        if removed {
            m.state::<Tracing>()
                .end(m, handle.wrapping_sub(TRACE_HANDLES));
        }
        removed
    }

    pub(super) fn end_all(&self, m: &Arc<Machine>) {
        let open = std::mem::take(&mut *self.open.lock());
        for handle in open {
            m.state::<Tracing>()
                .end(m, handle.wrapping_sub(TRACE_HANDLES));
        }
    }
}

impl Caller<'_> {
    pub(super) fn begin_trace(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [level, keywords, _] = request.arguments;
        let level = u8::try_from(level).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let provider = <&[u8; 16]>::try_from(request.payload.as_slice());
        let provider = guid(provider.map_err(|_| STATUS_INVALID_PARAMETER)?);
        if self.ports.traces.open.lock().len() >= TRACES_MAX {
            return Err(STATUS_INSUFFICIENT_RESOURCES);
        }
        let wanted = Wanted {
            provider,
            level,
            keywords,
        };
        let session = self.m.state::<Tracing>().begin(self.m, wanted)?;
        let handle = TRACE_HANDLES.wrapping_add(session);
        self.ports.traces.open.lock().insert(handle);
        done([handle, 0, 0], Vec::new())
    }

    pub(super) fn take_events(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [handle, ticks, _] = request.arguments;
        if !self.ports.traces.open.lock().contains(&handle) {
            return Err(STATUS_INVALID_HANDLE);
        }
        let wait = Duration::from_nanos(ticks.saturating_mul(100)).min(WAIT_MAX);
        let deadline = self.m.sched().now().after(wait);
        let mut room = PAYLOAD_BYTES_MAX;
        let fits = |event: &Event| {
            let bytes = HEAD_BYTES + event.metadata.len() + event.values.len();
            let left = room.checked_sub(bytes);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let session = handle.wrapping_sub(TRACE_HANDLES);
        let tracing = self.m.state::<Tracing>();
        let taken = tracing.take(self.m, session, deadline, fits)?;
        let mut payload = Vec::new();
        for event in &taken.events {
            write(event, &mut payload);
        }
        done([taken.lost, 0, 0], payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::etw::EventDescriptor;
    use crate::layout::GUID;

    fn event(values: &[u8]) -> Event {
        Event {
            provider: GUID::default(),
            descriptor: EventDescriptor {
                id: 0,
                version: 0,
                channel: 11,
                level: 5,
                opcode: 0,
                task: 0,
                keyword: 1 << 40,
            },
            time: 7,
            metadata: b"about".to_vec(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn events_are_read_back_and_no_other_bytes_are() {
        let mut payload = Vec::new();
        write(&event(b"first"), &mut payload);
        let first = payload.len();
        write(&event(b""), &mut payload);
        let read = TracedEvent::read_all(&payload).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].values, b"first");
        assert_eq!(
            (read[1].time, read[1].level, read[1].keyword),
            (7, 5, 1 << 40)
        );
        assert_eq!(read[1].metadata, b"about");
        for length in 0..payload.len() {
            let read = TracedEvent::read_all(&payload[..length]);
            assert_eq!(read.is_some(), length == 0 || length == first, "{length}");
        }
        payload[17] = 1;
        assert_eq!(TracedEvent::read_all(&payload), None);
        payload[17] = 0;
        payload[20..28].fill(0xff);
        assert_eq!(TracedEvent::read_all(&payload), None);
    }
}
