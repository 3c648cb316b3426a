//! Everything that an open can say, with the defaults of ordinary programs.

use std::sync::Arc;

use super::handle::FileHandle;
use super::open::{CreateRequest, EcpSpec, create_file, insert_handle};
use super::path::Place;
use super::process::Process;
use crate::fltmgr::transaction::Transaction;
use crate::layout::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NO_INTERMEDIATE_BUFFERING, FILE_NON_DIRECTORY_FILE,
    FILE_OPEN, FILE_OPEN_BY_FILE_ID, FILE_OPEN_IF, FILE_OPEN_REPARSE_POINT, FILE_OVERWRITE_IF,
    FILE_SYNCHRONOUS_IO_NONALERT,
};
use crate::object::Object;
use crate::status::NtStatus;
use crate::volume::Volume;
use crate::volume::name::units;
use crate::volume::share::{
    APPEND_DATA, DELETE, EXECUTE, READ_ATTRIBUTES, READ_DATA, READ_EA, SHARE_ALL, SYNCHRONIZE,
    WRITE_ATTRIBUTES, WRITE_DATA, WRITE_EA,
};

/// An open to be. By default it opens an existing file for nothing but its attributes, shares
/// everything, and is synchronous.
#[derive(Clone)]
pub struct OpenOptions {
    path: String,
    /// The bytes of the name, where it is no text: an id, or anything.
    raw: Option<Vec<u8>>,
    volume: Option<Arc<Volume>>,
    related: Option<Arc<Object>>,
    access: u32,
    share: u16,
    disposition: u32,
    options: u32,
    operation_flags: u8,
    attributes: u32,
    allocation: i64,
    mode: i8,
    ecps: Vec<EcpSpec>,
    handle_attributes: u32,
    transaction: Option<Transaction>,
}

impl OpenOptions {
    /// An open of `path`, as [`Process::resolve`] understands it.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            raw: None,
            volume: None,
            related: None,
            access: READ_ATTRIBUTES | SYNCHRONIZE,
            share: SHARE_ALL,
            disposition: FILE_OPEN,
            options: FILE_SYNCHRONOUS_IO_NONALERT,
            operation_flags: 0,
            attributes: 0,
            allocation: 0,
            mode: 1,
            ecps: Vec::new(),
            handle_attributes: 0,
            transaction: None,
        }
    }

    /// An open by id on a volume: 8 or 16 bytes.
    #[must_use]
    pub fn by_id(volume: &Arc<Volume>, id: &[u8]) -> Self {
        let mut options = Self::new("");
        options.raw = Some(id.to_vec());
        options.volume = Some(Arc::clone(volume));
        options.options |= FILE_OPEN_BY_FILE_ID;
        options
    }

    /// An open of a name that is given as the bytes of a `UNICODE_STRING`, whatever they are.
    #[must_use]
    pub fn by_raw_name(volume: &Arc<Volume>, name: &[u8]) -> Self {
        let mut options = Self::new("");
        options.raw = Some(name.to_vec());
        options.volume = Some(Arc::clone(volume));
        options
    }

    /// An open of the volume itself.
    #[must_use]
    pub fn of_volume(volume: &Arc<Volume>) -> Self {
        let mut options = Self::new("");
        options.volume = Some(Arc::clone(volume));
        options
    }

    /// An open relative to a directory (or, for `:name`, to a file) that is open already.
    #[must_use]
    pub fn relative(to: &FileHandle, path: &str) -> Self {
        let mut options = Self::new(path);
        options.related = Some(Arc::clone(to.object()));
        options.volume = Some(Arc::clone(to.volume()));
        options
    }

    /// Asks to read data.
    #[must_use]
    pub fn read(self) -> Self {
        self.access(READ_DATA | READ_EA | READ_ATTRIBUTES | SYNCHRONIZE)
    }

    /// Asks to write data.
    #[must_use]
    pub fn write(self) -> Self {
        self.access(WRITE_DATA | APPEND_DATA | WRITE_EA | WRITE_ATTRIBUTES | SYNCHRONIZE)
    }

    /// Asks to execute: what the loader asks for beside reading.
    #[must_use]
    pub fn execute(self) -> Self {
        self.access(EXECUTE | READ_DATA | READ_ATTRIBUTES | SYNCHRONIZE)
    }

    /// Asks to delete or rename.
    #[must_use]
    pub fn delete(self) -> Self {
        self.access(DELETE | READ_ATTRIBUTES | SYNCHRONIZE)
    }

    /// Asks to list a directory.
    #[must_use]
    pub fn list(self) -> Self {
        self.access(READ_DATA | SYNCHRONIZE)
            .options(FILE_DIRECTORY_FILE)
    }

    /// Adds access rights.
    #[must_use]
    pub fn access(mut self, access: u32) -> Self {
        self.access |= access;
        self
    }

    /// Asks for exactly these rights.
    #[must_use]
    pub fn exact_access(mut self, access: u32) -> Self {
        self.access = access;
        self
    }

    /// Sets what others may do meanwhile.
    #[must_use]
    pub fn share(mut self, share: u16) -> Self {
        self.share = share;
        self
    }

    /// Sets the disposition, FILE_SUPERSEDE to FILE_OVERWRITE_IF.
    #[must_use]
    pub fn disposition(mut self, disposition: u32) -> Self {
        self.disposition = disposition;
        self
    }

    /// The file must be new.
    #[must_use]
    pub fn create_new(self) -> Self {
        self.disposition(FILE_CREATE)
    }

    /// The file is made if it is not there.
    #[must_use]
    pub fn create(self) -> Self {
        self.disposition(FILE_OPEN_IF)
    }

    /// The file is made, or emptied if it is there.
    #[must_use]
    pub fn create_always(self) -> Self {
        self.disposition(FILE_OVERWRITE_IF)
    }

    /// Adds create options.
    #[must_use]
    pub fn options(mut self, options: u32) -> Self {
        self.options |= options;
        self
    }

    /// The handle's reads and writes do not wait for their end.
    #[must_use]
    pub fn asynchronous(mut self) -> Self {
        self.options &= !FILE_SYNCHRONOUS_IO_NONALERT;
        self
    }

    /// Only a directory will do.
    #[must_use]
    pub fn directory(self) -> Self {
        self.options(FILE_DIRECTORY_FILE)
    }

    /// Only a file will do.
    #[must_use]
    pub fn file(self) -> Self {
        self.options(FILE_NON_DIRECTORY_FILE)
    }

    /// Past the cache.
    #[must_use]
    pub fn unbuffered(self) -> Self {
        self.options(FILE_NO_INTERMEDIATE_BUFFERING)
    }

    /// A reparse point itself, not what it leads to.
    #[must_use]
    pub fn open_reparse_point(self) -> Self {
        self.options(FILE_OPEN_REPARSE_POINT)
    }

    /// Adds SL_* flags, which user mode cannot set.
    #[must_use]
    pub fn operation_flags(mut self, flags: u8) -> Self {
        self.operation_flags |= flags;
        self
    }

    /// Attributes for a new file.
    #[must_use]
    pub fn attributes(mut self, attributes: u32) -> Self {
        self.attributes = attributes;
        self
    }

    /// Space to set aside for a new file.
    #[must_use]
    pub fn allocation(mut self, bytes: i64) -> Self {
        self.allocation = bytes;
        self
    }

    /// As a kernel component opens: requestor mode kernel.
    #[must_use]
    pub fn kernel_mode(mut self) -> Self {
        self.mode = 0;
        self
    }

    /// Brings an extra create parameter along.
    #[must_use]
    pub fn ecp(mut self, ecp: EcpSpec) -> Self {
        self.ecps.push(ecp);
        self
    }

    /// As part of a transaction, as `CreateFileTransacted` opens.
    #[must_use]
    pub fn transacted(mut self, transaction: Transaction) -> Self {
        self.transaction = Some(transaction);
        self
    }

    /// OBJ_* attributes of the handle.
    #[must_use]
    pub fn handle_attributes(mut self, attributes: u32) -> Self {
        self.handle_attributes = attributes;
        self
    }

    pub(super) fn open(&self, process: &Process) -> Result<FileHandle, NtStatus> {
        let place = match &self.volume {
            Some(volume) => Place {
                volume: Arc::clone(volume),
                name: units(&self.path),
            },
            None => process.resolve(&self.path)?,
        };
        let mut request = CreateRequest::new(&place.volume, &place.name);
        if let Some(raw) = &self.raw {
            request.name.clone_from(raw);
        }
        request.related.clone_from(&self.related);
        request.access = self.access;
        request.share = self.share;
        request.disposition = self.disposition;
        request.options = self.options;
        request.operation_flags = self.operation_flags;
        request.attributes = self.attributes;
        request.allocation = self.allocation;
        request.mode = self.mode;
        request.ecps.clone_from(&self.ecps);
        request.transaction = self.transaction;
        let m = process.machine();
        let opened = create_file(m, &request)?;
        let handle = insert_handle(m, process.kernel(), &opened, self.handle_attributes);
        opened.object.dereference(m);
        Ok(FileHandle::new(process, handle, opened, self.mode))
    }
}
