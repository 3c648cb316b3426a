//! The Filter Manager: what `fltmgr.sys` is to a minifilter.
//!
//! Filters register here, get instances on volumes, and see each operation on its way down and
//! up ([`dispatch`]). Each topic has a file; the functions that drivers import are declared at
//! the end of the file whose state they touch, each with the page that documents it.
//!
//! Filters, instances, volumes and ports are opaque to drivers. Their addresses lie where
//! nothing is mapped, so following one is a crash, and none is ever used twice in a machine.

pub mod altitude;
mod blocks;
pub(crate) mod call;
pub mod context;
pub mod create;
pub mod dispatch;
pub mod ecp;
pub mod file;
mod filter;
pub(crate) mod guest;
pub mod instance;
pub mod name;
pub mod native;
pub mod port;
pub mod registration;
pub mod request;
pub mod section;
pub mod transaction;
pub mod volume;
pub mod wait;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use filter::{Filter, InstanceDefinition};
pub use instance::{Instance, InstanceRef};
pub use native::{NativeFilter, Pre};
pub use volume::AttachedVolume;

use crate::layout::PVOID;
use crate::machine::Machine;

/// Where opaque addresses begin: in the kernel's half, where no process maps anything.
const OPAQUE_BASE: usize = 0xffff_c000_0000_0000;
/// Distance of two opaque addresses.
const OPAQUE_STEP: usize = 0x100;

/// What an opaque address stands for.
#[derive(Clone)]
pub(crate) enum Opaque {
    /// `PFLT_FILTER`.
    Filter(Arc<Filter>),
    /// `PFLT_INSTANCE`.
    Instance(Arc<Instance>),
    /// `PFLT_VOLUME`.
    Volume(Arc<AttachedVolume>),
}

/// The Filter Manager of one machine.
#[derive(Default)]
pub struct FilterManager {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: usize,
    live: BTreeMap<usize, Opaque>,
    /// Attached volumes by the volume's number.
    by_volume: BTreeMap<u32, Arc<AttachedVolume>>,
    /// Grows with each filter that starts filtering.
    generation: u64,
}

impl FilterManager {
    /// The Filter Manager of `m`.
    #[must_use]
    pub fn of(m: &Machine) -> Arc<Self> {
        m.state::<Self>()
    }

    /// A fresh opaque address.
    pub(crate) fn next_id(&self) -> usize {
        next_id(&mut self.state.lock())
    }

    pub(crate) fn insert(&self, id: usize, object: Opaque) {
        self.state.lock().live.insert(id, object);
    }

    pub(crate) fn remove(&self, id: usize) {
        let mut state = self.state.lock();
        state.live.remove(&id);
        state.by_volume.retain(|_, volume| volume.id() != id);
    }

    pub(crate) fn find(&self, address: PVOID) -> Option<Opaque> {
        self.state.lock().live.get(&address.addr()).cloned()
    }

    /// The filter at an opaque address.
    #[must_use]
    pub fn filter(&self, address: PVOID) -> Option<Arc<Filter>> {
        match self.find(address) {
            Some(Opaque::Filter(filter)) => Some(filter),
            _ => None,
        }
    }

    /// The instance at an opaque address.
    #[must_use]
    pub fn instance(&self, address: PVOID) -> Option<Arc<Instance>> {
        match self.find(address) {
            Some(Opaque::Instance(instance)) => Some(instance),
            _ => None,
        }
    }

    /// The volume at an opaque address.
    #[must_use]
    pub fn volume(&self, address: PVOID) -> Option<Arc<AttachedVolume>> {
        match self.find(address) {
            Some(Opaque::Volume(volume)) => Some(volume),
            _ => None,
        }
    }

    /// Counts a filter that starts filtering; volumes then ask it at their next operation.
    pub(crate) fn count_start(&self) {
        self.state.lock().generation += 1;
    }

    /// How many filters have started filtering.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// All filters, in the order of their registration.
    #[must_use]
    pub fn filters(&self) -> Vec<Arc<Filter>> {
        let state = self.state.lock();
        let filter = |object: &Opaque| match object {
            Opaque::Filter(filter) => Some(filter.clone()),
            _ => None,
        };
        state.live.values().filter_map(filter).collect()
    }

    /// All volumes, in the order in which the Filter Manager met them.
    #[must_use]
    pub fn volumes(&self) -> Vec<Arc<AttachedVolume>> {
        let state = self.state.lock();
        let volume = |object: &Opaque| match object {
            Opaque::Volume(volume) => Some(volume.clone()),
            _ => None,
        };
        state.live.values().filter_map(volume).collect()
    }
}

fn next_id(state: &mut State) -> usize {
    state.next += 1;
    OPAQUE_BASE + state.next * OPAQUE_STEP
}

/// An opaque address as a pointer. It is never followed.
pub(crate) fn opaque(id: usize) -> PVOID {
    core::ptr::without_provenance_mut(id)
}

/// Who allocated something: told when it leaks.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    function: &'static str,
    thread: u32,
    stack: Vec<usize>,
}

impl Origin {
    /// The driver's call that is being served.
    pub fn here(m: &Machine) -> Self {
        let thread = crate::machine::current_thread();
        let function = thread.calls().last().map_or("the host", |call| call.name);
        let stack = crate::crash::addresses(m, &thread);
        Self {
            function,
            thread: thread.id(),
            stack,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "allocated by {} on thread {}",
            self.function, self.thread
        )
    }
}

/// Something that a filter did not give back.
pub(crate) struct Leak {
    pub what: String,
    pub origin: Origin,
}

impl Leak {
    pub fn new(what: String, origin: &Origin) -> Self {
        Self {
            what: format!("{what}, {origin}"),
            origin: origin.clone(),
        }
    }
}
