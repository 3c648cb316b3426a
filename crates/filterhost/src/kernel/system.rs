//! Version, routines by name, guarded copies, identifiers and random numbers.

use core::ffi::c_void;

use super::string::text;
use crate::exports;
use crate::layout::{GUID, UNICODE_STRING};
use crate::memory;
use crate::status::{
    NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_INVALID_PARAMETER, STATUS_RETRY, STATUS_SUCCESS,
};

/// `MM_COPY_MEMORY_PHYSICAL`.
const COPY_PHYSICAL: u32 = 1;
/// `MM_COPY_MEMORY_VIRTUAL`.
const COPY_VIRTUAL: u32 = 2;
/// Size of `RTL_OSVERSIONINFOW`.
const VERSION_SIZE: u32 = 0x114;
/// Size of `RTL_OSVERSIONINFOEXW`.
const VERSION_EX_SIZE: u32 = 0x11c;
/// `VER_PLATFORM_WIN32_NT`.
const PLATFORM_NT: u32 = 2;
/// `VER_NT_SERVER`.
const NT_SERVER: u8 = 3;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Address of a routine of the kernel or the HAL by name; null when this build lacks it.
    [PASSIVE, 0, "wdm/nf-wdm-mmgetsystemroutineaddress"]
    fn MmGetSystemRoutineAddress(c, name: *const UNICODE_STRING) -> *mut c_void {
        let name = text(name);
        let found = ["ntoskrnl.exe", "hal.dll"]
            .iter()
            .find_map(|module| super::resolve(c.m, module, &name));
        c.m.note_look_up(&name, found.is_some());
        found.map_or(std::ptr::null_mut(), std::ptr::with_exposed_provenance_mut)
    }

    /// The version of the system; the caller sets the size of its structure first.
    [PASSIVE, 0, "wdm/nf-wdm-rtlgetversion"]
    fn RtlGetVersion(c, version: *mut u32) -> NTSTATUS {
        let size = memory::read(version);
        if size != VERSION_SIZE && size != VERSION_EX_SIZE {
            return STATUS_INVALID_PARAMETER;
        }
        memory::fill(version.cast::<u8>().wrapping_add(4), 0, size as usize - 4);
        for (index, value) in [10, 0, c.m.build_number(), PLATFORM_NT].into_iter().enumerate() {
            memory::write(version.wrapping_add(index + 1), value);
        }
        if size == VERSION_EX_SIZE {
            memory::write(version.cast::<u8>().wrapping_add(0x11a), NT_SERVER);
        }
        STATUS_SUCCESS
    }

    /// Copies from memory that may not be there, without a fault.
    [APC, 9600, "ntddk/nf-ntddk-mmcopymemory"]
    fn MmCopyMemory(
        c, to: *mut u8, from: usize, size: usize, flags: u32, copied: *mut usize,
    ) -> NTSTATUS {
        memory::write(copied, 0);
        if flags != COPY_VIRTUAL || flags & COPY_PHYSICAL != 0 {
            return STATUS_INVALID_PARAMETER;
        }
        let ranges = c.m.state::<super::user::UserRanges>();
        let bytes = ranges.opened(from, || memory::read_guarded(from, size));
        memory::write_bytes(to, &bytes);
        memory::write(copied, bytes.len());
        if bytes.len() == size { STATUS_SUCCESS } else { STATUS_ACCESS_VIOLATION }
    }

    /// Whether reading an address would fault.
    [DISPATCH, 0, "ntddk/nf-ntddk-mmisaddressvalid"]
    fn MmIsAddressValid(_c, address: usize) -> u8 {
        u8::from(memory::read_guarded(address, 1).len() == 1)
    }

    /// Makes a random (version 4) identifier.
    [PASSIVE, 0, "ntddk/nf-ntddk-exuuidcreate", fails STATUS_RETRY]
    fn ExUuidCreate(c, id: *mut GUID) -> NTSTATUS {
        memory::write(id, crate::volume::random_guid(c.m));
        STATUS_SUCCESS
    }

    /// A random number below 2^31 - 1 that also becomes the next seed.
    [APC, 0, "ntifs/nf-ntifs-rtlrandomex"]
    fn RtlRandomEx(c, seed: *mut u32) -> u32 {
        let mixed = c.m.sched().random() ^ u64::from(memory::read(seed));
        let value = u32::try_from(mixed % 0x7fff_ffff).unwrap_or(0);
        memory::write(seed, value);
        value
    }
}
