//! What is known of each operation in flight, found by the address of its callback data.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::asked::Asked;
use crate::fltmgr::ecp::OpenPacket;
use crate::fltmgr::guest;
use crate::fltmgr::instance::Instance;
use crate::layout::{FILE_OBJECT, FLT_CALLBACK_DATA, IRP_MJ_CREATE};
use crate::machine::{self, Machine};
use crate::verifier;

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On its way down, perhaps in a pre-operation callback.
    Pre,
    /// In the file system.
    Below,
    /// On its way up, perhaps in a post-operation callback.
    Post,
}

/// How a pended operation goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resume {
    /// `FltCompletePendedPreOperation`.
    Pre {
        /// `FLT_PREOP_*`.
        status: u32,
        /// Completion context.
        context: usize,
    },
    /// `FltCompletePendedPostOperation`.
    Post,
}

struct State {
    stage: Stage,
    instance: Option<Arc<Instance>>,
    resume: Option<Resume>,
    cancelled: bool,
    cancel_asked: bool,
    packet: Option<Arc<OpenPacket>>,
    asked: Vec<Asked>,
}

/// One operation in flight.
pub struct Operation {
    file: usize,
    thread: u32,
    major: u8,
    draining: bool,
    state: Mutex<State>,
}

/// All operations in flight on a machine.
#[derive(Default)]
struct Operations {
    live: Mutex<HashMap<usize, Arc<Operation>>>,
    packets: Mutex<HashMap<usize, Arc<OpenPacket>>>,
    /// Callback data of operations that have ended, until their memory is used again.
    ended: Mutex<HashSet<usize>>,
}

impl Operation {
    /// The kind of operation (`IRP_MJ_*`).
    #[must_use]
    pub fn major(&self) -> u8 {
        self.major
    }

    /// The thread that carries it.
    #[must_use]
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// True for the copy that a draining post-operation callback sees.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Where it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.state.lock().stage
    }

    /// The instance whose callback it is in.
    #[must_use]
    pub fn instance(&self) -> Option<Arc<Instance>> {
        self.state.lock().instance.clone()
    }

    /// The create's extra parameters.
    #[must_use]
    pub fn packet(&self) -> Option<Arc<OpenPacket>> {
        self.state.lock().packet.clone()
    }

    /// True once `FltCancelFileOpen` was called for it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// True once its requestor has asked for its cancellation.
    #[must_use]
    pub fn is_cancel_asked(&self) -> bool {
        self.state.lock().cancel_asked
    }

    pub(crate) fn set_cancelled(&self) {
        self.state.lock().cancelled = true;
    }

    pub(crate) fn enter_stage(&self, stage: Stage, instance: Option<&Arc<Instance>>) {
        let mut state = self.state.lock();
        state.stage = stage;
        state.instance = instance.cloned();
    }

    /// Says how a pended operation goes on; false when that was said already.
    pub(crate) fn resume(&self, how: Resume) -> bool {
        let mut state = self.state.lock();
        if state.resume.is_some() {
            return false;
        }
        state.resume = Some(how);
        true
    }

    /// Somebody wants to hear what the file system answers.
    pub(super) fn ask(&self, asked: Asked) {
        self.state.lock().asked.push(asked);
    }

    /// Everybody who wants to hear it.
    pub(super) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().asked)
    }

    pub(crate) fn take_resume(&self) -> Option<Resume> {
        self.state.lock().resume.take()
    }
}

/// Ties the extra parameters of a create to the callback data that will carry it. Call it before
/// [`super::call`]; a create without gets an empty packet of its own.
pub(crate) fn bind_packet(m: &Machine, data: *const FLT_CALLBACK_DATA, packet: &Arc<OpenPacket>) {
    let operations = m.state::<Operations>();
    operations
        .packets
        .lock()
        .insert(data.addr(), packet.clone());
}

pub(super) fn begin(m: &Machine, data: *mut FLT_CALLBACK_DATA) -> Arc<Operation> {
    let operations = m.state::<Operations>();
    let block = guest::data::block(data);
    let bound = operations.packets.lock().remove(&data.addr());
    let packet = match bound {
        None if block.major_function == IRP_MJ_CREATE => Some(OpenPacket::implicit()),
        other => other,
    };
    let operation = new(
        block.target_file_object,
        block.major_function,
        false,
        packet,
    );
    let old = operations
        .live
        .lock()
        .insert(data.addr(), operation.clone());
    operations.ended.lock().remove(&data.addr());
    if old.is_some() {
        verifier::stop(
            "host-operation",
            "callback data was sent twice at the same time",
        );
    }
    operation
}

/// Registers the copy of callback data that a draining callback sees.
pub(super) fn begin_copy(m: &Machine, data: *const FLT_CALLBACK_DATA) -> Arc<Operation> {
    let block = guest::data::block(data);
    let operation = new(block.target_file_object, block.major_function, true, None);
    operation.enter_stage(Stage::Post, None);
    m.state::<Operations>()
        .live
        .lock()
        .insert(data.addr(), operation.clone());
    operation
}

fn new(
    file: *const FILE_OBJECT,
    major: u8,
    draining: bool,
    packet: Option<Arc<OpenPacket>>,
) -> Arc<Operation> {
    Arc::new(Operation {
        file: file.addr(),
        thread: machine::current_thread().id(),
        major,
        draining,
        state: Mutex::new(State {
            stage: Stage::Pre,
            instance: None,
            resume: None,
            cancelled: false,
            cancel_asked: false,
            packet,
            asked: Vec::new(),
        }),
    })
}

pub(super) fn end(m: &Arc<Machine>, data: *const FLT_CALLBACK_DATA) {
    let operations = m.state::<Operations>();
    let ended = operations.live.lock().remove(&data.addr());
    operations.ended.lock().insert(data.addr());
    if let Some(packet) = ended.and_then(|operation| operation.packet()) {
        packet.end_of_pass(m);
    }
}

/// The operation behind callback data that a driver handed in. Data of an operation that has
/// ended is a violation.
pub(crate) fn find(m: &Machine, function: &str, data: *const FLT_CALLBACK_DATA) -> Arc<Operation> {
    let found = m
        .state::<Operations>()
        .live
        .lock()
        .get(&data.addr())
        .cloned();
    found.unwrap_or_else(|| {
        let detail = format!("{function}: {data:p} is no operation in flight");
        let ended = m.state::<Operations>();
        if ended.ended.lock().contains(&data.addr()) {
            verifier::fatal(&verifier::callback_data::ENDED, detail)
        }
        verifier::fatal(&verifier::callback_data::POINTER, detail)
    })
}

/// Asks for the cancellation of every operation that a thread carries, as `CancelSynchronousIo`
/// does. It takes effect where a filter waits cancellably.
pub fn cancel_io(m: &Machine, thread: u32) {
    let operations = m.state::<Operations>();
    let live = operations.live.lock();
    for operation in live.values().filter(|operation| operation.thread == thread) {
        operation.state.lock().cancel_asked = true;
    }
    drop(live);
    m.sched().notify();
}

/// Whether somebody asked for the cancellation of what a thread has under way.
pub fn is_cancel_asked(m: &Machine, thread: u32) -> bool {
    let operations = m.state::<Operations>();
    let live = operations.live.lock();
    live.values()
        .any(|operation| operation.thread == thread && operation.is_cancel_asked())
}

/// The create of `file` that the calling thread carries now.
pub(crate) fn of_file(m: &Machine, file: *const FILE_OBJECT) -> Option<Arc<Operation>> {
    let me = machine::current_thread().id();
    let operations = m.state::<Operations>();
    let live = operations.live.lock();
    let wanted =
        |operation: &&Arc<Operation>| operation.file == file.addr() && operation.thread == me;
    live.values()
        .filter(wanted)
        .find(|operation| operation.major == IRP_MJ_CREATE)
        .cloned()
}
