//! The one place where the Filter Manager follows pointers that a driver gave.
//!
//! A null pointer is an absent input or an unwanted output. Any other wrong pointer is the
//! driver's fault and ends as its crash; see [`crate::memory`].
#![expect(
    unsafe_code,
    reason = "reads and writes memory named by driver pointers"
)]

use crate::layout::{UNICODE_STRING, Zeroed};
use crate::memory;

/// Reads a value, or gives `None` for a null pointer.
#[must_use]
pub fn read<T: Zeroed>(from: *const T) -> Option<T> {
    (!from.is_null()).then(|| memory::read(from))
}

/// Writes a value; a null pointer is an output that the driver does not want.
pub fn write<T: Copy>(to: *mut T, value: T) {
    if !to.is_null() {
        memory::write(to, value);
    }
}

/// Copies bytes out of the driver's memory.
#[must_use]
pub fn bytes(from: *const u8, length: usize) -> Vec<u8> {
    if from.is_null() {
        Vec::new()
    } else {
        memory::read_bytes(from, length)
    }
}

/// Copies bytes into the driver's memory.
pub fn write_bytes(to: *mut u8, from: &[u8]) {
    if !to.is_null() && !from.is_empty() {
        memory::write_bytes(to, from);
    }
}

/// Copies the text of a counted string.
#[must_use]
pub fn units(from: *const UNICODE_STRING) -> Vec<u16> {
    read(from).map(string_units).unwrap_or_default()
}

/// Copies the text of a counted string that was read already.
#[must_use]
pub fn string_units(string: UNICODE_STRING) -> Vec<u16> {
    wide(string.buffer, usize::from(string.length) / 2)
}

/// Copies UTF-16 units.
#[must_use]
pub fn wide(from: *const u16, count: usize) -> Vec<u16> {
    let raw = bytes(from.cast(), count.saturating_mul(2));
    raw.chunks_exact(2)
        .map(|pair| pair.iter().rev().fold(0, fold_byte))
        .collect()
}

fn fold_byte(word: u16, byte: &u8) -> u16 {
    (word << 8) | u16::from(*byte)
}

/// Reads an 8-bit string up to its terminator, at most 512 bytes.
#[must_use]
pub fn c_string(from: *const u8) -> String {
    let mut out = String::new();
    let mut at = from;
    while out.len() < 512 {
        match read(at) {
            None | Some(0) => break,
            Some(byte) => out.push(char::from(byte)),
        }
        at = at.wrapping_add(1);
    }
    out
}

/// The bytes of UTF-16 text.
#[must_use]
pub fn wide_bytes(text: &[u16]) -> Vec<u8> {
    text.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// Reads one field of a structure that a driver or the host itself owns.
macro_rules! field {
    ($ptr:expr, $($field:tt)+) => {{
        let at = $ptr;
        // SAFETY: the pointer was checked by the caller; only the field's address is formed.
        let place = unsafe { &raw const (*at).$($field)+ };
        // SAFETY: the structure is alive and the field lies inside of it.
        unsafe { place.read_unaligned() }
    }};
}

/// Writes one field of a structure that a driver or the host itself owns.
macro_rules! set_field {
    ($ptr:expr, $value:expr, $($field:tt)+) => {{
        let value = $value;
        let at = $ptr;
        // SAFETY: the pointer was checked by the caller; only the field's address is formed.
        let place = unsafe { &raw mut (*at).$($field)+ };
        // SAFETY: the structure is alive and the field lies inside of it.
        unsafe { place.write_unaligned(value) };
    }};
}

/// A callback-data structure, seen by address.
pub mod data {
    use crate::layout::{
        FILE_OBJECT, FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, IO_STATUS_BLOCK, PVOID,
    };
    use crate::status::NtStatus;

    /// Its flags.
    pub fn flags(data: *const FLT_CALLBACK_DATA) -> u32 {
        field!(data, flags)
    }

    /// Replaces its flags.
    pub fn set_flags(data: *mut FLT_CALLBACK_DATA, flags: u32) {
        set_field!(data, flags, flags);
    }

    /// Its status block.
    pub fn io_status(data: *const FLT_CALLBACK_DATA) -> IO_STATUS_BLOCK {
        field!(data, io_status)
    }

    /// Its status.
    pub fn status(data: *const FLT_CALLBACK_DATA) -> NtStatus {
        NtStatus(field!(data, io_status.status))
    }

    /// Sets its status block.
    pub fn set_status(data: *mut FLT_CALLBACK_DATA, status: NtStatus, information: usize) {
        set_field!(
            data,
            IO_STATUS_BLOCK {
                status: status.0,
                information
            },
            io_status
        );
    }

    /// The thread that asked for the operation.
    pub fn thread(data: *const FLT_CALLBACK_DATA) -> PVOID {
        field!(data, thread)
    }

    /// Address of its parameter block.
    pub fn iopb(data: *const FLT_CALLBACK_DATA) -> *mut FLT_IO_PARAMETER_BLOCK {
        field!(data, iopb)
    }

    /// Its parameter block, copied.
    pub fn block(data: *const FLT_CALLBACK_DATA) -> FLT_IO_PARAMETER_BLOCK {
        let iopb = iopb(data);
        // SAFETY: callback data always points to a live parameter block.
        unsafe { iopb.read() }
    }

    /// Writes its parameter block.
    pub fn set_block(data: *mut FLT_CALLBACK_DATA, block: FLT_IO_PARAMETER_BLOCK) {
        let iopb = iopb(data);
        // SAFETY: callback data always points to a live parameter block.
        unsafe { iopb.write(block) };
    }

    /// Its major function.
    pub fn major(data: *const FLT_CALLBACK_DATA) -> u8 {
        field!(iopb(data), major_function)
    }

    /// Its file object.
    pub fn file_object(data: *const FLT_CALLBACK_DATA) -> *mut FILE_OBJECT {
        field!(iopb(data), target_file_object)
    }

    /// Says which instance handles it now.
    pub fn set_instance(data: *mut FLT_CALLBACK_DATA, instance: PVOID) {
        set_field!(iopb(data), instance, target_instance);
    }

    /// A copy of the structure.
    pub fn copy(data: *const FLT_CALLBACK_DATA) -> FLT_CALLBACK_DATA {
        // SAFETY: the operation is in flight, so its data is alive.
        unsafe { data.read() }
    }
}

/// A file object, seen by address.
pub mod file {
    use crate::layout::{FILE_OBJECT, PVOID, UNICODE_STRING};

    /// `FO_*` flags; 0 for a null pointer.
    pub fn flags(file: *const FILE_OBJECT) -> u32 {
        if file.is_null() {
            0
        } else {
            field!(file, flags)
        }
    }

    /// Sets flags beside those that are set.
    pub fn add_flags(file: *mut FILE_OBJECT, flags: u32) {
        if !file.is_null() {
            set_field!(file, field!(file, flags) | flags, flags);
        }
    }

    /// The stream that it opened; null before the create has succeeded.
    pub fn fs_context(file: *const FILE_OBJECT) -> PVOID {
        if file.is_null() {
            core::ptr::null_mut()
        } else {
            field!(file, fs_context)
        }
    }

    /// The name given to the create.
    pub fn name(file: *const FILE_OBJECT) -> UNICODE_STRING {
        field!(file, file_name)
    }

    /// The device object of its volume.
    pub fn device(file: *const FILE_OBJECT) -> PVOID {
        if file.is_null() {
            core::ptr::null_mut()
        } else {
            field!(file, device_object)
        }
    }

    /// Its current byte offset.
    pub fn position(file: *const FILE_OBJECT) -> i64 {
        if file.is_null() {
            0
        } else {
            field!(file, current_byte_offset)
        }
    }

    /// Sets its current byte offset.
    pub fn set_position(file: *mut FILE_OBJECT, position: i64) {
        set_field!(file, position, current_byte_offset);
    }

    /// What the create's name is relative to.
    pub fn related(file: *const FILE_OBJECT) -> *mut FILE_OBJECT {
        field!(file, related_file_object)
    }
}

/// The members of the parameter union, read and written by the operation's kind.
pub mod parameters {
    use crate::layout::{FLT_IO_PARAMETER_BLOCK, FltCreate, FltSetInfo};

    macro_rules! member {
        ($(#[$meta:meta])* $name:ident : $ty:ty) => {
            $(#[$meta])*
            pub fn $name(block: &FLT_IO_PARAMETER_BLOCK) -> $ty {
                // SAFETY: each member is plain memory for which any bytes are a valid value.
                unsafe { block.parameters.$name }
            }
        };
    }

    member!(
        /// Parameters of a create.
        create: FltCreate
    );
    member!(
        /// Parameters of a set.
        set_info: FltSetInfo
    );
    member!(
        /// The union's bytes.
        words: [u64; 6]
    );
}
