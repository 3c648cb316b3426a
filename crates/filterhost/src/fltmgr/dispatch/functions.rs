//! The functions on operations that drivers import.

use std::sync::Arc;

use super::operation::{Operation, find, of_file};
use super::{Resume, Stage};
use crate::fltmgr::request::Request;
use crate::fltmgr::{call, guest, instance, work};
use crate::irql;
use crate::layout::{
    FILE_OBJECT, FLT_CALLBACK_DATA, FLT_POSTOP_FINISHED_PROCESSING,
    FLT_POSTOP_MORE_PROCESSING_REQUIRED, FLT_PREOP_COMPLETE, FLT_PREOP_SUCCESS_NO_CALLBACK,
    FLT_PREOP_SUCCESS_WITH_CALLBACK, FLT_RELATED_OBJECTS, FLTFL_CALLBACK_DATA_DIRTY,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, FLTFL_POST_OPERATION_DRAINING, FO_CLEANUP_COMPLETE,
    FO_FILE_OPEN_CANCELLED, FO_HANDLE_CREATED, FO_SYNCHRONOUS_IO, IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
    IRP_MJ_CREATE, IRP_MJ_READ, IRP_MJ_WRITE, IRP_PAGING_IO, IRP_SYNCHRONOUS_API,
    IRP_SYNCHRONOUS_PAGING_IO, PVOID, PostOperation,
};
use crate::machine::Machine;
use crate::object::Kind;
use crate::process::Process;
use crate::sched::SimThread;
use crate::verifier;

/// The process that asked for an operation.
fn requestor(m: &Machine, data: *const FLT_CALLBACK_DATA) -> Option<Arc<Process>> {
    let thread = guest::data::thread(data);
    let object = m.objects().find_kind(thread, Kind::Thread)?;
    Some(object.host::<SimThread>()?.process())
}

fn set_dirty(data: *mut FLT_CALLBACK_DATA, dirty: bool) {
    let flags = guest::data::flags(data) & !FLTFL_CALLBACK_DATA_DIRTY;
    let dirty = if dirty { FLTFL_CALLBACK_DATA_DIRTY } else { 0 };
    guest::data::set_flags(data, flags | dirty);
}

/// Whether the requestor waits for the operation anyway.
fn is_synchronous(data: *const FLT_CALLBACK_DATA) -> bool {
    let flags = guest::data::flags(data);
    if flags & FLTFL_CALLBACK_DATA_IRP_OPERATION == 0 {
        return true;
    }
    let block = guest::data::block(data);
    if !matches!(block.major_function, IRP_MJ_READ | IRP_MJ_WRITE) {
        return true;
    }
    if block.irp_flags & IRP_PAGING_IO != 0 {
        return block.irp_flags & IRP_SYNCHRONOUS_PAGING_IO != 0;
    }
    block.irp_flags & IRP_SYNCHRONOUS_API != 0
        || guest::file::flags(block.target_file_object) & FO_SYNCHRONOUS_IO != 0
}

/// Closes a file that a create has just opened, below the instance that cancels it.
fn cancel_open(m: &Arc<Machine>, by: PVOID, file: *mut FILE_OBJECT) {
    let name = "FltCancelFileOpen";
    let instance = instance::expect(m, name, by);
    let create = of_file(m, file);
    let in_post_create = create.as_ref().is_some_and(|operation| {
        operation.stage() == Stage::Post
            && operation
                .instance()
                .is_some_and(|current| current.id() == instance.id())
    });
    let Some(create) = create.filter(|_| in_post_create) else {
        let detail = format!("{name}: not in the instance's post-create callback of that file");
        return verifier::violation(&verifier::post_operation::CANCEL_ELSEWHERE, detail);
    };
    let flags = guest::file::flags(file);
    if flags & FO_HANDLE_CREATED != 0 {
        return verifier::violation(
            &verifier::post_operation::CANCEL_ELSEWHERE,
            format!("{name}: a handle exists already"),
        );
    }
    if create.is_cancelled() {
        return verifier::violation(
            &verifier::post_operation::CANCEL_TWICE,
            format!("{name}: called twice for one create"),
        );
    }
    create.set_cancelled();
    guest::file::add_flags(file, FO_FILE_OPEN_CANCELLED);
    let volume = instance.volume().volume();
    instance.hold();
    Request::new(IRP_MJ_CLEANUP, file).send(m, volume, Some(&instance));
    guest::file::add_flags(file, FO_CLEANUP_COMPLETE);
    Request::new(IRP_MJ_CLOSE, file).send(m, volume, Some(&instance));
    instance.release_hold(m);
}

/// What the worker of `FltDoCompletionProcessingWhenSafe` needs, as numbers.
struct Posted {
    data: usize,
    objects: FLT_RELATED_OBJECTS,
    context: usize,
    flags: u32,
}

// The related objects hold opaque addresses only.
#[expect(unsafe_code, reason = "opaque addresses travel to the worker thread")]
// SAFETY: nobody follows the addresses in the related objects.
unsafe impl Send for Posted {}

fn post_safely(m: &Arc<Machine>, operation: Arc<Operation>, safe: PostOperation, of: Posted) {
    let name = "completion processing";
    let own = m.clone();
    work::on_worker(m, name, move || {
        let of = of;
        let data = core::ptr::with_exposed_provenance_mut(of.data);
        let context = core::ptr::with_exposed_provenance_mut(of.context);
        let result = call::post(safe, data, &of.objects, context, of.flags);
        if result == FLT_POSTOP_FINISHED_PROCESSING {
            operation.resume(Resume::Post);
            own.sched().notify();
        }
    });
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [ANY, 0, "fltkernel/nf-fltkernel-fltsetcallbackdatadirty"]
    fn FltSetCallbackDataDirty(c, data: *mut FLT_CALLBACK_DATA) {
        find(c.m, c.info.name, data);
        set_dirty(data, true);
    }

    [ANY, 0, "fltkernel/nf-fltkernel-fltclearcallbackdatadirty"]
    fn FltClearCallbackDataDirty(c, data: *mut FLT_CALLBACK_DATA) {
        find(c.m, c.info.name, data);
        set_dirty(data, false);
    }

    [ANY, 0, "fltkernel/nf-fltkernel-fltiscallbackdatadirty"]
    fn FltIsCallbackDataDirty(c, data: *mut FLT_CALLBACK_DATA) -> u8 {
        find(c.m, c.info.name, data);
        u8::from(guest::data::flags(data) & FLTFL_CALLBACK_DATA_DIRTY != 0)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetrequestorprocess"]
    fn FltGetRequestorProcess(c, data: *mut FLT_CALLBACK_DATA) -> PVOID {
        find(c.m, c.info.name, data);
        let address = requestor(c.m, data).map_or(0, |process| process.address());
        core::ptr::with_exposed_provenance_mut(address)
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetrequestorprocessid"]
    fn FltGetRequestorProcessId(c, data: *mut FLT_CALLBACK_DATA) -> u32 {
        find(c.m, c.info.name, data);
        requestor(c.m, data).map_or(0, |process| process.id())
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltgetrequestorprocessidex"]
    fn FltGetRequestorProcessIdEx(c, data: *mut FLT_CALLBACK_DATA) -> PVOID {
        find(c.m, c.info.name, data);
        let id = requestor(c.m, data).map_or(0, |process| process.id());
        core::ptr::without_provenance_mut(id as usize)
    }

    [ANY, 0, "fltkernel/nf-fltkernel-fltisoperationsynchronous"]
    fn FltIsOperationSynchronous(c, data: *mut FLT_CALLBACK_DATA) -> u8 {
        find(c.m, c.info.name, data);
        u8::from(is_synchronous(data))
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltcancelfileopen"]
    fn FltCancelFileOpen(c, instance: PVOID, file: *mut FILE_OBJECT) {
        cancel_open(c.m, instance, file);
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltcompletependedpreoperation"]
    fn FltCompletePendedPreOperation(
        c, data: *mut FLT_CALLBACK_DATA, status: u32, context: PVOID,
    ) {
        let operation = find(c.m, c.info.name, data);
        let known = matches!(
            status,
            FLT_PREOP_SUCCESS_WITH_CALLBACK | FLT_PREOP_SUCCESS_NO_CALLBACK | FLT_PREOP_COMPLETE
        );
        if !known {
            let detail = format!("{status} cannot end a pended operation");
            c.violation(&verifier::pre_operation::PENDED_STATUS, detail);
        }
        let context = context.expose_provenance();
        if !operation.resume(Resume::Pre { status, context }) {
            let detail = "the operation was completed already";
            c.violation(&verifier::pre_operation::COMPLETED_TWICE, detail);
        }
        c.m.sched().notify();
    }

    [DISPATCH, 0, "fltkernel/nf-fltkernel-fltcompletependedpostoperation"]
    fn FltCompletePendedPostOperation(c, data: *mut FLT_CALLBACK_DATA) {
        let operation = find(c.m, c.info.name, data);
        if !operation.resume(Resume::Post) {
            let detail = "the operation was completed already";
            c.violation(&verifier::pre_operation::COMPLETED_TWICE, detail);
        }
        c.m.sched().notify();
    }

    [ANY, 0, "fltkernel/nf-fltkernel-fltdocompletionprocessingwhensafe"]
    fn FltDoCompletionProcessingWhenSafe(
        c, data: *mut FLT_CALLBACK_DATA, objects: *const FLT_RELATED_OBJECTS, context: PVOID,
        flags: u32, safe: PostOperation, result: *mut u32,
    ) -> u8 {
        let operation = find(c.m, c.info.name, data);
        if flags & FLTFL_POST_OPERATION_DRAINING != 0 || operation.is_draining() {
            c.violation(&verifier::draining::WHEN_SAFE, "the instance is draining");
        }
        let block = guest::data::block(data);
        if block.major_function == IRP_MJ_CREATE && c.thread.irql() > irql::PASSIVE {
            c.violation(&verifier::post_operation::WHEN_SAFE, "post-create runs at PASSIVE_LEVEL");
        }
        let Some(objects) = guest::read(objects) else {
            c.stop("access-violation", "the related objects are a null pointer");
        };
        if call::may_wait() {
            guest::write(result, call::post(safe, data, &objects, context, flags));
            return 1;
        }
        let irp = guest::data::flags(data) & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0;
        if !irp || block.irp_flags & IRP_PAGING_IO != 0 {
            guest::write(result, FLT_POSTOP_FINISHED_PROCESSING);
            return 0;
        }
        let (data, context) = (data.expose_provenance(), context.expose_provenance());
        post_safely(c.m, operation, safe, Posted { data, objects, context, flags });
        guest::write(result, FLT_POSTOP_MORE_PROCESSING_REQUIRED);
        1
    }
}
