//! Messages to the debugger, and stopping the machine.

use crate::exports;
use crate::memory;

use super::format;

/// `DPFLTR_INFO_LEVEL`: above it, messages of a component are not shown unless asked for.
const SHOWN_LEVEL: u32 = 3;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Prints a formatted message.
    [ANY, 0, "wdm/nf-wdm-dbgprint"]
    fn DbgPrint(
        c, text: *const u8, a: u64, b: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64,
        j: u64, k: u64, l: u64,
    ) -> i32 {
        format::print(c.m, text, &[a, b, d, e, f, g, h, i, j, k, l]);
        0
    }

    /// Prints a formatted message of a component at a level.
    [ANY, 0, "wdm/nf-wdm-dbgprintex"]
    fn DbgPrintEx(
        c, _component: u32, level: u32, text: *const u8, a: u64, b: u64, d: u64, e: u64, f: u64,
        g: u64, h: u64, i: u64, j: u64,
    ) -> i32 {
        if level <= SHOWN_LEVEL {
            format::print(c.m, text, &[a, b, d, e, f, g, h, i, j]);
        }
        0
    }

    /// Stops the machine.
    [ANY, 0, "wdm/nf-wdm-kebugcheckex"]
    fn KeBugCheckEx(c, code: u32, one: u64, two: u64, three: u64, four: u64) {
        let detail = format!("{code:#010x} ({one:#x}, {two:#x}, {three:#x}, {four:#x})");
        c.stop("bug-check", detail)
    }

    /// Stops the machine.
    [ANY, 0, "ntddk/nf-ntddk-kebugcheck"]
    fn KeBugCheck(c, code: u32) {
        c.stop("bug-check", format!("{code:#010x}"))
    }

    /// Stops at a failed assertion.
    [ANY, 0, "https://learn.microsoft.com/windows-hardware/drivers/devtest/assert"]
    fn RtlAssert(c, what: *const u8, file: *const u8, line: u32, _message: *const u8) {
        let text = |pointer: *const u8| {
            let bytes = if pointer.is_null() { Vec::new() } else { memory::c_string(pointer) };
            String::from_utf8_lossy(&bytes).into_owned()
        };
        c.stop("assertion", format!("{} ({}:{line})", text(what), text(file)))
    }

    /// Stops where a debugger would take over.
    [ANY, 0, "wdm/nf-wdm-dbgbreakpoint"]
    fn DbgBreakPoint(c) {
        c.stop("breakpoint", "no debugger is attached")
    }
}
