//! What the driver told of single opens: its `Open` events.

use std::time::Duration;

use filterhost::Machine;
use filterhost::kernel::etw::Tracing;
use siloscan_core::trace::{Level, TraceId};

use crate::events::{self, Event};

/// One open, as the driver told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The file's name, where it is told.
    pub file: String,
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
    m.state::<Tracing>().listen(m, Some(Level::Verbose as u8));
}

/// The opens that the driver told since the last call, in their order; its other events are
/// dropped.
#[must_use]
pub fn take(m: &Machine) -> Vec<Told> {
    let told = events::take_of(m, TraceId::Open);
    told.iter().map(open).collect()
}

/// The opens out of foreign silos that the driver told since the last call, in their order; its
/// other events are dropped.
#[must_use]
pub fn take_foreign(m: &Machine) -> Vec<Foreign> {
    let told = events::take_of(m, TraceId::ForeignSilo);
    let foreign = told.iter().map(|event| Foreign {
        answer: event.text("Answer").to_owned(),
        container: event.guid("Container"),
        process: event.number("ProcessId"),
    });
    foreign.collect()
}

fn open(event: &Event) -> Told {
    let text = |name| event.text(name).to_owned();
    Told {
        file: text("File"),
        route: text("Route"),
        reason: text("Reason"),
        decision: text("Decision"),
        failure: text("Failure"),
        took: Duration::from_nanos(event.number("Duration100ns").saturating_mul(100)),
        container: event.guid("Container"),
        process: event.number("ProcessId"),
    }
}
