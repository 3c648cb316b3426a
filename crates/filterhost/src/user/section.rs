//! Section objects and views of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::file_object::{FileHost, file_ref};
use super::handle::FileHandle;
use super::operation::{Operation, Path};
use super::process::Process;
use crate::layout::{
    FltAcquireForSection, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION,
    IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, PAGE_EXECUTE, PAGE_EXECUTE_READ,
    PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY, PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY,
    SEC_IMAGE, SyncTypeCreateSection,
};
use crate::machine::Machine;
use crate::object::{Handle, KernelObject, Kind, Object};
use crate::status::{
    NtStatus, STATUS_END_OF_FILE, STATUS_INVALID_FILE_FOR_SECTION, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PAGE_PROTECTION, STATUS_MAPPED_FILE_SIZE_ZERO, STATUS_OBJECT_TYPE_MISMATCH,
};
use crate::volume::section::SectionUse;
use crate::volume::share::{EXECUTE, READ_DATA, WRITE_DATA};
use crate::volume::{SectionBytes, Volume};

/// A section object: the bytes, and the file object that it keeps from being closed.
pub struct SectionHost {
    /// Taken out when the object is deleted: its host state stays behind.
    bytes: Mutex<Option<Arc<SectionBytes>>>,
    file: Arc<Object>,
}

impl SectionHost {
    /// Makes a section object over an open file object, with one reference.
    ///
    /// # Errors
    /// `INVALID_FILE_FOR_SECTION` for anything but a stream of a file; as
    /// [`SectionBytes::create`].
    pub fn create(
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        file: &Arc<Object>,
        purpose: SectionUse,
    ) -> Result<Arc<Object>, NtStatus> {
        let open = file_ref(file).and_then(|file| volume.fs().open_of(file));
        let open = open.ok_or(STATUS_INVALID_FILE_FOR_SECTION)?;
        if open.kind != crate::volume::fs::open::OpenKind::Stream {
            return Err(STATUS_INVALID_FILE_FOR_SECTION);
        }
        let bytes = SectionBytes::create(m, &open.stream, purpose)?;
        file.reference();
        let host = Arc::new(Self {
            bytes: Mutex::new(Some(bytes)),
            file: Arc::clone(file),
        });
        Ok(m.objects().create(Kind::Section.body_size(), host))
    }

    /// The bytes that a process may read through one of its section handles.
    ///
    /// # Errors
    /// `INVALID_HANDLE`, `OBJECT_TYPE_MISMATCH` when it is no section, `ACCESS_DENIED` when it may
    /// not be mapped to be read.
    pub fn bytes_of_handle(
        m: &Arc<Machine>,
        process: &crate::process::Process,
        handle: Handle,
    ) -> Result<Arc<SectionBytes>, NtStatus> {
        /// `SECTION_MAP_READ`.
        const MAP_READ: u32 = 4;
        let objects = m.objects();
        let object = objects.by_handle(m, process, handle, Some(Kind::Section), MAP_READ)?;
        let host = object.host::<Self>();
        host.and_then(|host| host.bytes())
            .ok_or(STATUS_OBJECT_TYPE_MISMATCH)
    }

    /// The bytes that views show; none once the object is deleted.
    #[must_use]
    pub fn bytes(&self) -> Option<Arc<SectionBytes>> {
        self.bytes.lock().clone()
    }

    /// The file object behind it.
    #[must_use]
    pub fn file(&self) -> &Arc<Object> {
        &self.file
    }
}

/// The bytes behind a section object; none for another object or a section that is deleted.
#[must_use]
pub fn section_bytes(object: &Object) -> Option<Arc<SectionBytes>> {
    object.host::<SectionHost>()?.bytes()
}

impl KernelObject for SectionHost {
    fn kind(&self) -> Kind {
        Kind::Section
    }

    fn deleted(&self, m: &Arc<Machine>, _object: &Arc<Object>) {
        let bytes = self.bytes.lock().take();
        if bytes.is_some_and(|bytes| bytes.purpose() == SectionUse::Writable)
            && let Some(host) = self.file.host::<FileHost>()
        {
            // Dirty pages outlive their section; the lazy writer brings them to the file.
            super::cache::written(m, host.volume(), &self.file);
        }
        self.file.dereference(m);
    }
}

/// A user's section.
pub struct Section {
    process: Process,
    handle: Handle,
    object: Arc<Object>,
    closed: AtomicBool,
}

/// A mapped view of a section: it outlives the section's handle.
pub struct View {
    m: Arc<Machine>,
    object: Arc<Object>,
    bytes: Arc<SectionBytes>,
}

impl FileHandle {
    /// Makes a section over the whole file. `protection` is a PAGE_* value; `attributes` may hold
    /// SEC_IMAGE.
    ///
    /// # Errors
    /// `ACCESS_DENIED` where the handle does not allow it, `MAPPED_FILE_SIZE_ZERO`,
    /// `INVALID_FILE_FOR_SECTION`, `INVALID_PAGE_PROTECTION`, or what filters answer.
    pub fn create_section(&self, protection: u32, attributes: u32) -> Result<Section, NtStatus> {
        let (purpose, needed) = purpose_of(protection, attributes)?;
        for right in needed {
            self.need(*right)?;
        }
        let m = self.process().machine();
        self.synchronize(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, protection)?;
        let made = SectionHost::create(m, self.volume(), self.object(), purpose);
        // Releasing cannot fail in a way that anybody could answer.
        let _released = self.synchronize(IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, protection);
        let object = made.map_err(|status| match status {
            STATUS_END_OF_FILE => STATUS_MAPPED_FILE_SIZE_ZERO,
            other => other,
        })?;
        let kernel = self.process().kernel();
        let handle = m.objects().open_handle(m, kernel, &object, 0xf_001f, 0);
        object.dereference(m);
        let closed = AtomicBool::new(false);
        Ok(Section {
            process: self.process().clone(),
            handle,
            object,
            closed,
        })
    }

    fn synchronize(&self, major: u8, protection: u32) -> Result<(), NtStatus> {
        let m = self.process().machine();
        let function = (major, 0);
        let operation = Operation::new(
            m,
            self.volume(),
            None,
            Path::FsFilter,
            function,
            self.object(),
        );
        let parameters = FltAcquireForSection {
            sync_type: SyncTypeCreateSection,
            page_protection: protection,
            output_information: core::ptr::null_mut(),
        };
        operation.parameters(parameters).run().map(|_| ())
    }
}

fn purpose_of(protection: u32, attributes: u32) -> Result<(SectionUse, &'static [u32]), NtStatus> {
    if attributes & SEC_IMAGE != 0 {
        return Ok((SectionUse::Image, &[EXECUTE]));
    }
    match protection & 0xff {
        PAGE_READONLY | PAGE_WRITECOPY => Ok((SectionUse::Data, &[READ_DATA])),
        PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_WRITECOPY => {
            Ok((SectionUse::Data, &[READ_DATA, EXECUTE]))
        }
        PAGE_READWRITE => Ok((SectionUse::Writable, &[READ_DATA, WRITE_DATA])),
        PAGE_EXECUTE_READWRITE => Ok((SectionUse::Writable, &[READ_DATA, WRITE_DATA, EXECUTE])),
        _ => Err(STATUS_INVALID_PAGE_PROTECTION),
    }
}

impl Section {
    /// The section object.
    ///
    /// # Errors
    /// `INVALID_HANDLE` once the handle is closed.
    pub(super) fn object(&self) -> Result<&Arc<Object>, NtStatus> {
        if self.closed.load(Ordering::Acquire) {
            return Err(STATUS_INVALID_HANDLE);
        }
        Ok(&self.object)
    }

    /// The process that has the handle.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// The handle's value.
    #[must_use]
    pub fn value(&self) -> Handle {
        self.handle
    }

    /// Maps all of it.
    ///
    /// # Errors
    /// `INVALID_HANDLE` once the handle is closed.
    pub fn map(&self) -> Result<View, NtStatus> {
        let open = !self.closed.load(Ordering::Acquire);
        let host = self.object.host::<SectionHost>().filter(|_| open);
        let bytes = host.and_then(|host| host.bytes());
        let bytes = bytes.ok_or(STATUS_INVALID_HANDLE)?;
        self.object.reference();
        Ok(View {
            m: Arc::clone(self.process.machine()),
            object: Arc::clone(&self.object),
            bytes,
        })
    }

    /// Closes the handle; views stay.
    ///
    /// # Errors
    /// `INVALID_HANDLE` if it is closed already.
    pub fn close(&self) -> Result<(), NtStatus> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(STATUS_INVALID_HANDLE);
        }
        let m = self.process.machine();
        m.objects()
            .close_handle(m, self.process.kernel(), self.handle)
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        if may_call_host() && !self.closed.load(Ordering::Acquire) {
            // Closed by the end of its process, perhaps.
            let _closed = self.close();
        }
    }
}

impl View {
    /// Reads; short where the file has shrunk (a real view raises an in-page error there).
    ///
    /// # Errors
    /// `UNEXPECTED_IO_ERROR` if an imported host file cannot be read any more.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, NtStatus> {
        let mut buffer = vec![0; length];
        let count = self.bytes.read_at(offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Writes into the view: no operation goes down the stack, until the lazy writer's.
    ///
    /// # Errors
    /// `ACCESS_VIOLATION` in a view that is not writable or beyond its end.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), NtStatus> {
        self.bytes.write_at(offset, data)?;
        let host = self.object.host::<SectionHost>();
        let file = host.as_ref().map(|host| host.file());
        if let Some((file, host)) = file.and_then(|file| Some((file, file.host::<FileHost>()?))) {
            super::cache::written(&self.m, host.volume(), file);
        }
        Ok(())
    }

    /// Bytes of the view.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.size()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if may_call_host() {
            self.object.dereference(&self.m);
        }
    }
}

/// False where an end of something must not send operations: off the simulated threads, and when
/// the run is over.
pub(super) fn may_call_host() -> bool {
    let running = crate::machine::try_current().is_some_and(|(m, _)| !m.is_over());
    running && !std::thread::panicking()
}
