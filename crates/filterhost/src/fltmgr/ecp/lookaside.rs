//! Lookaside lists for extra create parameters.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::machine::Machine;
use crate::verifier;

/// A lookaside list that a driver initialised in its own memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookaside {
    pub filter: usize,
    pub size: usize,
    pub tag: u32,
    pub paged: bool,
    outstanding: u32,
}

#[derive(Default)]
struct Lookasides {
    lists: Mutex<HashMap<usize, Lookaside>>,
}

/// Notes a list: its filter, the size of its entries, their tag, and whether they are paged.
pub(super) fn initialise(m: &Machine, at: usize, of: (usize, usize, u32, bool)) {
    let (filter, size, tag, paged) = of;
    let lookasides = m.state::<Lookasides>();
    lookasides.lists.lock().insert(
        at,
        Lookaside {
            filter,
            size,
            tag,
            paged,
            outstanding: 0,
        },
    );
}

/// Counts an allocation out of the list; `None` when the list was never initialised.
pub(super) fn take(m: &Machine, at: usize) -> Option<Lookaside> {
    let lookasides = m.state::<Lookasides>();
    let mut lists = lookasides.lists.lock();
    let list = lists.get_mut(&at)?;
    list.outstanding += 1;
    Some(*list)
}

/// Counts an entry back in.
pub(super) fn returned(m: &Machine, at: usize) {
    if at == 0 {
        return;
    }
    let lookasides = m.state::<Lookasides>();
    let mut lists = lookasides.lists.lock();
    if let Some(list) = lists.get_mut(&at) {
        list.outstanding = list.outstanding.saturating_sub(1);
    }
}

/// Forgets a list. Parameters that are still out would be freed into nothing.
pub(super) fn delete(m: &Machine, at: usize) {
    let gone = m.state::<Lookasides>().lists.lock().remove(&at);
    match gone {
        None => {
            let detail = "the lookaside list was never initialised";
            verifier::violation(&verifier::ecp::LOOKASIDE, detail);
        }
        Some(list) if list.outstanding > 0 => {
            let detail = format!(
                "{} parameters from the list are still in use",
                list.outstanding
            );
            verifier::violation(&verifier::ecp::LOOKASIDE_IN_USE, detail);
        }
        Some(_) => {}
    }
}
