//! Extra create parameters: who owns them, and when they are freed.
//!
//! A filter owns a list or a parameter until it inserts the parameter into a list, or sets the
//! list into callback data. From then on they belong to the create, live through its reissues
//! after `STATUS_REPARSE`, and are freed by the I/O manager when the create ends.

mod functions;
mod lookaside;
mod packet;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use functions::EXPORTS;
pub use packet::{OpenPacket, of_data};

use super::blocks::Wanted;
use super::filter::Filter;
use super::{FilterManager, Leak, Origin, blocks, call, opaque};
use crate::layout::{EcpCleanup, GUID, PVOID};
use crate::machine::Machine;
use crate::verifier;

/// One extra create parameter.
pub struct Ecp {
    kind: GUID,
    size: usize,
    address: usize,
    cleanup: Option<EcpCleanup>,
    from_user: bool,
    /// Filter that allocated it; 0 for the I/O manager and native filters.
    filter: usize,
    /// Lookaside list that it came from; 0 for none.
    lookaside: usize,
    origin: Origin,
    tag: u32,
    number: u64,
    state: Mutex<EcpState>,
}

#[derive(Default)]
struct EcpState {
    list: Option<usize>,
    acknowledged: bool,
}

struct List {
    entries: Vec<Arc<Ecp>>,
    filter: usize,
    attached: bool,
    origin: Origin,
}

/// All parameters and lists of a machine.
#[derive(Default)]
pub(crate) struct Ecps {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    parameters: HashMap<usize, Arc<Ecp>>,
    lists: HashMap<usize, List>,
}

impl Ecp {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> GUID {
        self.kind
    }

    /// The allocated size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where it is.
    #[must_use]
    pub fn pointer(&self) -> PVOID {
        core::ptr::with_exposed_provenance_mut(self.address)
    }

    /// True when user mode gave it.
    #[must_use]
    pub fn is_from_user(&self) -> bool {
        self.from_user
    }

    /// True when some filter acknowledged it.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.state.lock().acknowledged
    }

    /// Marks it as understood by a filter below, or takes that back.
    pub fn set_acknowledged(&self, acknowledged: bool) {
        self.state.lock().acknowledged = acknowledged;
    }

    /// A copy of its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        super::guest::bytes(self.pointer().cast(), self.size)
    }

    /// Writes bytes from its start; what does not fit is left out.
    pub fn write(&self, bytes: &[u8]) {
        let fitting = bytes.get(..self.size).unwrap_or(bytes);
        super::guest::write_bytes(self.pointer().cast(), fitting);
    }

    fn free(&self, m: &Arc<Machine>) {
        if let Some(callback) = self.cleanup {
            call::ecp_cleanup(callback, self.pointer(), &self.kind);
        }
        m.state::<Ecps>()
            .state
            .lock()
            .parameters
            .remove(&self.address);
        blocks::free(m, self.pointer(), self.tag);
        lookaside::returned(m, self.lookaside);
    }
}

/// What a new parameter is to be.
struct New {
    kind: GUID,
    size: usize,
    cleanup: Option<EcpCleanup>,
    from_user: bool,
    filter: usize,
    lookaside: usize,
    tag: u32,
    paged: bool,
}

fn allocate(m: &Arc<Machine>, new: New) -> Option<Arc<Ecp>> {
    let (size, tag, paged) = (new.size, new.tag, new.paged);
    let memory = blocks::allocate(
        m,
        &Wanted {
            size,
            tag,
            paged,
            zeroed: false,
        },
    );
    if memory.is_null() {
        return None;
    }
    let origin = Origin::here(m);
    let ecps = m.state::<Ecps>();
    let mut state = ecps.state.lock();
    state.next += 1;
    let ecp = Arc::new(Ecp {
        kind: new.kind,
        size: new.size,
        address: memory.expose_provenance(),
        cleanup: new.cleanup,
        from_user: new.from_user,
        filter: new.filter,
        lookaside: new.lookaside,
        origin,
        tag: new.tag,
        number: state.next,
        state: Mutex::default(),
    });
    state.parameters.insert(memory.addr(), ecp.clone());
    Some(ecp)
}

/// Makes an empty list; its address is opaque.
fn new_list(m: &Machine, filter: usize) -> usize {
    let id = FilterManager::of(m).next_id();
    let list = List {
        entries: Vec::new(),
        filter,
        attached: false,
        origin: Origin::here(m),
    };
    m.state::<Ecps>().state.lock().lists.insert(id, list);
    id
}

/// The parameter at an address that a driver gave.
fn expect(m: &Machine, function: &str, context: PVOID) -> Arc<Ecp> {
    let found = m
        .state::<Ecps>()
        .state
        .lock()
        .parameters
        .get(&context.addr())
        .cloned();
    found.unwrap_or_else(|| {
        let detail = format!("{function}: {context:p} is no ECP (its create may have ended)");
        verifier::fatal(&verifier::ecp::POINTER, detail)
    })
}

/// Checks a list's address that a driver gave.
fn expect_list(m: &Machine, function: &str, list: PVOID) -> usize {
    let known = m
        .state::<Ecps>()
        .state
        .lock()
        .lists
        .contains_key(&list.addr());
    if !known {
        let detail = format!("{function}: {list:p} is no ECP list (its create may have ended)");
        verifier::fatal(&verifier::ecp::LIST_POINTER, detail);
    }
    list.addr()
}

fn find_in(m: &Machine, list: usize, kind: GUID) -> Option<Arc<Ecp>> {
    let ecps = m.state::<Ecps>();
    let state = ecps.state.lock();
    let list = state.lists.get(&list)?;
    list.entries.iter().find(|ecp| ecp.kind == kind).cloned()
}

/// Adds a parameter to a list; false when its type is there already.
fn insert(m: &Machine, list: usize, ecp: &Arc<Ecp>) -> bool {
    let ecps = m.state::<Ecps>();
    let mut state = ecps.state.lock();
    let Some(entries) = state.lists.get_mut(&list).map(|list| &mut list.entries) else {
        return false;
    };
    if entries.iter().any(|other| other.kind == ecp.kind) {
        return false;
    }
    entries.push(ecp.clone());
    ecp.state.lock().list = Some(list);
    true
}

/// Frees a list and the parameters in it, in the order of their insertion.
fn free_list(m: &Arc<Machine>, list: usize) {
    let gone = m.state::<Ecps>().state.lock().lists.remove(&list);
    for ecp in gone.map(|list| list.entries).unwrap_or_default() {
        ecp.free(m);
    }
}

/// Lists and parameters that a filter allocated and neither freed nor gave to a create.
pub(crate) fn leaks(m: &Machine, filter: &Filter) -> Vec<Leak> {
    let ecps = m.state::<Ecps>();
    let state = ecps.state.lock();
    let mut own: Vec<_> = state
        .parameters
        .values()
        .filter(|ecp| ecp.filter == filter.id() && ecp.state.lock().list.is_none())
        .collect();
    own.sort_by_key(|ecp| ecp.number);
    let leak = |ecp: &&Arc<Ecp>| Leak::new(format!("ECP of type {}", ecp.kind), &ecp.origin);
    let mut out: Vec<Leak> = own.iter().map(leak).collect();
    let mut lists: Vec<_> = state
        .lists
        .iter()
        .filter(|(_, list)| list.filter == filter.id() && !list.attached)
        .collect();
    lists.sort_by_key(|(id, _)| **id);
    out.extend(
        lists
            .iter()
            .map(|(_, list)| Leak::new("ECP list".to_owned(), &list.origin)),
    );
    out
}

fn list_pointer(list: Option<usize>) -> PVOID {
    opaque(list.unwrap_or(0))
}
