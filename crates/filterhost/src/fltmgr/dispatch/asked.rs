//! Questions about an operation that its filter need not see come back: its name, and what the
//! file system answered.

use std::sync::Arc;

use super::Stage;
use super::operation::find;
use crate::exports;
use crate::fltmgr::instance::Instance;
use crate::fltmgr::{call, guest};
use crate::layout::{
    FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLT_RELATED_OBJECTS,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, IRP_MJ_CLOSE, OperationStatus, PVOID,
};
use crate::status::{
    NTSTATUS, NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// Who wants to hear what the file system answers.
pub(super) struct Asked {
    callback: OperationStatus,
    context: usize,
    /// The operation as it was when it was asked.
    block: FLT_IO_PARAMETER_BLOCK,
    instance: Arc<Instance>,
    transaction: usize,
}

impl Asked {
    /// Tells it.
    pub(super) fn answer(mut self, status: NtStatus) {
        let mut objects: FLT_RELATED_OBJECTS = call::objects(&self.instance);
        objects.file_object = self.block.target_file_object;
        objects.transaction = core::ptr::with_exposed_provenance_mut(self.transaction);
        let context = core::ptr::with_exposed_provenance_mut(self.context);
        call::operation_status(self.callback, &objects, &mut self.block, status, context);
    }
}

#[expect(unsafe_code, reason = "an operation's addresses travel with it")]
// SAFETY: the addresses in the block are only handed back to the driver that they came from.
unsafe impl Send for Asked {}

/// The names of major function codes, from 0 and from -1 downwards.
const NAMES: &[(u8, &core::ffi::CStr)] = &[
    (0x00, c"IRP_MJ_CREATE"),
    (0x01, c"IRP_MJ_CREATE_NAMED_PIPE"),
    (0x02, c"IRP_MJ_CLOSE"),
    (0x03, c"IRP_MJ_READ"),
    (0x04, c"IRP_MJ_WRITE"),
    (0x05, c"IRP_MJ_QUERY_INFORMATION"),
    (0x06, c"IRP_MJ_SET_INFORMATION"),
    (0x07, c"IRP_MJ_QUERY_EA"),
    (0x08, c"IRP_MJ_SET_EA"),
    (0x09, c"IRP_MJ_FLUSH_BUFFERS"),
    (0x0a, c"IRP_MJ_QUERY_VOLUME_INFORMATION"),
    (0x0b, c"IRP_MJ_SET_VOLUME_INFORMATION"),
    (0x0c, c"IRP_MJ_DIRECTORY_CONTROL"),
    (0x0d, c"IRP_MJ_FILE_SYSTEM_CONTROL"),
    (0x0e, c"IRP_MJ_DEVICE_CONTROL"),
    (0x0f, c"IRP_MJ_INTERNAL_DEVICE_CONTROL"),
    (0x10, c"IRP_MJ_SHUTDOWN"),
    (0x11, c"IRP_MJ_LOCK_CONTROL"),
    (0x12, c"IRP_MJ_CLEANUP"),
    (0x13, c"IRP_MJ_CREATE_MAILSLOT"),
    (0x14, c"IRP_MJ_QUERY_SECURITY"),
    (0x15, c"IRP_MJ_SET_SECURITY"),
    (0x16, c"IRP_MJ_POWER"),
    (0x17, c"IRP_MJ_SYSTEM_CONTROL"),
    (0x18, c"IRP_MJ_DEVICE_CHANGE"),
    (0x19, c"IRP_MJ_QUERY_QUOTA"),
    (0x1a, c"IRP_MJ_SET_QUOTA"),
    (0x1b, c"IRP_MJ_PNP"),
    (0xff, c"IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION"),
    (0xfe, c"IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION"),
    (0xfd, c"IRP_MJ_ACQUIRE_FOR_MOD_WRITE"),
    (0xfc, c"IRP_MJ_RELEASE_FOR_MOD_WRITE"),
    (0xfb, c"IRP_MJ_ACQUIRE_FOR_CC_FLUSH"),
    (0xfa, c"IRP_MJ_RELEASE_FOR_CC_FLUSH"),
    (0xf9, c"IRP_MJ_QUERY_OPEN"),
    (0xf3, c"IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE"),
    (0xf2, c"IRP_MJ_NETWORK_QUERY_OPEN"),
    (0xf1, c"IRP_MJ_MDL_READ"),
    (0xf0, c"IRP_MJ_MDL_READ_COMPLETE"),
    (0xef, c"IRP_MJ_PREPARE_MDL_WRITE"),
    (0xee, c"IRP_MJ_MDL_WRITE_COMPLETE"),
    (0xed, c"IRP_MJ_VOLUME_MOUNT"),
    (0xec, c"IRP_MJ_VOLUME_DISMOUNT"),
];

exports! {
    EXPORTS = "fltmgr.sys";

    /// The name of a major function code.
    [ANY, 0, "fltkernel/nf-fltkernel-fltgetirpname"]
    fn FltGetIrpName(_c, major: u8) -> *const u8 {
        let found = NAMES.iter().find(|(code, _)| *code == major);
        found.map_or(c"<invalid IRP code>", |(_, name)| *name).as_ptr().cast()
    }

    /// Has a routine hear what the file system answers to the operation.
    [APC, 0, "fltkernel/nf-fltkernel-fltrequestoperationstatuscallback"]
    fn FltRequestOperationStatusCallback(
        c, data: *mut FLT_CALLBACK_DATA, callback: Option<OperationStatus>, context: PVOID,
    ) -> NTSTATUS {
        let operation = find(c.m, c.info.name, data);
        let irp = guest::data::flags(data) & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0;
        let going_down = operation.stage() == Stage::Pre && !operation.is_draining();
        let (Some(callback), true) = (callback, irp && going_down) else {
            return STATUS_INVALID_PARAMETER;
        };
        if operation.major() == IRP_MJ_CLOSE {
            return STATUS_INVALID_PARAMETER;
        }
        let Some(instance) = operation.instance() else {
            return STATUS_INVALID_PARAMETER;
        };
        if instance.is_going() {
            return STATUS_FLT_DELETING_OBJECT;
        }
        if c.is_to_fail() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let block = guest::data::block(data);
        let file = block.target_file_object;
        let transaction = crate::fltmgr::transaction::of_file(c.m, file).expose_provenance();
        let context = context.expose_provenance();
        operation.ask(Asked { callback, context, block, instance, transaction });
        STATUS_SUCCESS
    }
}
