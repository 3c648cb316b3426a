//! Routines that not every supported Windows exports: looked up by name at run time, so that the
//! image loads on Windows 10 1607 without them.
#![expect(unsafe_code, reason = "calls the kernel's look-up")]

use core::ffi::c_void;
use core::ptr::NonNull;

use crate::sys::UNICODE_STRING;

/// ASCII as UTF-16 at compile time.
#[must_use]
pub const fn utf16<const N: usize>(ascii: &[u8]) -> [u16; N] {
    let mut wide = [0; N];
    let mut rest = ascii;
    let mut out: &mut [u16] = &mut wide;
    while let ([byte, tail @ ..], [place, more @ ..]) = (rest, out) {
        *place = *byte as u16;
        rest = tail;
        out = more;
    }
    wide
}

/// A static UTF-16 string from an ASCII literal.
macro_rules! name {
    ($text:literal) => {{
        static NAME: [u16; $text.len()] = $crate::kernel::routine::utf16($text.as_bytes());
        &NAME
    }};
}
pub(crate) use name;

/// A counted string over `text`, which the kernel only reads. Longer than 32,767 units is cut.
#[must_use]
pub fn unicode(text: &[u16]) -> UNICODE_STRING {
    let bytes = u16::try_from(size_of_val(text)).unwrap_or(u16::MAX - 1);
    UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: text.as_ptr().cast_mut(),
    }
}

/// The address of an exported kernel routine.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn kernel(name: &'static [u16]) -> Option<NonNull<c_void>> {
    let mut name = unicode(name);
    // SAFETY: the string outlives the call and is only read.
    NonNull::new(unsafe { wdk_sys::ntddk::MmGetSystemRoutineAddress(&raw mut name) })
}
