//! Files of a process that lives outside: opened by id, read and deleted through the filters, as
//! any other process's.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::calls::{Answer, Caller, done};
use super::frame::{Frame, PAYLOAD_BYTES_MAX};
use crate::layout::GUID;
use crate::status::{
    NtStatus, STATUS_END_OF_FILE, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_NOT_FOUND,
};
use crate::user::{FileHandle, OpenOptions, Process as User};
use crate::volume::Volumes;

/// Files that one process may have open at one time.
const FILES_MAX: usize = 64;

/// The open files of a process, by their handles.
#[derive(Default)]
pub(super) struct Files {
    open: Mutex<BTreeMap<u64, Arc<FileHandle>>>,
}

impl Files {
    fn get(&self, handle: u64) -> Result<Arc<FileHandle>, NtStatus> {
        let open = self.open.lock();
        open.get(&handle).cloned().ok_or(STATUS_INVALID_HANDLE)
    }

    pub(super) fn take(&self, handle: u64) -> Option<Arc<FileHandle>> {
        self.open.lock().remove(&handle)
    }

    pub(super) fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for file in open.into_values() {
            // A call that closes it just now is as good.
            let _closed = file.close();
        }
    }
}

impl Caller<'_> {
    pub(super) fn open_file(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [access, share, _] = request.arguments;
        let access = u32::try_from(access).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let share = u16::try_from(share).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let (volume, id) = request
            .payload
            .split_first_chunk::<16>()
            .ok_or(STATUS_INVALID_PARAMETER)?;
        if id.len() != 16 {
            return Err(STATUS_INVALID_PARAMETER);
        }
        if self.ports.files.open.lock().len() >= FILES_MAX {
            return Err(STATUS_INSUFFICIENT_RESOURCES);
        }
        let volume = self.m.state::<Volumes>().by_guid(guid(volume));
        let volume = volume.ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
        let options = OpenOptions::by_id(&volume, id)
            .exact_access(access)
            .share(share)
            .file()
            .open_reparse_point();
        let process = User::of_kernel(self.m, self.process, &volume);
        let file = process.open(&options)?;
        let handle = file.value() as u64;
        self.ports.files.open.lock().insert(handle, Arc::new(file));
        done([handle, 0, 0], Vec::new())
    }

    pub(super) fn read_file(&self, request: &Frame) -> Result<Answer, NtStatus> {
        let [handle, offset, bytes] = request.arguments;
        let file = self.ports.files.get(handle)?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        match file.read_at(offset, bytes.min(PAYLOAD_BYTES_MAX)) {
            Err(STATUS_END_OF_FILE) => done([0; 3], Vec::new()),
            read => done([0; 3], read?),
        }
    }

    pub(super) fn delete_file(&self, request: &Frame) -> Result<Answer, NtStatus> {
        self.ports.files.get(request.arguments[0])?.delete()?;
        done([0; 3], Vec::new())
    }
}

/// A GUID from how it lies in memory.
pub(super) fn guid(bytes: &[u8; 16]) -> GUID {
    let [a0, a1, a2, a3, b0, b1, c0, c1, data4 @ ..] = *bytes;
    GUID {
        data1: u32::from_le_bytes([a0, a1, a2, a3]),
        data2: u16::from_le_bytes([b0, b1]),
        data3: u16::from_le_bytes([c0, c1]),
        data4,
    }
}
