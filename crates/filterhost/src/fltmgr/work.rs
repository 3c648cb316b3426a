//! Work items: routines that a system worker thread runs later.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::filter::Filter;
use super::registration::{dereference, reference};
use super::{FilterManager, Leak, Opaque, Origin, call, dispatch, guest, opaque};
use crate::layout::{
    DeferredIoRoutine, FLT_CALLBACK_DATA, FLTFL_CALLBACK_DATA_IRP_OPERATION,
    GenericWorkItemRoutine, IRP_PAGING_IO, PVOID,
};
use crate::machine::{self, Machine};
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_FLT_NOT_SAFE_TO_POST_OPERATION, STATUS_SUCCESS,
};
use crate::verifier;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Generic,
    DeferredIo,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Queued,
    Running,
}

struct Item {
    kind: Kind,
    phase: Phase,
    /// Filter that it was last queued for; 0 before that.
    filter: usize,
    origin: Origin,
}

#[derive(Default)]
struct WorkItems {
    items: Mutex<BTreeMap<usize, Item>>,
}

/// Runs `body` on a thread of the System process.
pub(crate) fn on_worker(m: &Arc<Machine>, name: &str, body: impl FnOnce() + Send + 'static) {
    let system = m.system_process().clone();
    m.sched().spawn(&system, name, body);
}

/// Work items that were queued for a filter and are neither done nor freed.
pub(crate) fn outstanding(m: &Machine, filter: &Filter) -> Vec<Leak> {
    let items = m.state::<WorkItems>();
    let items = items.items.lock();
    let own = items.values().filter(|item| item.filter == filter.id());
    let what = |item: &Item| format!("{:?} {:?} work item", item.phase, item.kind);
    own.map(|item| Leak::new(what(item), &item.origin))
        .collect()
}

fn allocate(m: &Arc<Machine>, kind: Kind) -> PVOID {
    if m.faults().allocation() {
        return core::ptr::null_mut();
    }
    let id = FilterManager::of(m).next_id();
    let item = Item {
        kind,
        phase: Phase::Idle,
        filter: 0,
        origin: Origin::here(m),
    };
    m.state::<WorkItems>().items.lock().insert(id, item);
    opaque(id)
}

fn free(m: &Machine, function: &str, item: PVOID, kind: Kind) {
    let items = m.state::<WorkItems>();
    let phase = {
        let mut items = items.items.lock();
        let phase = items
            .get(&item.addr())
            .filter(|known| known.kind == kind)
            .map(|it| it.phase);
        if phase.is_some_and(|phase| phase != Phase::Queued) {
            items.remove(&item.addr());
        }
        phase
    };
    match phase {
        None => {
            let detail = format!("{function}: {item:p} is no such work item");
            verifier::violation(&verifier::work_item::POINTER, detail);
        }
        Some(Phase::Queued) => {
            let detail = format!("{function}: the work item is queued");
            verifier::violation(&verifier::work_item::FREED_QUEUED, detail);
        }
        Some(_) => m.sched().notify(),
    }
}

/// Marks an item as queued for a filter; false for what cannot be queued.
fn enqueue(m: &Machine, function: &str, item: PVOID, kind: Kind, filter: usize) -> bool {
    let items = m.state::<WorkItems>();
    let refused = {
        let mut items = items.items.lock();
        match items
            .get_mut(&item.addr())
            .filter(|known| known.kind == kind)
        {
            None => Some((&verifier::work_item::POINTER, "is no such work item")),
            Some(known) if known.phase == Phase::Queued => {
                Some((&verifier::work_item::QUEUED_TWICE, "is queued already"))
            }
            Some(known) => {
                known.phase = Phase::Queued;
                known.filter = filter;
                None
            }
        }
    };
    if let Some((rule, why)) = refused {
        verifier::violation(rule, format!("{function}: {item:p} {why}"));
    }
    refused.is_none()
}

/// Sets the phase of an item that still exists.
fn mark(m: &Machine, item: usize, phase: Phase) {
    let items = m.state::<WorkItems>();
    if let Some(known) = items.items.lock().get_mut(&item) {
        known.phase = phase;
    }
    m.sched().notify();
}

fn owner(m: &Machine, object: PVOID) -> usize {
    match FilterManager::of(m).find(object) {
        Some(Opaque::Filter(filter)) => filter.id(),
        Some(Opaque::Instance(instance)) => instance.filter().id(),
        _ => 0,
    }
}

/// Addresses that a worker thread gets, as numbers.
#[derive(Clone, Copy)]
struct Arguments {
    item: usize,
    object: usize,
    context: usize,
}

fn run_generic(m: &Arc<Machine>, routine: GenericWorkItemRoutine, of: Arguments) {
    mark(m, of.item, Phase::Running);
    let context = core::ptr::with_exposed_provenance_mut(of.context);
    call::work_item(routine, opaque(of.item), opaque(of.object), context);
    let items = m.state::<WorkItems>();
    if let Some(known) = items.items.lock().get_mut(&of.item)
        && known.phase == Phase::Running
    {
        // Not freed by its routine: the driver may use it again, or leak it.
        known.phase = Phase::Idle;
    }
    dereference(m, opaque(of.object));
}

/// Whether an operation may be handed to a worker thread.
fn is_safe_to_post(data: *const FLT_CALLBACK_DATA) -> bool {
    let irp = guest::data::flags(data) & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0;
    let paging = guest::data::block(data).irp_flags & IRP_PAGING_IO != 0;
    irp && !paging && machine::current_thread().top_level_irp() == 0
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltallocategenericworkitem",
     fails core::ptr::null_mut()]
    fn FltAllocateGenericWorkItem(c) -> PVOID {
        allocate(c.m, Kind::Generic)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltfreegenericworkitem"]
    fn FltFreeGenericWorkItem(c, item: PVOID) {
        free(c.m, c.info.name, item, Kind::Generic);
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltqueuegenericworkitem",
     fails STATUS_FLT_DELETING_OBJECT]
    fn FltQueueGenericWorkItem(
        c, item: PVOID, object: PVOID, routine: GenericWorkItemRoutine, queue: u32,
        context: PVOID,
    ) -> NtStatus {
        // CriticalWorkQueue, DelayedWorkQueue, HyperCriticalWorkQueue.
        if queue > 2 {
            c.violation(&verifier::work_item::QUEUE, format!("queue {queue} does not exist"));
        }
        let status = reference(c.m, object);
        if !status.is_success() {
            return status;
        }
        if !enqueue(c.m, c.info.name, item, Kind::Generic, owner(c.m, object)) {
            dereference(c.m, object);
            return STATUS_SUCCESS;
        }
        let context = context.expose_provenance();
        let arguments = Arguments { item: item.addr(), object: object.addr(), context };
        let m = c.m.clone();
        on_worker(c.m, "work item", move || run_generic(&m, routine, arguments));
        STATUS_SUCCESS
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltallocatedeferredioworkitem",
     fails core::ptr::null_mut()]
    fn FltAllocateDeferredIoWorkItem(c) -> PVOID {
        allocate(c.m, Kind::DeferredIo)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltfreedeferredioworkitem"]
    fn FltFreeDeferredIoWorkItem(c, item: PVOID) {
        free(c.m, c.info.name, item, Kind::DeferredIo);
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltqueuedeferredioworkitem"]
    fn FltQueueDeferredIoWorkItem(
        c, item: PVOID, data: *mut FLT_CALLBACK_DATA, routine: DeferredIoRoutine, queue: u32,
        context: PVOID,
    ) -> NtStatus {
        if queue > 2 {
            c.violation(&verifier::work_item::QUEUE, format!("queue {queue} does not exist"));
        }
        let operation = dispatch::find(c.m, c.info.name, data);
        if !is_safe_to_post(data) {
            return STATUS_FLT_NOT_SAFE_TO_POST_OPERATION;
        }
        let Some(instance) = operation.instance().filter(|instance| !instance.is_going()) else {
            return STATUS_FLT_DELETING_OBJECT;
        };
        if !enqueue(c.m, c.info.name, item, Kind::DeferredIo, instance.filter().id()) {
            return STATUS_SUCCESS;
        }
        let (item, data) = (item.addr(), data.expose_provenance());
        let context = context.expose_provenance();
        let m = c.m.clone();
        on_worker(c.m, "deferred I/O", move || {
            mark(&m, item, Phase::Running);
            let context = core::ptr::with_exposed_provenance_mut(context);
            let data = core::ptr::with_exposed_provenance_mut(data);
            call::deferred_io(routine, opaque(item), data, context);
            mark(&m, item, Phase::Idle);
        });
        STATUS_SUCCESS
    }
}
