//! Memory descriptor lists: descriptions of buffers, and views of them for drivers.

use crate::exports;
use crate::layout::{MDL, PVOID};
use crate::memory;

/// `MDL_MAPPED_TO_SYSTEM_VA`.
const MAPPED: i16 = 1;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Maps the pages that a list describes. A page has one address in the host, so the view is
    /// where the buffer is; the list says afterwards that it is mapped.
    [DISPATCH, 0, "wdm/nf-wdm-mmmaplockedpagesspecifycache"]
    fn MmMapLockedPagesSpecifyCache(
        c, list: *mut MDL, mode: i8, _cache: i32, wanted: PVOID, _stop: u32, _priority: u32,
    ) -> PVOID {
        if mode != 0 || !wanted.is_null() {
            c.stop("unsupported", "a view at a user address is not provided");
        }
        let mut fields = memory::read(list);
        let at = fields.start_va.cast::<u8>().wrapping_add(fields.byte_offset as usize);
        if c.is_to_fail() {
            return core::ptr::null_mut();
        }
        fields.mapped_system_va = at.cast();
        fields.mdl_flags |= MAPPED;
        memory::write(list, fields);
        at.cast()
    }
}
