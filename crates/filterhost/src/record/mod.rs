//! What driver code does on one thread, recorded: its calls into the kernel, what is allocated for
//! them, and, where asked for, each single instruction of it.
//!
//! Instructions are counted by the processor's trap flag, which is on only while the thread runs
//! driver code: what the host does in a call is neither counted nor slowed down.

mod dispatch;
mod profile;
mod step;

pub use dispatch::{DispatchCode, DispatchCount};
pub(crate) use dispatch::{judge_level, watch, watched};
pub use profile::Profile;
pub use step::Step;
pub(crate) use step::{is_ours, to_driver};

use crate::irql::Irql;
use step::Tape;

/// Most instructions that one recording holds.
const STEPS_MAX: usize = 1 << 18;

/// How much is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Calls and allocations.
    Calls,
    /// The instructions of driver code too.
    Instructions,
}

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The host called a driver: the kind of callback.
    Callback(&'static str),
    /// The driver came back from it.
    Returned,
    /// The driver called a function of this module and name at this level.
    Call(&'static str, &'static str, Irql),
    /// That call returned.
    Back,
    /// Pool memory was allocated: tag and size.
    Allocated(u32, usize),
}

/// Something that happened, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Instructions of driver code before it.
    pub at: usize,
    /// What it was.
    pub what: What,
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Calls and allocations in their order.
    pub events: Vec<Event>,
    /// The instructions in their order; empty unless asked for.
    pub steps: Vec<Step>,
}

impl Recording {
    /// The names of the functions that drivers called, in their order. Calls that a driver made
    /// from within another call's callback are among them.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        let calls = self.events.iter().filter_map(|event| match event.what {
            What::Call(_, name, _) => Some(name),
            _ => None,
        });
        calls.collect()
    }

    /// What was allocated in driver callbacks and the calls that they made: the call, empty for
    /// none, tag and size. What the host allocates for itself between callbacks is left out.
    #[must_use]
    pub fn allocations(&self) -> Vec<(&'static str, u32, usize)> {
        let mut callbacks = 0_u32;
        let mut calls = Vec::new();
        let mut found = Vec::new();
        for event in &self.events {
            match event.what {
                What::Callback(_) => callbacks += 1,
                What::Returned => callbacks = callbacks.saturating_sub(1),
                What::Call(_, name, _) => calls.push(name),
                What::Back => drop(calls.pop()),
                What::Allocated(tag, size) if callbacks > 0 => {
                    found.push((calls.last().copied().unwrap_or_default(), tag, size));
                }
                What::Allocated(..) => {}
            }
        }
        found
    }
}

/// Records what driver code does on the calling thread while `body` runs. A recording within a
/// recording is part of the outer one.
///
/// # Panics
/// When the driver runs more instructions than a recording holds.
pub fn record<T>(detail: Detail, body: impl FnOnce() -> T) -> (T, Recording) {
    let room = match detail {
        Detail::Calls => 0,
        Detail::Instructions => STEPS_MAX,
    };
    let tape = Tape::new(room);
    let value = step::with(&tape, body);
    assert!(
        !tape.is_full(),
        "more than {STEPS_MAX} instructions to record"
    );
    (value, tape.into_recording())
}

/// Notes an event, where the calling thread is recorded.
pub(crate) fn note(what: What) {
    step::note(what);
}
