//! Questions about an open file or its volume, asked below our own instance so that they never
//! come back to us, and the references that keep a file reachable for a driver thread.
#![expect(unsafe_code, reason = "calls the Filter Manager with borrowed objects")]

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::routine;
use super::{Status, irql};
use crate::registration::view::Data;
use crate::sys::constants::{
    FILE_ATTRIBUTE_TAG_INFORMATION, FILE_FS_ATTRIBUTE_INFORMATION, FILE_ID_INFORMATION,
    FILE_STANDARD_INFORMATION, FLT_FILE_NAME_OPENED, FLT_FILE_NAME_QUERY_DEFAULT,
    FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET, FLTFL_IO_OPERATION_NON_CACHED,
    FO_DELETE_ON_CLOSE, RECALL_ATTRIBUTES, STATUS_DELETE_PENDING, STATUS_FILE_DELETED,
};
use crate::sys::{
    self, FILE_OBJECT, FileFsAttributeInformation, FileIdInformation, FltFileNameInformation, Guid,
    IoStatusBlock, P, UNICODE_STRING,
};

/// Our instance on a volume, alive for as long as the borrow.
#[derive(Clone, Copy)]
pub struct Instance<'a>(NonNull<core::ffi::c_void>, PhantomData<&'a ()>);

/// A file object, alive for as long as the borrow.
#[derive(Clone, Copy)]
pub struct File<'a>(NonNull<FILE_OBJECT>, PhantomData<&'a ()>);

impl Instance<'_> {
    /// # Safety
    /// The instance lives, referenced or inside one of its callbacks, for the lifetime chosen.
    #[must_use]
    pub unsafe fn borrow(raw: P) -> Option<Self> {
        Some(Self(NonNull::new(raw)?, PhantomData))
    }

    /// The Filter Manager's pointer.
    #[must_use]
    pub fn as_ptr(self) -> P {
        self.0.as_ptr()
    }
}

impl File<'_> {
    /// # Safety
    /// The file object lives, referenced or inside an operation on it, for the lifetime chosen.
    #[must_use]
    pub unsafe fn borrow(raw: *mut FILE_OBJECT) -> Option<Self> {
        Some(Self(NonNull::new(raw)?, PhantomData))
    }

    /// The I/O manager's pointer.
    #[must_use]
    pub fn as_ptr(self) -> *mut FILE_OBJECT {
        self.0.as_ptr()
    }

    /// The `FO_*` flags at this moment.
    #[must_use]
    pub fn flags(self) -> u32 {
        // SAFETY: the file object lives (type), so the field's address is inside of it.
        let flags = unsafe { &raw const (*self.0.as_ptr()).Flags };
        // SAFETY: the file object lives (type) and its flags are one aligned word.
        unsafe { flags.read_volatile() }
    }

    /// Whether the file goes away with this handle, as far as the file object tells.
    #[must_use]
    pub fn delete_pending(self) -> bool {
        // SAFETY: the file object lives (type), so the field's address is inside of it.
        let pending = unsafe { &raw const (*self.0.as_ptr()).DeletePending };
        // SAFETY: the file object lives (type) and the field is one byte.
        let pending = unsafe { pending.read_volatile() };
        pending != 0 || self.flags() & FO_DELETE_ON_CLOSE != 0
    }
}

/// Our instance and a file object on its volume, both referenced.
pub struct Held {
    instance: NonNull<core::ffi::c_void>,
    file: NonNull<FILE_OBJECT>,
}

// SAFETY: both references are counted by the kernel and belong to no thread.
unsafe impl Send for Held {}

impl Held {
    /// Takes both references.
    ///
    /// # Errors
    /// `STATUS_FLT_DELETING_OBJECT` where the instance goes away.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn new(instance: Instance<'_>, file: File<'_>) -> Result<Self, Status> {
        irql::at_most_dispatch();
        // SAFETY: the instance lives (type); the reference is given back in `drop`.
        Status::check(unsafe { sys::FltObjectReference(instance.as_ptr()) })?;
        // SAFETY: the file object lives (type); the reference is given back in `drop`.
        unsafe { wdk_sys::ntddk::ObfReferenceObject(file.as_ptr().cast()) };
        Ok(Self {
            instance: instance.0,
            file: file.0,
        })
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> Instance<'_> {
        Instance(self.instance, PhantomData)
    }

    /// The file object.
    #[must_use]
    pub fn file(&self) -> File<'_> {
        File(self.file, PhantomData)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that `new` took; the file is not used afterwards.
        unsafe { wdk_sys::ntddk::ObfDereferenceObject(self.file.as_ptr().cast()) };
        // SAFETY: gives back the reference that `new` took; the instance is not used afterwards.
        unsafe { sys::FltObjectDereference(self.instance.as_ptr()) };
        core::hint::black_box(());
    }
}

/// Asks for a fixed-size piece of information.
fn query<T: Copy>(
    instance: Instance<'_>,
    file: File<'_>,
    class: i32,
    mut value: T,
) -> Result<T, Status> {
    irql::passive();
    let mut returned = 0;
    // SAFETY: instance and file live (types); the buffer is `value`, of the length given.
    let status = unsafe {
        sys::FltQueryInformationFile(
            instance.as_ptr(),
            file.as_ptr(),
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            class,
            &raw mut returned,
        )
    };
    core::hint::black_box(());
    Status::check(status)?;
    Ok(value)
}

/// The file's 128-bit id.
///
/// # Errors
/// What the file system says; mostly that it has none.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled, no top-level IRP.
pub fn file_id(instance: Instance<'_>, file: File<'_>) -> Result<[u8; 16], Status> {
    let empty = FileIdInformation {
        volume_serial: 0,
        file_id: [0; 16],
    };
    query(instance, file, FILE_ID_INFORMATION, empty).map(|info| info.file_id)
}

/// `FILE_STANDARD_INFORMATION`.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_standard_information>
#[repr(C)]
#[derive(Clone, Copy)]
struct FileStandardInformation {
    allocation_size: i64,
    end_of_file: i64,
    number_of_links: u32,
    delete_pending: u8,
    directory: u8,
}

const _: () = assert!(size_of::<FileStandardInformation>() == 0x18);

fn standard(instance: Instance<'_>, file: File<'_>) -> Result<FileStandardInformation, Status> {
    let empty = FileStandardInformation {
        allocation_size: 0,
        end_of_file: 0,
        number_of_links: 0,
        delete_pending: 0,
        directory: 0,
    };
    query(instance, file, FILE_STANDARD_INFORMATION, empty)
}

/// Whether a file whose deletion is pending stays under another name. What cannot be told, stays.
///
/// It is not documented whether the name that goes is still counted. It is taken not to be: where
/// that is wrong a file counts as one that stays.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled, no top-level IRP.
#[must_use]
pub fn has_other_names(instance: Instance<'_>, file: File<'_>) -> bool {
    standard(instance, file).map_or(true, |info| {
        let goes_at_close = file.flags() & FO_DELETE_ON_CLOSE != 0;
        match info.delete_pending {
            0 if goes_at_close => info.number_of_links > 1,
            0 => true,
            _ => info.number_of_links != 0,
        }
    })
}

/// Whether the file is deleted, or will be with its last handle, as far as the file system tells
/// through this file object.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled.
#[must_use]
pub fn is_deleted(instance: Instance<'_>, file: File<'_>) -> bool {
    match standard(instance, file) {
        Ok(info) => info.delete_pending != 0,
        Err(status) => matches!(status.code(), STATUS_FILE_DELETED | STATUS_DELETE_PENDING),
    }
}

/// `FILE_ATTRIBUTE_TAG_INFORMATION`.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_attribute_tag_information>
#[repr(C)]
#[derive(Clone, Copy)]
struct FileAttributeTagInformation {
    attributes: u32,
    reparse_tag: u32,
}

const _: () = assert!(size_of::<FileAttributeTagInformation>() == 8);

/// Whether reading the file would fetch its bytes from elsewhere. The offline attribute alone says
/// nothing of that: anybody may set it.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled, no top-level IRP.
#[must_use]
pub fn must_not_recall(instance: Instance<'_>, file: File<'_>) -> bool {
    let empty = FileAttributeTagInformation {
        attributes: 0,
        reparse_tag: 0,
    };
    query(instance, file, FILE_ATTRIBUTE_TAG_INFORMATION, empty)
        .is_ok_and(|info| info.attributes & RECALL_ATTRIBUTES != 0)
}

/// The file's size in bytes.
///
/// # Errors
/// What the file system says.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled.
pub fn size(instance: Instance<'_>, file: File<'_>) -> Result<u64, Status> {
    let info = standard(instance, file)?;
    Ok(u64::try_from(info.end_of_file).unwrap_or(0))
}

/// Reads from an open file and says how many bytes came: fewer than asked for at its end. Past the
/// cache, so that the opener's file object is left without a cache map, and with its byte offset
/// as it was. Offset and length are whole sectors, and the buffer is aligned for any device.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/nf-fltkernel-fltreadfile>
///
/// # Errors
/// What the file system says: `STATUS_END_OF_FILE`, `STATUS_FILE_LOCK_CONFLICT` and others.
///
/// # IRQL
/// PASSIVE_LEVEL, APCs enabled, no lock held.
pub fn read(
    instance: Instance<'_>,
    file: File<'_>,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, Status> {
    irql::passive();
    let refused = Status::failure(sys::constants::STATUS_INVALID_PARAMETER);
    let mut offset = i64::try_from(offset).map_err(|_| refused)?;
    let length = u32::try_from(buffer.len()).map_err(|_| refused)?;
    let mut count = 0;
    // SAFETY: instance and file live (types); the buffer is nonpaged memory of the length given,
    // and with no callback the call returns only when the read is over.
    let status = unsafe {
        sys::FltReadFile(
            instance.as_ptr(),
            file.as_ptr(),
            &raw mut offset,
            length,
            buffer.as_mut_ptr().cast(),
            FLTFL_IO_OPERATION_NON_CACHED | FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET,
            &raw mut count,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    core::hint::black_box(());
    Status::check(status)?;
    Ok(buffer.len().min(count as usize))
}

/// Whether a file is one of the memory manager's paging files.
///
/// # IRQL
/// At most APC_LEVEL.
#[must_use]
pub fn is_paging_file(file: File<'_>) -> bool {
    irql::at_most_apc();
    // SAFETY: the file object lives (type) and is only looked at.
    unsafe { sys::FsRtlIsPagingFile(file.as_ptr()) != 0 }
}

/// Whether an open file is a directory. What cannot be told is none: the scan will fail on it.
///
/// # IRQL
/// At most APC_LEVEL.
#[must_use]
pub fn is_directory(instance: Instance<'_>, file: File<'_>) -> bool {
    irql::at_most_apc();
    let mut directory = 0;
    // SAFETY: instance and file live (types); the output is one byte of ours.
    let status =
        unsafe { sys::FltIsDirectory(file.as_ptr(), instance.as_ptr(), &raw mut directory) };
    core::hint::black_box(());
    status >= 0 && directory != 0
}

/// Whether this thread may ask a file system for something at all.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn may_query() -> bool {
    irql::at_most_dispatch();
    // SAFETY: the routine takes nothing and may be called here.
    unsafe { wdk_sys::ntddk::KeAreAllApcsDisabled() == 0 }
}

/// Whether this thread is inside a file system's own work.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn is_nested() -> bool {
    irql::at_most_dispatch();
    // SAFETY: the routine takes nothing; its result is only compared with null.
    !unsafe { wdk_sys::ntddk::IoGetTopLevelIrp() }.is_null()
}

/// The mount manager's GUID of the volume below an instance; `None` while it has none.
///
/// # IRQL
/// PASSIVE_LEVEL; not inside a mount.
#[must_use]
pub fn volume_guid(volume: P) -> Option<[u8; 16]> {
    irql::passive();
    let mut text = [0_u16; 64];
    let mut name = routine::unicode(&text);
    name.Length = 0;
    name.Buffer = text.as_mut_ptr();
    let mut needed = 0;
    // SAFETY: the volume lives during the callback; the string describes our own buffer.
    let status = unsafe { sys::FltGetVolumeGuidName(volume, &raw mut name, &raw mut needed) };
    core::hint::black_box(());
    Status::check(status).ok()?;
    let units = usize::from(name.Length) / 2;
    let text = text.get(..units)?;
    let open = text.iter().position(|unit| *unit == u16::from(b'{'))?;
    let braced = text.get(open..open.checked_add(38)?)?;
    let mut braced = routine::unicode(braced);
    let mut guid = Guid {
        data1: 0,
        data2: 0,
        data3: 0,
        data4: [0; 8],
    };
    // SAFETY: the string describes our own buffer and the GUID has the layout of Windows'.
    let status =
        unsafe { wdk_sys::ntddk::RtlGUIDFromString(&raw mut braced, (&raw mut guid).cast()) };
    Status::check(status).ok()?;
    Some(guid.to_bytes())
}

/// The attributes of the volume's file system (`FILE_DAX_VOLUME` and others).
///
/// # Errors
/// What the file system says.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn volume_attributes(instance: Instance<'_>) -> Result<u32, Status> {
    irql::passive();
    let mut info = FileFsAttributeInformation::EMPTY;
    let mut block = IoStatusBlock::EMPTY;
    // SAFETY: the instance lives (type); the buffers are ours, of the length given.
    let status = unsafe {
        sys::FltQueryVolumeInformation(
            instance.as_ptr(),
            &raw mut block,
            (&raw mut info).cast(),
            size_of::<FileFsAttributeInformation>() as u32,
            FILE_FS_ATTRIBUTE_INFORMATION,
        )
    };
    core::hint::black_box(());
    // A name that did not fit is a warning: the fixed part is there.
    if status != sys::constants::STATUS_BUFFER_OVERFLOW {
        Status::check(status)?;
    }
    Ok(info.attributes)
}

/// Registers the instance for data-scan sections; false where the volume has none.
///
/// # IRQL
/// At most APC_LEVEL.
#[must_use]
pub fn register_for_data_scan(instance: Instance<'_>) -> bool {
    irql::at_most_apc();
    // SAFETY: the instance lives (type), and the call takes nothing else.
    let status = unsafe { sys::FltRegisterForDataScan(instance.as_ptr()) };
    core::hint::black_box(());
    status >= 0
}

/// The name under which a file was opened, referenced.
///
/// # Invariants
/// Points to a live name information that this owns one reference of.
pub struct Name(NonNull<FltFileNameInformation>);

// SAFETY: the information is read-only, counted, and belongs to no thread.
unsafe impl Send for Name {}

impl Name {
    /// Asks for the name in the thread of the operation.
    ///
    /// # Errors
    /// What the Filter Manager says: nested, no traverse right, after cleanup and others.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn opened(data: &Data<'_>) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut info: *mut FltFileNameInformation = ptr::null_mut();
        // SAFETY: the callback data is that of the callback which this thread is in.
        let status = unsafe {
            sys::FltGetFileNameInformation(
                data.as_ptr(),
                FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
                &raw mut info,
            )
        };
        Status::check(status)?;
        let info = NonNull::new(info).ok_or(Status::failure(0))?;
        // INVARIANT: the call above gave a reference to this owner.
        Ok(Self(info))
    }

    /// The whole name, as UTF-16.
    #[must_use]
    pub fn text(&self) -> &[u16] {
        // SAFETY: the information is live and read-only (type invariant).
        let name = unsafe { &(*self.0.as_ptr()).name };
        // SAFETY: the string is part of the information and borrowed with it.
        unsafe { units(name) }
    }

    /// The whole name, as the bytes of its UTF-16.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let text = self.text();
        // SAFETY: the units are initialised, and bytes may lie anywhere.
        unsafe { core::slice::from_raw_parts(text.as_ptr().cast(), size_of_val(text)) }
    }

    /// Whether the name is that of the unnamed stream; `None` where it cannot be parsed.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    #[must_use]
    pub fn is_unnamed(&self) -> Option<bool> {
        irql::at_most_apc();
        // SAFETY: the information is live and referenced (type invariant).
        let status = unsafe { sys::FltParseFileNameInformation(self.0.as_ptr()) };
        core::hint::black_box(());
        Status::check(status).ok()?;
        // SAFETY: the information is live and read-only (type invariant).
        let stream = unsafe { &(*self.0.as_ptr()).stream };
        // SAFETY: the string is part of the information and borrowed with it.
        let stream = unsafe { units(stream) };
        Some(stream.is_empty() || is_default_stream(stream))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this owns.
        unsafe { sys::FltReleaseFileNameInformation(self.0.as_ptr()) };
        core::hint::black_box(());
    }
}

/// Whether the stream part of a name spells the unnamed stream: `::$DATA`, in any case.
fn is_default_stream(stream: &[u16]) -> bool {
    const DEFAULT: [u8; 7] = *b"::$DATA";
    stream.len() == DEFAULT.len()
        && stream.iter().zip(DEFAULT).all(|(unit, byte)| {
            u8::try_from(*unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&byte))
        })
}

/// The units of a counted string; empty where it has no buffer.
///
/// # Safety
/// The string's buffer is live and unchanged for the lifetime chosen.
#[must_use]
pub unsafe fn units<'a>(text: &UNICODE_STRING) -> &'a [u16] {
    if text.Buffer.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for the buffer; the length is in bytes.
    unsafe { core::slice::from_raw_parts(text.Buffer, usize::from(text.Length) / 2) }
}
