//! MDL writes, as a file server in the kernel does them: the cache's pages instead of a buffer.

use super::file_object::file_ref;
use super::handle::FileHandle;
use super::operation::Path;
use crate::layout::{
    FltMdl, FltMdlWriteComplete, IRP_MJ_MDL_WRITE_COMPLETE, IRP_MJ_PREPARE_MDL_WRITE, MDL,
};
use crate::memory::{self, Block};
use crate::status::{NtStatus, STATUS_INVALID_HANDLE};
use crate::volume::share::WRITE_DATA;

/// Pages of a file that a kernel component has been handed out.
#[derive(Debug)]
pub struct MdlWrite<'a> {
    handle: &'a FileHandle,
    mdl: *mut MDL,
    offset: i64,
}

impl FileHandle {
    /// Asks for the cache's pages of a range, to write to them.
    ///
    /// # Errors
    /// `ACCESS_DENIED` without write access, `FILE_LOCK_CONFLICT`, or what filters answer.
    pub fn prepare_mdl_write(&self, offset: i64, length: u32) -> Result<MdlWrite<'_>, NtStatus> {
        self.need(WRITE_DATA)?;
        let chain = Block::zeroed(size_of::<*mut MDL>());
        let parameters = FltMdl {
            file_offset: offset,
            length,
            _0: 0,
            key: 0,
            _1: 0,
            mdl_chain: chain.pointer(),
        };
        self.operation(Path::FastIo, (IRP_MJ_PREPARE_MDL_WRITE, 0))
            .parameters(parameters)
            .run()?;
        Ok(MdlWrite {
            handle: self,
            mdl: memory::read(chain.pointer::<*mut MDL>()),
            offset,
        })
    }
}

impl MdlWrite<'_> {
    /// Writes to the pages, from their beginning. No operation goes down the stack.
    ///
    /// # Errors
    /// `INVALID_HANDLE` where the file is closed.
    pub fn store(&self, data: &[u8]) -> Result<(), NtStatus> {
        let volume = self.handle.volume();
        let open = file_ref(self.handle.object()).and_then(|file| volume.fs().open_of(file));
        let open = open.ok_or(STATUS_INVALID_HANDLE)?;
        volume.fs().store_to_lent(&open, self.mdl, data)
    }

    /// Gives the pages back.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn complete(self) -> Result<(), NtStatus> {
        let parameters = FltMdlWriteComplete {
            file_offset: self.offset,
            mdl_chain: self.mdl,
        };
        let handle = self.handle;
        handle
            .operation(Path::FastIo, (IRP_MJ_MDL_WRITE_COMPLETE, 0))
            .parameters(parameters)
            .run()?;
        super::cache::written(handle.m(), handle.volume(), handle.object());
        Ok(())
    }
}
