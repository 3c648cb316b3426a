//! The safe view of one operation: what a callback is given, readable without a raw pointer.
#![expect(
    unsafe_code,
    reason = "reads the structures that the Filter Manager hands out"
)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::context::Transaction;
use crate::kernel::file::{self, File, Instance};
use crate::kernel::{Status, irql};
use crate::sys::constants::{FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, FO_HANDLE_CREATED};
use crate::sys::{
    self, FltCallbackData, FltIoParameterBlock, FltParameters, FltRelatedObjects, P,
    ParamsAcquireSection, ParamsCreate, ParamsFsControl, ParamsSetInformation,
};

/// The callback data of the operation that this thread is in.
///
/// # Invariants
/// All pointers are live and unchanged by others until the callback returns.
pub struct Data<'a> {
    raw: NonNull<FltCallbackData>,
    iopb: NonNull<FltIoParameterBlock>,
    related: NonNull<FltRelatedObjects>,
    instance: Instance<'a>,
    file: File<'a>,
    life: PhantomData<&'a ()>,
}

/// Offset of the name in `FILE_RENAME_INFORMATION`.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_rename_information>
const RENAME_NAME_AT: usize = 0x14;

/// What the name in a create says about the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameHint {
    /// A plain name without a stream part.
    Unnamed,
    /// Empty, an id, or with a stream part: the name proves nothing.
    Unknown,
}

impl<'a> Data<'a> {
    /// # Safety
    /// The pointers are those that a callback of ours was given, used only until it returns; in
    /// a post-operation not one that drains.
    #[must_use]
    pub unsafe fn new(
        raw: *mut FltCallbackData,
        related: *const FltRelatedObjects,
    ) -> Option<Self> {
        let raw = NonNull::new(raw)?;
        let related = NonNull::new(related.cast_mut())?;
        // SAFETY: the caller vouches for the callback data.
        let iopb = NonNull::new(unsafe { (*raw.as_ptr()).iopb })?;
        // SAFETY: the caller vouches for the related objects.
        let instance = unsafe { (*related.as_ptr()).instance };
        // SAFETY: the instance lives during its callback.
        let instance = unsafe { Instance::borrow(instance) }?;
        // SAFETY: the caller vouches for the related objects.
        let file = unsafe { (*related.as_ptr()).file_object };
        // SAFETY: the file object lives during an operation on it.
        let file = unsafe { File::borrow(file) }?;
        Some(Self {
            raw,
            iopb,
            related,
            instance,
            file,
            life: PhantomData,
        })
    }

    /// The Filter Manager's pointer.
    #[must_use]
    pub fn as_ptr(&self) -> *mut FltCallbackData {
        self.raw.as_ptr()
    }

    /// The volume, for questions about who else is attached to it.
    #[must_use]
    pub fn volume(&self) -> P {
        // SAFETY: the related objects live during the callback (invariant).
        unsafe { (*self.related.as_ptr()).volume }
    }

    /// Our instance.
    #[must_use]
    pub fn instance(&self) -> Instance<'a> {
        self.instance
    }

    /// The file object.
    #[must_use]
    pub fn file(&self) -> File<'a> {
        self.file
    }

    /// The filter, for calls that name it.
    #[must_use]
    pub fn filter(&self) -> P {
        // SAFETY: the related objects are live (type invariant).
        unsafe { (*self.related.as_ptr()).filter }
    }

    /// The transaction that the operation is part of.
    #[must_use]
    pub fn transaction(&self) -> Option<Transaction<'_>> {
        // SAFETY: the related objects are live (type invariant).
        let raw = unsafe { (*self.related.as_ptr()).transaction };
        // SAFETY: the transaction lives during its callback, and the view ends with that.
        unsafe { Transaction::borrow(raw) }
    }

    /// Whether the operation is part of a transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        // SAFETY: the related objects are live (type invariant).
        !unsafe { (*self.related.as_ptr()).transaction }.is_null()
    }

    /// The status that the operation has come to.
    #[must_use]
    pub fn status(&self) -> i32 {
        // SAFETY: the callback data is live (type invariant).
        unsafe { (*self.raw.as_ptr()).status }
    }

    /// The information that the operation has come to.
    #[must_use]
    pub fn information(&self) -> usize {
        // SAFETY: the callback data is live (type invariant).
        unsafe { (*self.raw.as_ptr()).information }
    }

    /// The `IRP_*` flags.
    #[must_use]
    pub fn irp_flags(&self) -> u32 {
        // SAFETY: the parameter block is live (type invariant).
        unsafe { (*self.iopb.as_ptr()).irp_flags }
    }

    /// The `SL_*` flags.
    #[must_use]
    pub fn operation_flags(&self) -> u8 {
        // SAFETY: the parameter block is live (type invariant).
        unsafe { (*self.iopb.as_ptr()).operation_flags }
    }

    /// The major function.
    #[must_use]
    pub fn major(&self) -> u8 {
        // SAFETY: the parameter block is live (type invariant).
        unsafe { (*self.iopb.as_ptr()).major }
    }

    fn parameters(&self) -> FltParameters {
        // SAFETY: the parameter block is live; the union is plain bytes.
        unsafe { (*self.iopb.as_ptr()).parameters }
    }

    /// The parameters of a create.
    #[must_use]
    pub fn create(&self) -> ParamsCreate {
        // SAFETY: every bit pattern is a value of this member.
        unsafe { self.parameters().create }
    }

    /// The parameters of a set-information.
    #[must_use]
    pub fn set_information(&self) -> ParamsSetInformation {
        // SAFETY: every bit pattern is a value of this member.
        unsafe { self.parameters().set_information }
    }

    /// Whether a rename names a stream, so that the file's unnamed bytes may be others after it.
    /// What cannot be told does.
    ///
    /// # IRQL
    /// At most APC_LEVEL: the buffer may be paged.
    #[must_use]
    pub fn renames_stream(&self) -> bool {
        irql::at_most_apc();
        let parameters = self.set_information();
        // SAFETY: the callback data is live (type invariant).
        let flags = unsafe { (*self.raw.as_ptr()).flags };
        let system = flags & FLTFL_CALLBACK_DATA_SYSTEM_BUFFER != 0;
        if !system || parameters.info_buffer.is_null() {
            return true;
        }
        let end = RENAME_NAME_AT.wrapping_add(size_of::<u16>());
        if (parameters.length as usize) < end {
            return true;
        }
        // SAFETY: the I/O manager's copy has `length` bytes, more than those up to the name.
        let first = unsafe { parameters.info_buffer.cast::<u8>().add(RENAME_NAME_AT) };
        // SAFETY: the unit lies inside of the I/O manager's copy, as was seen above.
        unsafe { first.cast::<u16>().read_unaligned() == u16::from(b':') }
    }

    /// The parameters of a file-system control.
    #[must_use]
    pub fn fs_control(&self) -> ParamsFsControl {
        // SAFETY: every bit pattern is a value of this member.
        unsafe { self.parameters().fs_control }
    }

    /// The parameters of an acquire for section synchronisation.
    #[must_use]
    pub fn acquire_section(&self) -> ParamsAcquireSection {
        // SAFETY: every bit pattern is a value of this member.
        unsafe { self.parameters().acquire_section }
    }

    /// The access that a create asks for; everything where it cannot be told.
    #[must_use]
    pub fn desired_access(&self) -> u32 {
        let security = self.create().security_context;
        if security.is_null() {
            return u32::MAX;
        }
        // SAFETY: a create's security context lives as long as the create.
        unsafe { (*security).desired_access }
    }

    /// Whether the file object lies on this thread's stack: it must not be given contexts.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn has_stack_file_object(&self) -> bool {
        let (mut low, mut high) = (0, 0);
        // SAFETY: both outputs are ours and outlive the call.
        unsafe { wdk_sys::ntddk::IoGetStackLimits(&raw mut low, &raw mut high) };
        let address = self.file.as_ptr().addr() as u64;
        (low..high).contains(&address)
    }

    /// Whether the volume itself is opened.
    #[must_use]
    pub fn opens_volume(&self) -> bool {
        use crate::sys::constants::FO_VOLUME_OPEN;
        if self.file.flags() & FO_VOLUME_OPEN != 0 {
            return true;
        }
        let object = self.file.as_ptr();
        // SAFETY: the file object lives, and in a pre-create nobody changes its name.
        if usize::from(unsafe { (*object).FileName.Length }) >= size_of::<u16>() {
            return false;
        }
        // SAFETY: the file object lives (type invariant).
        let related = unsafe { (*object).RelatedFileObject };
        // SAFETY: a related file object lives as long as the create that names it.
        unsafe { File::borrow(related) }.is_none_or(|related| related.flags() & FO_VOLUME_OPEN != 0)
    }

    /// What the name that a pre-create sees says about the stream.
    ///
    /// # IRQL
    /// At most APC_LEVEL: the name may be paged.
    #[must_use]
    pub fn name_hint(&self) -> NameHint {
        irql::at_most_apc();
        if self.create().options & crate::sys::constants::FILE_OPEN_BY_FILE_ID != 0 {
            return NameHint::Unknown;
        }
        // SAFETY: the file object lives, and in a pre-create nobody changes its name.
        let name = unsafe { &(*self.file.as_ptr()).FileName };
        // SAFETY: the buffer belongs to the file object, which lives during the create.
        let name = unsafe { file::units(name) };
        if name.is_empty() || name.contains(&u16::from(b':')) {
            NameHint::Unknown
        } else {
            NameHint::Unnamed
        }
    }

    /// The process that owns the operation's thread and the one that the operation is charged
    /// to, as addresses for comparison; zero where there is none.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use]
    pub fn processes(&self) -> (usize, usize) {
        irql::at_most_dispatch();
        // SAFETY: the callback data is live (type invariant).
        let thread = unsafe { (*self.raw.as_ptr()).thread };
        if thread.is_null() {
            return (0, 0);
        }
        // SAFETY: the thread of a live operation lives.
        let owner = unsafe { wdk_sys::ntddk::IoThreadToProcess(thread) };
        // SAFETY: the callback data is live (type invariant).
        let requestor = unsafe { sys::FltGetRequestorProcess(self.raw.as_ptr()) };
        core::hint::black_box(());
        (owner.addr(), requestor.addr())
    }

    /// The id of the process that the operation is charged to, zero where there is none.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use]
    pub fn process_id(&self) -> u64 {
        irql::at_most_dispatch();
        // SAFETY: the callback data is live (type invariant).
        u64::from(unsafe { sys::FltGetRequestorProcessId(self.raw.as_ptr()) })
    }

    /// Whether a handle exists already, so that the open cannot be taken back.
    #[must_use]
    pub fn handle_exists(&self) -> bool {
        self.file.flags() & FO_HANDLE_CREATED != 0
    }

    /// Refuses an open that the file system has made. After this the file object is not to be
    /// used. The caller has seen that no handle exists.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL, in the post-operation of a successful create.
    pub fn refuse(&self, status: Status) {
        irql::passive();
        // SAFETY: the create succeeded and, as the caller saw, has no handle yet.
        unsafe { sys::FltCancelFileOpen(self.instance.as_ptr(), self.file.as_ptr()) };
        // SAFETY: the callback data is live and ours to complete (type invariant).
        unsafe { (*self.raw.as_ptr()).status = status.code() };
        // SAFETY: the callback data is live and ours to complete (type invariant).
        unsafe { (*self.raw.as_ptr()).information = 0 };
    }
}
