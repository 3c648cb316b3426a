//! Asking for a file's attributes without opening it: the I/O manager makes a file object on the
//! kernel stack, opens, queries and closes it, and no handle ever exists.

use std::sync::Arc;

use super::operation::{Operation, Path, pointer};
use super::process::Process;
use crate::layout::{
    FILE_OBJECT, FILE_OPEN, FILE_OPEN_REPARSE_POINT, FileNetworkOpenInformation, FltCreate,
    FltQueryInfo, IRP_CREATE_OPERATION, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE,
    IRP_MJ_QUERY_INFORMATION, UNICODE_STRING, Zeroed,
};
use crate::status::{NtStatus, STATUS_IO_REPARSE_TAG_NOT_HANDLED, STATUS_REPARSE};
use crate::volume::Volume;
use crate::volume::share::{READ_ATTRIBUTES, SHARE_ALL};

impl Process {
    /// The attributes of a file, as `NtQueryAttributesFile` asks for them.
    ///
    /// # Errors
    /// What filters and file system answer; reparse points are not followed.
    pub fn query_attributes(&self, path: &str) -> Result<u32, NtStatus> {
        let place = self.resolve(path)?;
        let mut name = place.name;
        let mut file = FILE_OBJECT::zeroed();
        file.kind = 5;
        file.size = 0xd8;
        file.device_object = place.volume.device_pointer();
        let length = u16::try_from(name.len() * 2).unwrap_or(u16::MAX);
        file.file_name = UNICODE_STRING {
            length,
            maximum_length: length,
            buffer: name.as_mut_ptr(),
        };
        let on_stack: *mut FILE_OBJECT = &raw mut file;
        self.open_on_stack(&place.volume, on_stack)?;
        let mut reply = vec![0; 0x38];
        let query = FltQueryInfo {
            length: 0x38,
            _0: 0,
            class: FileNetworkOpenInformation,
            _1: 0,
            buffer: pointer(&mut reply),
        };
        let asked = self
            .on_stack(&place.volume, IRP_MJ_QUERY_INFORMATION, on_stack)
            .parameters(query)
            .run();
        for major in [IRP_MJ_CLEANUP, IRP_MJ_CLOSE] {
            // Neither can fail.
            let _status = self.on_stack(&place.volume, major, on_stack).send();
        }
        asked?;
        let bytes = reply.get(0x30..).and_then(|rest| rest.first_chunk::<4>());
        Ok(bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    fn open_on_stack(&self, volume: &Arc<Volume>, file: *mut FILE_OBJECT) -> Result<(), NtStatus> {
        let operation = self.on_stack(volume, IRP_MJ_CREATE, file);
        let create = FltCreate {
            security_context: operation.security(READ_ATTRIBUTES, FILE_OPEN_REPARSE_POINT),
            options: FILE_OPEN << 24 | FILE_OPEN_REPARSE_POINT,
            _0: 0,
            file_attributes: 0,
            share_access: SHARE_ALL,
            _1: 0,
            ea_length: 0,
            _2: 0,
            ea_buffer: core::ptr::null_mut(),
            allocation_size: 0,
        };
        let operation = operation.irp_flags(IRP_CREATE_OPERATION).parameters(create);
        let (status, _) = operation.send();
        if status == STATUS_REPARSE {
            return Err(STATUS_IO_REPARSE_TAG_NOT_HANDLED);
        }
        status.ok()
    }

    fn on_stack(&self, volume: &Arc<Volume>, major: u8, file: *mut FILE_OBJECT) -> Operation {
        let m = self.machine();
        Operation::on_file(m, volume, None, Path::Irp, (major, 0), file).mode(1)
    }
}
