//! Threads and processes.
#![expect(
    unsafe_code,
    reason = "start routines of driver threads are called here"
)]

use core::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::handles::give_handle;
use crate::exports;
use crate::exports::{Call, StartRoutine};
use crate::layout::OBJECT_ATTRIBUTES;
use crate::machine;
use crate::memory;
use crate::object::{Handle, Kind};
use crate::process::Process;
use crate::sched::SimThread;
use crate::status::{
    NTSTATUS, NtStatus, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_CID, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::verifier;

/// `THREAD_ALL_ACCESS`, which the creator of a thread gets whatever it asks for.
const THREAD_ALL_ACCESS: u32 = 0x1f_ffff;
/// Highest priority of a thread.
const PRIORITY_MAX: i32 = 31;
/// Priority of a new system thread.
const PRIORITY_NORMAL: i32 = 8;

/// Carries a driver's context to the thread that it starts.
struct Start {
    routine: StartRoutine,
    context: usize,
}

fn create(
    c: &Call<'_>,
    out: *mut Handle,
    attributes: *const OBJECT_ATTRIBUTES,
    process: Handle,
    client: *mut usize,
    start: Start,
) -> NtStatus {
    let owner = if process == 0 {
        Ok(c.m.system_process().clone())
    } else {
        let current = c.thread.process();
        let object =
            c.m.objects()
                .by_handle(c.m, &current, process, Some(Kind::Process), 0);
        object.and_then(|object| object.host::<Process>().ok_or(STATUS_INVALID_HANDLE))
    };
    let owner = match owner {
        Ok(owner) => owner,
        Err(status) => return status,
    };
    let address = start.routine as *const () as usize;
    let (handed, waits) = (Arc::new(AtomicBool::new(false)), c.m.clone());
    let own = handed.clone();
    let thread = c.m.sched().spawn(&owner, "system thread", move || {
        // Its end drops its last reference but for the handle's.
        let begins = || own.load(Ordering::SeqCst).then_some(());
        let waited = waits.sched().wait_until("its handle", None, begins);
        debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
        machine::current_thread().set_start_address(address);
        let context = std::ptr::with_exposed_provenance_mut(start.context);
        exports::callback("StartRoutine", || {
            exports::run_start_routine(start.routine, context)
        });
    });
    thread.set_start_address(address);
    if !client.is_null() {
        memory::write(client, owner.id() as usize);
        memory::write(client.wrapping_add(1), thread.id() as usize);
    }
    let object = c.m.objects().find(thread.address());
    let status = object.map_or(STATUS_INSUFFICIENT_RESOURCES, |object| {
        give_handle(c, out, attributes, &object, THREAD_ALL_ACCESS)
    });
    handed.store(true, Ordering::SeqCst);
    c.m.sched().notify();
    status
}

/// The process whose `EPROCESS` is at `pointer`.
fn process_at(c: &Call<'_>, pointer: *const c_void) -> std::sync::Arc<Process> {
    match c.m.objects().host::<Process, _>(pointer) {
        Some(process) => process,
        None => c.fatal(
            &verifier::object::TYPE,
            format!("{pointer:p} is no process"),
        ),
    }
}

/// The thread whose `ETHREAD` is at `pointer`.
fn thread_at(c: &Call<'_>, pointer: *const c_void) -> std::sync::Arc<SimThread> {
    match c.m.objects().host::<SimThread, _>(pointer) {
        Some(thread) => thread,
        None => c.fatal(&verifier::object::TYPE, format!("{pointer:p} is no thread")),
    }
}

fn pointer(address: usize) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address)
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Starts a thread in the System process, or in one that a handle names.
    [PASSIVE, 0, "wdm/nf-wdm-pscreatesystemthread", fails STATUS_INSUFFICIENT_RESOURCES]
    fn PsCreateSystemThread(
        c, out: *mut Handle, _access: u32, attributes: *const OBJECT_ATTRIBUTES, process: Handle,
        client: *mut usize, routine: *const c_void, context: *mut c_void,
    ) -> NTSTATUS {
        if routine.is_null() || out.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        // SAFETY: the driver gives this address as a routine of the documented type.
        let routine = unsafe { std::mem::transmute::<*const c_void, StartRoutine>(routine) };
        let start = Start { routine, context: context.expose_provenance() };
        create(c, out, attributes, process, client, start)
    }

    /// Ends the calling system thread. On success it does not return to the driver.
    [PASSIVE, 0, "wdm/nf-wdm-psterminatesystemthread"]
    fn PsTerminateSystemThread(c, status: NTSTATUS) -> NTSTATUS {
        if c.thread.start_address() == 0 {
            return STATUS_INVALID_PARAMETER;
        }
        c.m.sched().trace("exit", &[u64::from(status.0.cast_unsigned())]);
        if c.thread.spin_locks() != 0 || c.thread.critical_region() != 0 {
            let how = "the thread ends with a lock or critical region held";
            c.violation(&verifier::thread::EXIT, how);
        }
        exports::leave_start_routine(c.thread);
        status
    }

    /// The calling thread.
    [ANY, 0, "ntddk/nf-ntddk-psgetcurrentthread"]
    fn PsGetCurrentThread(c) -> *mut c_void {
        pointer(c.thread.address())
    }

    /// The calling thread.
    [ANY, 0, "wdm/nf-wdm-kegetcurrentthread"]
    fn KeGetCurrentThread(c) -> *mut c_void {
        pointer(c.thread.address())
    }

    /// Id of the calling thread.
    [ANY, 0, "ntddk/nf-ntddk-psgetcurrentthreadid"]
    fn PsGetCurrentThreadId(c) -> usize {
        c.thread.id() as usize
    }

    /// Id of the process that owns the calling thread.
    [ANY, 0, "ntddk/nf-ntddk-psgetcurrentprocessid"]
    fn PsGetCurrentProcessId(c) -> usize {
        c.thread.owner().id() as usize
    }

    /// The process that the calling thread runs in.
    [ANY, 0, "wdm/nf-wdm-iogetcurrentprocess"]
    fn IoGetCurrentProcess(c) -> *mut c_void {
        pointer(c.thread.process().address())
    }

    /// The process that owns a thread.
    [DISPATCH, 0, "ntifs/nf-ntifs-iothreadtoprocess"]
    fn IoThreadToProcess(c, thread: *const c_void) -> *mut c_void {
        pointer(thread_at(c, thread).owner().address())
    }

    /// Id of a process.
    [ANY, 0, "ntddk/nf-ntddk-psgetprocessid"]
    fn PsGetProcessId(c, process: *const c_void) -> usize {
        process_at(c, process).id() as usize
    }

    /// Id of a thread.
    [DISPATCH, 0, "ntddk/nf-ntddk-psgetthreadid"]
    fn PsGetThreadId(c, thread: *const c_void) -> usize {
        thread_at(c, thread).id() as usize
    }

    /// When a process was created, in 100 ns since 1601.
    [ANY, 0, "ntddk/nf-ntddk-psgetprocesscreatetimequadpart"]
    fn PsGetProcessCreateTimeQuadPart(c, process: *const c_void) -> i64 {
        process_at(c, process).create_time()
    }

    /// The process with an id, referenced.
    [APC, 0, "ntifs/nf-ntifs-pslookupprocessbyprocessid"]
    fn PsLookupProcessByProcessId(c, id: usize, out: *mut *mut c_void) -> NTSTATUS {
        let process = u32::try_from(id).ok().and_then(|id| c.m.process(id));
        let object = process.and_then(|process| c.m.objects().find(process.address()));
        let Some(object) = object else { return STATUS_INVALID_CID };
        object.reference();
        c.m.state::<verifier::object::Taken>().took(c.m, object.address());
        memory::write(out, object.pointer());
        STATUS_SUCCESS
    }

    /// Whether a thread is a system thread.
    [DISPATCH, 0, "ntifs/nf-ntifs-psissystemthread"]
    fn PsIsSystemThread(c, thread: *const c_void) -> u8 {
        u8::from(thread_at(c, thread).owner().is_system())
    }

    /// Whether a thread is to end.
    [DISPATCH, 0, "ntifs/nf-ntifs-psisthreadterminating"]
    fn PsIsThreadTerminating(c, thread: *const c_void) -> u8 {
        u8::from(thread_at(c, thread).is_terminating())
    }

    /// Sets a thread's priority, which no scheduler here looks at; gives the old one.
    [PASSIVE, 0, "wdm/nf-wdm-kesetprioritythread"]
    fn KeSetPriorityThread(c, thread: *const c_void, priority: i32) -> i32 {
        let thread = thread_at(c, thread);
        if !(1..=PRIORITY_MAX).contains(&priority) {
            c.violation(&verifier::thread::PRIORITY, format!("{priority} is no priority"));
        }
        thread.set_priority(priority)
    }

    /// A thread's priority.
    [PASSIVE, 0, "wdm/nf-wdm-kequeryprioritythread"]
    fn KeQueryPriorityThread(c, thread: *const c_void) -> i32 {
        thread_at(c, thread).priority()
    }

    /// Limits of the calling thread's stack.
    [ANY, 0, "wdm/nf-wdm-iogetstacklimits"]
    fn IoGetStackLimits(c, low: *mut usize, high: *mut usize) {
        let limits = c.thread.stack_limits();
        memory::write(low, limits.0);
        memory::write(high, limits.1);
    }

    /// What the calling thread's outermost file-system request is.
    [DISPATCH, 0, "ntifs/nf-ntifs-iogettoplevelirp"]
    fn IoGetTopLevelIrp(c) -> *mut c_void {
        pointer(c.thread.top_level_irp())
    }

    /// Sets what [`IoGetTopLevelIrp`] gives.
    [DISPATCH, 0, "ntifs/nf-ntifs-iosettoplevelirp"]
    fn IoSetTopLevelIrp(c, irp: *mut c_void) {
        c.thread.set_top_level_irp(irp.expose_provenance());
    }
}

/// Priority that a thread starts with.
pub const INITIAL_PRIORITY: i32 = PRIORITY_NORMAL;
