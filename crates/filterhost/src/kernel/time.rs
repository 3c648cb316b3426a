//! Clocks.

use crate::exports;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Time since boot without the time asleep, in 100 ns.
    [ANY, 0, "https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kequeryunbiasedinterrupttime"]
    fn KeQueryUnbiasedInterruptTime(c) -> u64 {
        c.m.sched().now().0
    }
}
