//! Process notifications: drivers hear of each process that is made from an image, may refuse
//! it, and hear of its end.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::crash;
use crate::exports;
use crate::fltmgr::call;
use crate::image::{Image, Images};
use crate::layout::{PS_CREATE_NOTIFY_INFO, ProcessNotify, UNICODE_STRING, Zeroed};
use crate::machine::{self, Machine};
use crate::memory::{self, Block};
use crate::object::Object;
use crate::process::Process;
use crate::status::{
    NTSTATUS, NtStatus, STATUS_ACCESS_DENIED, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::verifier;

/// Routines that the system takes; how many is not documented.
const ROUTINES_MAX: usize = 64;
/// `FileOpenNameAvailable`.
const NAME_AVAILABLE: u32 = 1;

#[derive(Clone)]
struct Registered {
    routine: ProcessNotify,
    /// Where it was registered, for the report when it is left at unload.
    stack: Vec<usize>,
}

impl Registered {
    fn address(&self) -> usize {
        self.routine as *const () as usize
    }
}

/// The routines of one machine, in the order of their registration.
#[derive(Default)]
pub struct Notifications {
    routines: Mutex<Vec<Registered>>,
    /// Routines that run, each with its thread.
    running: Mutex<Vec<(usize, u32)>>,
}

/// What a driver is told of a process that starts.
pub struct Starting<'a> {
    /// The new process.
    pub process: &'a Arc<Process>,
    /// The parent's id.
    pub parent: u32,
    /// The file object behind the image section.
    pub file: &'a Arc<Object>,
    /// The name by which the image was opened; nothing where it is only partly known.
    pub name: Option<Vec<u16>>,
}

impl Notifications {
    /// Where routines inside `image` were registered that still are.
    pub(crate) fn left_by(&self, image: &Image) -> Vec<Vec<usize>> {
        let routines = self.routines.lock();
        let inside = routines.iter().filter(|r| image.contains(r.address()));
        inside.map(|registered| registered.stack.clone()).collect()
    }

    /// Tells each routine, one after the other, on the calling thread.
    fn each(&self, m: &Machine, tell: impl Fn(ProcessNotify)) {
        let thread = machine::current_thread();
        let mut next = 0;
        // Looked up anew each time: a routine that is removed meanwhile is not called.
        loop {
            let registered = self.routines.lock().get(next).cloned();
            let Some(registered) = registered else { break };
            next += 1;
            let running = (registered.address(), thread.id());
            self.running.lock().push(running);
            thread.add_critical_region(1);
            tell(registered.routine);
            thread.add_critical_region(-1);
            let mut all = self.running.lock();
            if let Some(at) = all.iter().position(|entry| *entry == running) {
                all.remove(at);
            }
            drop(all);
            m.sched().notify();
        }
    }

    fn runs(&self, address: usize) -> bool {
        self.running
            .lock()
            .iter()
            .any(|(other, _)| *other == address)
    }

    fn runs_on(&self, thread: u32) -> bool {
        self.running
            .lock()
            .iter()
            .any(|(_, other)| *other == thread)
    }
}

/// Asks the drivers whether a process may start.
///
/// # Errors
/// The status that a driver refused it with.
pub fn starting(m: &Arc<Machine>, starting: &Starting<'_>) -> Result<(), NtStatus> {
    let creator = machine::current_thread();
    let text = starting.name.clone().unwrap_or_default();
    let length = u16::try_from(text.len() * 2).unwrap_or(0xfffe);
    let bytes: Vec<u8> = text.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let characters = Block::zeroed(bytes.len().max(2));
    memory::write_bytes(characters.pointer(), &bytes);
    let name = Block::zeroed(size_of::<UNICODE_STRING>());
    let mut string = UNICODE_STRING::zeroed();
    string.length = length;
    string.maximum_length = length;
    string.buffer = characters.pointer();
    memory::write(name.pointer(), string);
    let mut told = PS_CREATE_NOTIFY_INFO::zeroed();
    told.size = size_of::<PS_CREATE_NOTIFY_INFO>();
    told.flags = u32::from(starting.name.is_some()) * NAME_AVAILABLE;
    told.parent_process_id = starting.parent as usize;
    told.creating_process = creator.process().id() as usize;
    told.creating_thread = creator.id() as usize;
    told.file_object = starting.file.pointer().cast();
    told.image_file_name = name.pointer();
    let info = Block::zeroed(told.size);
    memory::write(info.pointer(), told);
    let process = starting.process;
    m.state::<Notifications>().each(m, |routine| {
        call::process_notify(routine, process.address(), process.id(), info.pointer());
    });
    let status = memory::read(info.pointer::<PS_CREATE_NOTIFY_INFO>()).creation_status;
    if status < 0 {
        Err(NtStatus(status))
    } else {
        Ok(())
    }
}

/// Tells the drivers that a process which they let start has come to its end.
pub fn ended(m: &Arc<Machine>, process: &Process) {
    m.state::<Notifications>().each(m, |routine| {
        call::process_notify(
            routine,
            process.address(),
            process.id(),
            std::ptr::null_mut(),
        );
    });
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Adds or removes a routine that hears of processes. Removing waits for calls that run.
    /// Only adding can be made to fail: what is there can be removed.
    [PASSIVE, 0, "ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex"]
    fn PsSetCreateProcessNotifyRoutineEx(
        c, routine: Option<ProcessNotify>, remove: u8,
    ) -> NTSTATUS {
        let Some(routine) = routine else { return STATUS_INVALID_PARAMETER };
        let known = c.m.state::<Notifications>();
        if known.runs_on(c.thread.id()) {
            let detail = "called from within a process-notify routine";
            c.violation(&verifier::lifetime::NOTIFY_INSIDE, detail);
        }
        let stack = crash::addresses(c.m, c.thread);
        let registered = Registered { routine, stack };
        let address = registered.address();
        let position = |all: &Vec<Registered>| all.iter().position(|r| r.address() == address);
        if remove != 0 {
            let removed = {
                let mut all = known.routines.lock();
                position(&all).map(|at| all.remove(at))
            };
            if removed.is_none() {
                return STATUS_INVALID_PARAMETER;
            }
            let gone = || (!known.runs(address)).then_some(());
            let _never_late = c.m.sched().wait_until("process notify", None, gone);
            return STATUS_SUCCESS;
        }
        if c.is_to_fail() {
            return STATUS_INVALID_PARAMETER;
        }
        let signed = c.m.state::<Images>().all().iter()
            .any(|image| image.contains(address) && image.plan().force_integrity);
        if !signed {
            return STATUS_ACCESS_DENIED;
        }
        let mut all = known.routines.lock();
        if position(&all).is_some() || all.len() >= ROUTINES_MAX {
            return STATUS_INVALID_PARAMETER;
        }
        all.push(registered);
        STATUS_SUCCESS
    }
}
