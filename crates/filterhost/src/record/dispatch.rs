//! Code that is to run at `DISPATCH_LEVEL`, such as the section of a writer that others spin for:
//! rule `irql-code`.
//!
//! Inlined code makes no call that would tell the level it runs at. So driver code is stepped
//! through as for a recording, and each instruction that writes memory is looked for in the PDB's
//! ranges of the functions that the machine was given ([`crate::MachineBuilder::dispatch_code`]).
//! What only computes does not count: the compiler may move it to before the level is raised. The
//! driver needs nothing for that. A thread that is recorded already is not watched.

use core::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::step::{self, Tape};
use crate::image::{Image, Images, writes_of};
use crate::irql::{DISPATCH, Irql, PASSIVE};
use crate::machine::{self, Machine};
use crate::verifier;

/// The code of one machine's drivers that is to run at `DISPATCH_LEVEL`.
#[derive(Default)]
pub struct DispatchCode {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    /// Addresses of its instructions that write memory, in order, each with the number of its name.
    code: Arc<[(usize, usize)]>,
    /// For each name how often one of them was run.
    run: Arc<[AtomicUsize]>,
}

/// What is known of the functions of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchCount {
    /// The name, as the machine was given it.
    pub name: &'static str,
    /// How many instructions of theirs write memory; 0 where no image has such a function.
    pub instructions: usize,
    /// How often one of these was run until now.
    pub run: usize,
}

impl DispatchCode {
    /// The counts of each name.
    #[must_use]
    pub fn counts(m: &Machine) -> Vec<DispatchCount> {
        let state = m.state::<Self>().state.lock().clone();
        let count = |(index, name): (usize, &&'static str)| DispatchCount {
            name,
            instructions: state.code.iter().filter(|(_, own)| *own == index).count(),
            run: state
                .run
                .get(index)
                .map_or(0, |run| run.load(Ordering::Relaxed)),
        };
        m.dispatch_code().iter().enumerate().map(count).collect()
    }
}

/// What one thread's driver code is compared with in the signal handler of its steps.
pub(super) struct Watched {
    state: State,
    /// The level of the thread since it left the host.
    level: Cell<Irql>,
    /// The first such instruction below the level, until it is told.
    low: Cell<Option<(usize, Irql)>>,
}

impl Watched {
    pub fn set_level(&self, level: Irql) {
        self.level.set(level);
    }

    /// Looks at an instruction. Safe in a signal handler.
    pub fn step(&self, rip: usize) {
        let found = self.state.code.binary_search_by_key(&rip, |(at, _)| *at);
        let Some((_, name)) = found.ok().and_then(|place| self.state.code.get(place)) else {
            return;
        };
        if let Some(run) = self.state.run.get(*name) {
            run.fetch_add(1, Ordering::Relaxed);
        }
        let level = self.level.get();
        if level < DISPATCH && self.low.get().is_none() {
            self.low.set(Some((rip, level)));
        }
    }
}

/// Finds the code in an image that was loaded from this file.
pub(crate) fn watch(m: &Machine, image: &Image, file: &Path) {
    let names = m.dispatch_code();
    if names.is_empty() {
        return;
    }
    let data = std::fs::read(file).unwrap_or_default();
    let own = m.state::<DispatchCode>();
    let mut state = own.state.lock();
    let mut all = state.code.to_vec();
    for (index, name) in names.iter().enumerate() {
        let found = writes_of(&data, &file.with_extension("pdb"), name).unwrap_or_default();
        all.extend(
            found
                .iter()
                .map(|rva| (image.base() + *rva as usize, index)),
        );
    }
    all.sort_unstable();
    state.code = all.into();
    if state.run.is_empty() {
        state.run = names.iter().map(|_| AtomicUsize::default()).collect();
    }
}

/// Runs a callback of a driver, watched where the machine has such code.
pub(crate) fn watched<R>(call: impl FnOnce() -> R) -> R {
    let m = machine::current();
    if m.dispatch_code().is_empty() || step::is_on_tape() {
        return call();
    }
    let state = m.state::<DispatchCode>().state.lock().clone();
    let tape = Tape::watching(Watched {
        state,
        level: Cell::new(PASSIVE),
        low: Cell::new(None),
    });
    step::with(&tape, || {
        let value = call();
        judge_level(&m);
        value
    })
}

/// Tells what the calling thread ran below its level since the last call.
pub(crate) fn judge_level(m: &Machine) {
    let low = step::on_watched(|watched| watched.low.take()).flatten();
    if let Some((rip, level)) = low {
        let stack = m.state::<Images>().describe(&[rip]);
        let what = stack.first().and_then(|frame| frame.function.clone());
        let what = what.unwrap_or_else(|| format!("code at {rip:#x}"));
        let detail = format!("{what} ran at {level}; it is for {DISPATCH}");
        verifier::violation_at(&verifier::irql::CODE, detail, stack);
    }
}
