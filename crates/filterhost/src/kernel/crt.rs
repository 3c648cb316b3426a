//! Memory functions that compilers call, and their `Rtl` relatives.

use crate::exports;
use crate::memory;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Copies bytes; the ranges do not overlap.
    [ANY, 0, "https://learn.microsoft.com/cpp/c-runtime-library/reference/memcpy-wmemcpy"]
    fn memcpy(_c, to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        memory::copy(to, from, size);
        to
    }

    /// Copies bytes; the ranges may overlap.
    [ANY, 0, "https://learn.microsoft.com/cpp/c-runtime-library/reference/memmove-wmemmove"]
    fn memmove(_c, to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        memory::copy(to, from, size);
        to
    }

    /// Fills bytes.
    [ANY, 0, "https://learn.microsoft.com/cpp/c-runtime-library/reference/memset-wmemset"]
    fn memset(_c, to: *mut u8, value: i32, size: usize) -> *mut u8 {
        memory::fill(to, value.to_le_bytes()[0], size);
        to
    }

    /// Compares bytes: below, at or above 0.
    [ANY, 0, "https://learn.microsoft.com/cpp/c-runtime-library/reference/memcmp-wmemcmp"]
    fn memcmp(_c, one: *const u8, two: *const u8, size: usize) -> i32 {
        let at = memory::common_prefix(one, two, size);
        if at == size {
            return 0;
        }
        let byte = |pointer: *const u8| i32::from(memory::read(pointer.wrapping_add(at)));
        byte(one) - byte(two)
    }

    /// Copies bytes; the ranges may overlap.
    [ANY, 0, "wdm/nf-wdm-rtlmovememory"]
    fn RtlMoveMemory(_c, to: *mut u8, from: *const u8, size: usize) {
        memory::copy(to, from, size);
    }

    /// Copies bytes.
    [ANY, 0, "wdm/nf-wdm-rtlcopymemory"]
    fn RtlCopyMemory(_c, to: *mut u8, from: *const u8, size: usize) {
        memory::copy(to, from, size);
    }

    /// Fills bytes.
    [ANY, 0, "wdm/nf-wdm-rtlfillmemory"]
    fn RtlFillMemory(_c, to: *mut u8, size: usize, value: u8) {
        memory::fill(to, value, size);
    }

    /// Zeroes bytes.
    [ANY, 0, "wdm/nf-wdm-rtlzeromemory"]
    fn RtlZeroMemory(_c, to: *mut u8, size: usize) {
        memory::fill(to, 0, size);
    }

    /// Number of leading bytes that are equal.
    [ANY, 0, "wdm/nf-wdm-rtlcomparememory"]
    fn RtlCompareMemory(_c, one: *const u8, two: *const u8, size: usize) -> usize {
        memory::common_prefix(one, two, size)
    }

    /// Units of a string before its terminator.
    [ANY, 0, "https://learn.microsoft.com/cpp/c-runtime-library/reference/strlen-wcslen-mbslen-mbslen-l-mbstrlen-mbstrlen-l"]
    fn wcslen(_c, text: *const u16) -> usize {
        let ends = |at: &usize| memory::read(text.wrapping_add(*at)) == 0;
        (0..).find(ends).unwrap_or(0)
    }

    /// Where exceptions of `__try` blocks arrive. The host raises none: what would be one ends the
    /// run with the crash that it is, also within `__try`.
    [ANY, 0, "https://learn.microsoft.com/cpp/build/exception-handling-x64"]
    fn __C_specific_handler(
        c, record: *mut u8, frame: *mut u8, _context: *mut u8, _dispatcher: *mut u8,
    ) -> i32 {
        c.stop("unsupported", format!("exception {record:p} of frame {frame:p} is to be handled"));
    }
}
