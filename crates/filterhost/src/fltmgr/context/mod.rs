//! Contexts: memory that a filter hangs on volumes, instances, files, streams, handles,
//! transactions and sections.
//!
//! Each has a reference count. The object that it is set on holds one reference; whoever
//! allocated or got it holds another. The last release runs the cleanup callback and frees the
//! memory. Fresh memory is filled with a pattern: before Windows 11 it is not zeroed, and not
//! always after.

mod functions;
mod link;
mod set;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use functions::EXPORTS;
pub(crate) use link::Link;
pub use link::{file_gone, file_object_gone, stream_gone};
pub(crate) use link::{filter_gone, get, instance_gone, transaction_gone, unlink, volume_gone};
pub(crate) use set::{Setting, set};

use super::blocks::Wanted;
use super::filter::{ContextEntry, Filter, Phase};
use super::{Leak, Origin, blocks, call, opaque, work};
use crate::layout::{
    FLT_FILE_CONTEXT, FLT_INSTANCE_CONTEXT, FLT_SECTION_CONTEXT, FLT_STREAM_CONTEXT,
    FLT_STREAMHANDLE_CONTEXT, FLT_TRANSACTION_CONTEXT, FLT_VARIABLE_SIZED_CONTEXTS,
    FLT_VOLUME_CONTEXT, PVOID, PagedPool,
};
use crate::machine::{self, Machine};
use crate::status::{
    NtStatus, STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND, STATUS_FLT_DELETING_OBJECT,
    STATUS_FLT_MUST_BE_NONPAGED_POOL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_BUFFER_SIZE,
    STATUS_INVALID_PARAMETER,
};
use crate::verifier;

/// Contexts on the machine.
#[derive(Default)]
pub(crate) struct Contexts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    by_address: HashMap<usize, Arc<Context>>,
    linked: HashMap<Link, Arc<Context>>,
}

/// One context.
pub(crate) struct Context {
    /// Order of allocation, for walks that must not depend on addresses.
    number: u64,
    address: usize,
    kind: u16,
    paged: bool,
    own_memory: bool,
    entry: ContextEntry,
    filter: Arc<Filter>,
    origin: Origin,
    counts: Mutex<Counts>,
}

struct Counts {
    references: u32,
    link: Option<Link>,
}

/// The name of a context kind in reports.
pub(crate) fn kind_name(kind: u16) -> &'static str {
    match kind {
        FLT_VOLUME_CONTEXT => "volume context",
        FLT_INSTANCE_CONTEXT => "instance context",
        FLT_FILE_CONTEXT => "file context",
        FLT_STREAM_CONTEXT => "stream context",
        FLT_STREAMHANDLE_CONTEXT => "stream handle context",
        FLT_TRANSACTION_CONTEXT => "transaction context",
        FLT_SECTION_CONTEXT => "section context",
        _ => "context of no known kind",
    }
}

fn is_kind(kind: u16) -> bool {
    kind.is_power_of_two() && kind <= FLT_SECTION_CONTEXT
}

/// The registration that serves a request: the smallest fixed size that is enough, else the
/// variable one.
fn entry_for(filter: &Filter, kind: u16, size: usize) -> Option<ContextEntry> {
    let entries = || {
        filter
            .callbacks()
            .contexts
            .iter()
            .filter(|entry| entry.kind == kind)
    };
    let fixed = entries()
        .filter(|entry| entry.size != FLT_VARIABLE_SIZED_CONTEXTS && entry.size >= size)
        .min_by_key(|entry| entry.size);
    let variable = || entries().find(|entry| entry.size == FLT_VARIABLE_SIZED_CONTEXTS);
    fixed.or_else(variable).copied()
}

/// Allocates a context with one reference, the caller's.
///
/// # Errors
/// As documented for `FltAllocateContext`.
fn allocate(
    m: &Arc<Machine>,
    filter: &Arc<Filter>,
    kind: u16,
    size: usize,
    pool_type: u32,
) -> Result<PVOID, NtStatus> {
    if !is_kind(kind) || size == 0 {
        return Err(STATUS_INVALID_PARAMETER);
    }
    if size > usize::from(u16::MAX) {
        return Err(STATUS_INVALID_BUFFER_SIZE);
    }
    if filter.phase() == Phase::Unloading {
        return Err(STATUS_FLT_DELETING_OBJECT);
    }
    let entry = entry_for(filter, kind, size).ok_or(STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND)?;
    let paged = pool_type & PagedPool != 0;
    if kind == FLT_VOLUME_CONTEXT && paged {
        return Err(STATUS_FLT_MUST_BE_NONPAGED_POOL);
    }
    let memory = match entry.allocate {
        Some(callback) => call::context_allocate(callback, pool_type, size, kind),
        None => {
            // Variable-sized contexts are zeroed from Windows 11 on, and nothing else is.
            let variable = entry.size == FLT_VARIABLE_SIZED_CONTEXTS;
            let zeroed = variable && m.build_number() >= 22_000;
            blocks::allocate(
                m,
                &Wanted {
                    size,
                    tag: entry.tag,
                    paged,
                    zeroed,
                },
            )
        }
    };
    if memory.is_null() {
        return Err(STATUS_INSUFFICIENT_RESOURCES);
    }
    let contexts = m.state::<Contexts>();
    let origin = Origin::here(m);
    let mut state = contexts.state.lock();
    state.next += 1;
    let context = Arc::new(Context {
        number: state.next,
        address: memory.addr(),
        kind,
        paged,
        own_memory: entry.allocate.is_some(),
        entry,
        filter: filter.clone(),
        origin,
        counts: Mutex::new(Counts {
            references: 1,
            link: None,
        }),
    });
    state.by_address.insert(memory.addr(), context);
    Ok(memory)
}

/// The context at an address that a driver gave. An address that is none is a violation.
pub(crate) fn expect(m: &Machine, function: &str, address: PVOID) -> Arc<Context> {
    lookup(m, address).unwrap_or_else(|| {
        let detail = format!("{function}: {address:p} is no context (or it was freed)");
        verifier::fatal(&verifier::context::POINTER, detail)
    })
}

pub(crate) fn lookup(m: &Machine, address: PVOID) -> Option<Arc<Context>> {
    m.state::<Contexts>()
        .state
        .lock()
        .by_address
        .get(&address.addr())
        .cloned()
}

impl Context {
    pub(crate) fn pointer(&self) -> PVOID {
        core::ptr::with_exposed_provenance_mut(self.address)
    }

    pub(crate) fn kind(&self) -> u16 {
        self.kind
    }

    pub(crate) fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.counts.lock().link
    }

    pub(crate) fn reference(&self) {
        self.counts.lock().references += 1;
    }

    /// Drops a reference; the last one frees the context, on a worker when the caller runs at
    /// DISPATCH_LEVEL.
    pub(crate) fn release(self: &Arc<Self>, m: &Arc<Machine>) {
        let left = {
            let mut counts = self.counts.lock();
            counts.references = counts.references.saturating_sub(1);
            counts.references
        };
        if left > 0 {
            return;
        }
        if call::may_wait() {
            self.free(m);
        } else {
            let (own, machine) = (self.clone(), m.clone());
            work::on_worker(m, "context cleanup", move || own.free(&machine));
        }
    }

    fn free(&self, m: &Arc<Machine>) {
        if let Some(callback) = self.entry.cleanup {
            call::context_cleanup(callback, self.pointer(), self.kind);
        }
        m.state::<Contexts>()
            .state
            .lock()
            .by_address
            .remove(&self.address);
        match self.entry.free {
            Some(callback) if self.own_memory => {
                call::context_free(callback, self.pointer(), self.kind);
            }
            _ => blocks::free(m, self.pointer(), self.entry.tag),
        }
        m.sched().notify();
    }
}

/// The contexts of a filter that are still alive, in the order of their allocation, each with
/// its kind, reference count and where it was allocated.
pub(crate) fn alive(m: &Machine, filter: &Filter) -> Vec<Leak> {
    let contexts = m.state::<Contexts>();
    let state = contexts.state.lock();
    let mut own: Vec<_> = state
        .by_address
        .values()
        .filter(|context| context.filter.id() == filter.id())
        .collect();
    own.sort_by_key(|context| context.number);
    own.iter()
        .map(|context| {
            let counts = context.counts.lock();
            let kind = kind_name(context.kind);
            let references = counts.references;
            let what = format!("{kind} #{} with {references} references", context.number);
            Leak::new(what, &context.origin)
        })
        .collect()
}

/// The level check that depends on the context: paged ones are released below DISPATCH_LEVEL.
fn check_release_level(context: &Context) {
    if context.paged && !call::may_wait() {
        let detail = format!(
            "FltReleaseContext of a paged {} at {}",
            kind_name(context.kind),
            machine::current_thread().irql()
        );
        verifier::violation(&verifier::irql::CONTEXT_RELEASE, detail);
    }
}

/// A context slot's address as a driver expects it: null when there is none.
fn pointer_of(context: Option<&Arc<Context>>) -> PVOID {
    context.map_or(opaque(0), |context| context.pointer())
}
