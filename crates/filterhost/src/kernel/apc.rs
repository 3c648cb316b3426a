//! Critical and guarded regions: holding off asynchronous procedure calls.

use crate::exports;
use crate::irql;
use crate::verifier;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Holds off normal kernel APCs until the matching leave.
    [APC, 0, "ntddk/nf-ntddk-keentercriticalregion"]
    fn KeEnterCriticalRegion(c) {
        c.thread.add_critical_region(1);
    }

    /// Undoes one enter.
    [APC, 0, "ntddk/nf-ntddk-keleavecriticalregion"]
    fn KeLeaveCriticalRegion(c) {
        if c.thread.add_critical_region(-1) < 0 {
            c.thread.add_critical_region(1);
            c.violation(&verifier::region::CRITICAL, "left without having been entered");
        }
    }

    /// Holds off all kernel APCs until the matching leave.
    [APC, 0, "wdm/nf-wdm-keenterguardedregion"]
    fn KeEnterGuardedRegion(c) {
        c.thread.add_guarded_region(1);
    }

    /// Undoes one enter.
    [APC, 0, "wdm/nf-wdm-keleaveguardedregion"]
    fn KeLeaveGuardedRegion(c) {
        if c.thread.add_guarded_region(-1) < 0 {
            c.thread.add_guarded_region(1);
            c.violation(&verifier::region::GUARDED, "left without having been entered");
        }
    }

    /// Whether a region holds normal kernel APCs off; a raised level is not told.
    [DISPATCH, 0, "wdm/nf-wdm-keareapcsdisabled"]
    fn KeAreApcsDisabled(c) -> u8 {
        u8::from(c.thread.is_in_region())
    }

    /// Whether all kernel APCs are held off.
    [DISPATCH, 0, "wdm/nf-wdm-keareallapcsdisabled"]
    fn KeAreAllApcsDisabled(c) -> u8 {
        u8::from(c.thread.guarded_region() > 0 || c.thread.irql() >= irql::APC)
    }
}
