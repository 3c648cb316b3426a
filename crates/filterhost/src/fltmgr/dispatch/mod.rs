//! The path of one operation: pre-operation callbacks from high to low altitude, the file
//! system, post-operation callbacks from low to high.
//!
//! [`call`] is the only way in. Who sends an operation owns its callback data and keeps it
//! alive until the call returns.

mod asked;
mod down;
mod functions;
mod node;
mod operation;
mod up;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

pub(crate) use node::Node;
pub use operation::{Operation, Stage, cancel_io, is_cancel_asked};
pub(crate) use operation::{Resume, bind_packet, find, of_file};
pub(crate) use up::drain;

pub use asked::EXPORTS as ASKED_EXPORTS;
pub use functions::EXPORTS;

use super::instance::InstanceRef;
use super::volume::{self, AttachedVolume};
use super::{context, guest, name, transaction};
use crate::layout::{
    FLT_CALLBACK_DATA, FLTFL_CALLBACK_DATA_POST_OPERATION, FileRenameInformation,
    FileRenameInformationBypassAccessCheck, FileRenameInformationEx,
    FileRenameInformationExBypassAccessCheck, IRP_MJ_CLOSE, IRP_MJ_FILE_SYSTEM_CONTROL,
    IRP_MJ_SET_INFORMATION,
};
use crate::machine::Machine;
use crate::status::{NtStatus, STATUS_PENDING};
use crate::verifier;
use crate::volume::Volume;

/// Classes after which names of files are no longer what they were.
const RENAMES: [i32; 4] = [
    FileRenameInformation,
    FileRenameInformationEx,
    FileRenameInformationBypassAccessCheck,
    FileRenameInformationExBypassAccessCheck,
];

/// At which level post-operation callbacks run where the documentation allows DISPATCH_LEVEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostLevel {
    /// As the seed says; PASSIVE_LEVEL under the free scheduler.
    Seed,
    /// Always PASSIVE_LEVEL.
    Passive,
    /// DISPATCH_LEVEL wherever it is allowed.
    Dispatch,
}

#[derive(Default)]
pub(crate) struct Settings {
    post_level: AtomicU8,
}

/// Chooses at which level post-operation callbacks run.
pub fn set_post_level(m: &Machine, level: PostLevel) {
    let number = match level {
        PostLevel::Seed => 0,
        PostLevel::Passive => 1,
        PostLevel::Dispatch => 2,
    };
    m.state::<Settings>()
        .post_level
        .store(number, Ordering::Relaxed);
}

/// Whether this post-operation callback, which may run at DISPATCH_LEVEL, does.
fn runs_at_dispatch(m: &Machine) -> bool {
    match m.state::<Settings>().post_level.load(Ordering::Relaxed) {
        0 => m.sched().is_seeded() && m.sched().random() & 1 == 1,
        1 => false,
        _ => true,
    }
}

/// One operation under way.
struct Run<'a> {
    m: &'a Arc<Machine>,
    data: *mut FLT_CALLBACK_DATA,
    operation: Arc<Operation>,
    /// Where the operation is now; a filter may send it to another volume.
    volume: Arc<AttachedVolume>,
    nodes: Vec<Arc<Node>>,
}

/// Sends an operation through the filters of `volume` and to its file system; with `below`, only
/// through the filters under that instance. Returns the final status, which is also in the
/// callback data's status block.
///
/// A fast I/O operation that a filter disallows ends with `STATUS_FLT_DISALLOW_FAST_IO`; the
/// sender then sends it as an IRP.
pub fn call(
    m: &Arc<Machine>,
    volume: &Arc<Volume>,
    below: Option<&InstanceRef>,
    data: *mut FLT_CALLBACK_DATA,
) -> NtStatus {
    let attached = volume::attached(m, volume);
    volume::set_up(m, &attached, true);
    let original = guest::data::block(data);
    let operation = operation::begin(m, data);
    let mut run = Run {
        m,
        data,
        operation,
        volume: attached,
        nodes: Vec::new(),
    };
    if run.down(below) {
        run.bottom();
    }
    run.up();
    operation::end(m, data);
    guest::data::set_block(data, original);
    let flags = guest::data::flags(data) & !FLTFL_CALLBACK_DATA_POST_OPERATION;
    guest::data::set_flags(data, flags);
    let status = guest::data::status(data);
    if original.major_function == IRP_MJ_CLOSE {
        context::file_object_gone(m, original.target_file_object);
        transaction::leave(m, original.target_file_object);
    }
    if original.major_function == IRP_MJ_SET_INFORMATION
        && status.is_success()
        && RENAMES.contains(&guest::parameters::set_info(&original).class)
    {
        name::forget(m, None);
    }
    // Only who dismounted it tears down: an operation inside of a filter's callback would wait for
    // that callback.
    if original.major_function == IRP_MJ_FILE_SYSTEM_CONTROL && volume.fs().is_dismounted() {
        volume::dismounted(m, volume);
    }
    status
}

impl Run<'_> {
    fn bottom(&self) {
        self.operation.enter_stage(Stage::Below, None);
        guest::data::set_instance(self.data, core::ptr::null_mut());
        let status = self.volume.volume().perform(self.m, self.data);
        if status == STATUS_PENDING {
            let detail = "the file system returned STATUS_PENDING to the Filter Manager";
            verifier::stop("host-pending", detail);
        }
        let information = guest::data::io_status(self.data).information;
        guest::data::set_status(self.data, status, information);
        for asked in self.operation.take_asked() {
            asked.answer(status);
        }
    }
}
