//! The order in which locks are taken.
//!
//! Each lock that is taken while another is held adds an edge to a graph; taking them the other
//! way around, over however many others, would close a circle: two threads that meet so wait for
//! each other, though none did in this run. Locks are told apart by their addresses. One on the
//! stack of the thread that takes it is nobody else's and is left out.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::crash;
use crate::image::Images;
use crate::machine::Machine;
use crate::sched::SimThread;

super::rules! {
    "Lock order", "lock_order";

    ORDER = "lock-order": "Locks are taken in one order."
        ["Deadlock Detection",
         "https://learn.microsoft.com/windows-hardware/drivers/devtest/deadlock-detection"]
        off: "Nothing, until two threads meet.";
    HELD_IN_WAIT = "wait-lock-held": "No push lock is held exclusively over a wait without a limit."
        ["Deadlock Detection",
         "https://learn.microsoft.com/windows-hardware/drivers/devtest/deadlock-detection"]
        off: "The thread waits.";
}

#[derive(Default)]
struct State {
    /// Locks that each thread holds, oldest first.
    held: BTreeMap<u32, Vec<usize>>,
    /// For each lock those that were taken while it was held, with the driver's code.
    after: BTreeMap<usize, BTreeMap<usize, Vec<usize>>>,
}

/// Which lock was taken after which, on one machine.
#[derive(Default)]
struct Order {
    state: Mutex<State>,
}

impl State {
    /// The code that took `wanted` after `lock`, at once or over others.
    fn path(&self, lock: usize, wanted: usize) -> Option<&[usize]> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![lock]);
        while let Some(at) = next.pop() {
            let Some(after) = self.after.get(&at).filter(|_| seen.insert(at)) else {
                continue;
            };
            if let Some(code) = after.get(&wanted) {
                return Some(code);
            }
            next.extend(after.keys());
        }
        None
    }
}

/// A thread is about to take a lock, or has just taken it.
pub(crate) fn taken(m: &Machine, thread: &SimThread, lock: usize) {
    let (low, high) = thread.stack_limits();
    if (low..high).contains(&lock) || !m.judges(&ORDER) {
        return;
    }
    let order = m.state::<Order>();
    let mut state = order.state.lock();
    let held = state.held.entry(thread.id()).or_default();
    let older: Vec<usize> = held
        .iter()
        .copied()
        .filter(|other| *other != lock)
        .collect();
    held.push(lock);
    let wrong = older.iter().find_map(|other| {
        let code = state.path(lock, *other)?;
        Some((*other, code.to_vec()))
    });
    let Some((other, code)) = wrong else {
        let fresh = |older: &usize| {
            !state
                .after
                .get(older)
                .is_some_and(|a| a.contains_key(&lock))
        };
        if let Some(older) = older.last().filter(|older| fresh(older)) {
            let code = crash::addresses(m, thread);
            state.after.entry(*older).or_default().insert(lock, code);
        }
        return;
    };
    drop(state);
    let before = m.state::<Images>().describe(&code);
    let before = before.first().map_or_else(String::new, ToString::to_string);
    super::violation(
        &ORDER,
        format!("takes lock {lock:#x} while it holds {other:#x}; {before} did it the other way"),
    );
}

/// A thread has given a lock up.
pub(crate) fn released(m: &Machine, thread: &SimThread, lock: usize) {
    let order = m.state::<Order>();
    let mut state = order.state.lock();
    if let Some(held) = state.held.get_mut(&thread.id())
        && let Some(place) = held.iter().rposition(|other| *other == lock)
    {
        held.remove(place);
    }
}

/// The locks in this memory are new ones from now on.
pub(crate) fn forget(m: &Machine, start: usize, size: usize) {
    let order = m.state::<Order>();
    let mut state = order.state.lock();
    let gone = |lock: &usize| lock.wrapping_sub(start) < size;
    state.after.retain(|lock, _| !gone(lock));
    for after in state.after.values_mut() {
        after.retain(|lock, _| !gone(lock));
    }
}

/// A thread is about to wait, without a limit, for something that somebody else must do.
pub(crate) fn wait(m: &Machine, thread: &SimThread, what: &str) {
    if crate::fltmgr::wait::holds_exclusively(m, thread.id()) {
        super::violation(&HELD_IN_WAIT, format!("{what} with a push lock held"));
    }
}
