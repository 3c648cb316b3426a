//! Pool allocation.

use core::ffi::c_void;

use crate::crash;
use crate::exports;
use crate::exports::Call;
use crate::irql;
use crate::machine::Machine;
use crate::pool::{PoolError, Request, tag_text};
use crate::verifier;

/// `PagedPool` bit of a `POOL_TYPE`.
const PAGED: u32 = 1;
/// `POOL_RAISE_IF_ALLOCATION_FAILURE`.
const RAISE: u32 = 0x10;
/// `POOL_FLAG_UNINITIALIZED`.
const FLAG_UNINITIALIZED: u64 = 0x2;
/// `POOL_FLAG_RAISE_ON_FAILURE`.
const FLAG_RAISE: u64 = 0x20;
/// `POOL_FLAG_NON_PAGED` and `POOL_FLAG_NON_PAGED_EXECUTE`.
const FLAG_NON_PAGED: u64 = 0x40 | 0x80;
/// `POOL_FLAG_PAGED`.
const FLAG_PAGED: u64 = 0x100;
/// `POOL_FLAG_CACHE_ALIGNED`.
const FLAG_CACHE_ALIGNED: u64 = 0x8;
/// The tag of `ExAllocatePool`, which takes none.
const NO_TAG: u32 = u32::from_le_bytes(*b"None");

struct Wanted {
    size: usize,
    tag: u32,
    paged: bool,
    zeroed: bool,
    raise: bool,
    align: usize,
}

fn allocate(c: &Call<'_>, wanted: &Wanted) -> *mut c_void {
    let level = c.thread.irql();
    if wanted.paged && level > irql::APC {
        c.violation(
            &verifier::irql::PAGED_POOL,
            format!("paged pool allocated at {level}; allowed up to APC_LEVEL"),
        );
    }
    if wanted.size == 0 {
        c.violation(&verifier::pool::SIZE, "a block of no bytes");
    }
    let tag = wanted.tag & 0x7fff_ffff;
    if tag == 0 {
        c.violation(&verifier::pool::TAG_ZERO, "the tag is 0");
    }
    let request = Request {
        size: wanted.size.max(1),
        tag,
        paged: wanted.paged,
        zeroed: wanted.zeroed,
        align: wanted.align,
        stack: crash::addresses(c.m, c.thread),
    };
    let block = if c.m.faults().allocation() {
        None
    } else {
        c.m.pool().allocate(request)
    };
    match block {
        Some(address) => std::ptr::with_exposed_provenance_mut(address),
        None if wanted.raise => c.stop("pool-raise", "raises STATUS_INSUFFICIENT_RESOURCES"),
        None => std::ptr::null_mut(),
    }
}

/// Notes that a block of pool is about to go, with the locks that are in it.
pub(crate) fn locks_gone(m: &Machine, block: usize) {
    if let Some(found) = m.pool().find(block) {
        verifier::lock_order::forget(m, found.address, found.request.size);
        super::resource::memory_gone(m, found.address, found.request.size);
    }
}

fn free(c: &Call<'_>, block: *mut c_void, tag: u32) {
    let found = c.m.pool().find(block.addr());
    locks_gone(c.m, block.addr());
    let paged = found.is_some_and(|found| found.request.paged);
    let level = c.thread.irql();
    if paged && level > irql::APC {
        c.violation(
            &verifier::irql::PAGED_POOL,
            format!("paged pool freed at {level}; allowed up to APC_LEVEL"),
        );
    }
    if let Err(error) = c.m.pool().free(block.addr(), tag & 0x7fff_ffff) {
        let known = c.m.pool().find_freed(block.addr());
        let of = match (&error, known) {
            (PoolError::Twice(_), Some(known)) => format!(" (tag {})", tag_text(known.request.tag)),
            _ => String::new(),
        };
        c.violation(error.rule(), format!("{error}{of}"));
    }
}

fn with_type(kind: u32, size: usize, tag: u32) -> Wanted {
    let (paged, raise) = (kind & PAGED != 0, kind & RAISE != 0);
    Wanted {
        size,
        tag,
        paged,
        zeroed: false,
        raise,
        align: 0,
    }
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Allocates a block with a tag; it holds whatever was there.
    [DISPATCH, 0, "wdm/nf-wdm-exallocatepoolwithtag"]
    fn ExAllocatePoolWithTag(c, kind: u32, size: usize, tag: u32) -> *mut c_void {
        allocate(c, &with_type(kind, size, tag))
    }

    /// Allocates a block without a tag.
    [DISPATCH, 0, "wdm/nf-wdm-exallocatepool"]
    fn ExAllocatePool(c, kind: u32, size: usize) -> *mut c_void {
        allocate(c, &with_type(kind, size, NO_TAG))
    }

    /// Allocates a block and charges the current process; raises on failure unless told not to.
    [DISPATCH, 0, "wdm/nf-wdm-exallocatepoolwithquotatag"]
    fn ExAllocatePoolWithQuotaTag(c, kind: u32, size: usize, tag: u32) -> *mut c_void {
        /// `POOL_QUOTA_FAIL_INSTEAD_OF_RAISE`.
        const FAIL_INSTEAD: u32 = 8;
        let raise = kind & FAIL_INSTEAD == 0;
        allocate(c, &Wanted { raise, ..with_type(kind, size, tag) })
    }

    /// Allocates a zeroed block; null when the flags make no sense or memory is short.
    [DISPATCH, 19041, "wdm/nf-wdm-exallocatepool2"]
    fn ExAllocatePool2(c, flags: u64, size: usize, tag: u32) -> *mut c_void {
        let paged = flags & FLAG_PAGED != 0;
        if paged == (flags & FLAG_NON_PAGED != 0) || size == 0 || tag == 0 {
            return std::ptr::null_mut();
        }
        allocate(c, &Wanted {
            size,
            tag,
            paged,
            zeroed: flags & FLAG_UNINITIALIZED == 0,
            raise: flags & FLAG_RAISE != 0,
            align: if flags & FLAG_CACHE_ALIGNED != 0 { 64 } else { 0 },
        })
    }

    /// Frees a block, checking its tag (0 is any).
    [DISPATCH, 0, "wdm/nf-wdm-exfreepoolwithtag"]
    fn ExFreePoolWithTag(c, block: *mut c_void, tag: u32) {
        free(c, block, tag);
    }

    /// Frees a block.
    [DISPATCH, 0, "ntddk/nf-ntddk-exfreepool"]
    fn ExFreePool(c, block: *mut c_void) {
        free(c, block, 0);
    }

    /// Frees a block; extended parameters are for special cases that are not given here.
    [DISPATCH, 19041, "wdm/nf-wdm-exfreepool2"]
    fn ExFreePool2(c, block: *mut c_void, tag: u32, _extended: *const c_void, _count: u32) {
        free(c, block, tag);
    }
}

/// The Filter Manager's way to memory for I/O past the cache.
pub mod flt {
    use core::ffi::c_void;

    use super::{allocate, free, with_type};
    use crate::exports;
    use crate::fltmgr::instance;
    use crate::layout::PVOID;
    use crate::volume::kind::SECTOR_BYTES;

    exports! {
        EXPORTS = "fltmgr.sys";

        /// Allocates a block that is aligned as the volume's device needs it.
        [DISPATCH, 0, "fltkernel/nf-fltkernel-fltallocatepoolalignedwithtag"]
        fn FltAllocatePoolAlignedWithTag(
            c, by: PVOID, kind: u32, size: usize, tag: u32,
        ) -> *mut c_void {
            instance::expect(c.m, c.info.name, by);
            // A sector covers what any device of the host asks for.
            let mut wanted = with_type(kind, size.max(1), tag);
            wanted.align = usize::try_from(SECTOR_BYTES).unwrap_or(usize::MAX);
            allocate(c, &wanted)
        }

        /// Frees it.
        [DISPATCH, 0, "fltkernel/nf-fltkernel-fltfreepoolalignedwithtag"]
        fn FltFreePoolAlignedWithTag(c, by: PVOID, block: *mut c_void, tag: u32) {
            instance::expect(c.m, c.info.name, by);
            free(c, block, tag);
        }
    }
}
