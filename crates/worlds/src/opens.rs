//! What the driver told of single opens: its `Open` events, taken apart.

use std::time::Duration;

use filterhost::Machine;
use filterhost::kernel::etw::{Event, Tracing};

/// The level at which the driver tells each open.
const VERBOSE: u8 = 5;

/// One open, as the driver told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `ignore`, `skip`, `look-up` or `scan`.
    pub route: String,
    /// Why that one.
    pub reason: String,
    /// Why it was allowed or denied; empty where nothing was decided.
    pub decision: String,
    /// Why it could not be scanned, if so.
    pub failure: String,
    /// The time that the driver added to the open.
    pub took: Duration,
    /// The container's id, or zero.
    pub container: [u8; 16],
    /// The opening process.
    pub process: u64,
}

/// An open out of a silo that the host compute service did not make, as the driver told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// `layer`, `scratch` or `none`.
    pub answer: String,
    /// The id of the container that the silo lies in, or zero.
    pub container: [u8; 16],
    /// The opening process.
    pub process: u64,
}

/// From now on the driver tells each open.
pub fn listen(m: &Machine) {
    m.state::<Tracing>().listen(Some(VERBOSE));
}

/// The opens that the driver told since the last call, in their order.
#[must_use]
pub fn take(m: &Machine) -> Vec<Told> {
    let events = m.state::<Tracing>().take_events();
    events.iter().filter_map(decode).collect()
}

/// The opens out of foreign silos that the driver told since the last call, in their order.
#[must_use]
pub fn take_foreign(m: &Machine) -> Vec<Foreign> {
    let events = m.state::<Tracing>().take_events();
    events.iter().filter_map(decode_foreign).collect()
}

/// The fields of an event of this name; nothing for any other.
fn fields_of(event: &Event, wanted: &str) -> Option<Vec<u8>> {
    // Traits of the provider, metadata of the event, then the fields.
    let (metadata, fields) = event.data.get(1..)?.split_first()?;
    let name = metadata.get(3..)?.split(|byte| *byte == 0).next()?;
    (name == wanted.as_bytes()).then(|| fields.concat())
}

/// Takes a text off the front of an event's fields.
fn text(rest: &mut &[u8]) -> Option<String> {
    let length = u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?);
    let bytes = rest.split_off(..usize::from(length))?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// A `ForeignSilo` event; nothing for any other.
fn decode_foreign(event: &Event) -> Option<Foreign> {
    let fields = fields_of(event, "ForeignSilo")?;
    let mut rest: &[u8] = &fields;
    let answer = text(&mut rest)?;
    let container = *rest.split_off(..16)?.first_chunk()?;
    let process = u64::from_le_bytes(*rest.first_chunk()?);
    Some(Foreign {
        answer,
        container,
        process,
    })
}

/// An `Open` event; nothing for any other.
fn decode(event: &Event) -> Option<Told> {
    let fields = fields_of(event, "Open")?;
    let mut rest: &[u8] = &fields;
    let (route, reason) = (text(&mut rest)?, text(&mut rest)?);
    let (decision, failure) = (text(&mut rest)?, text(&mut rest)?);
    let took = u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?);
    let container = *rest.split_off(..16)?.first_chunk()?;
    let process = u64::from_le_bytes(*rest.first_chunk()?);
    Some(Told {
        route,
        reason,
        decision,
        failure,
        took: Duration::from_nanos(took.saturating_mul(100)),
        container,
        process,
    })
}
