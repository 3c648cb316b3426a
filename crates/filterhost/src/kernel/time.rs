//! Clocks.

use crate::exports;
use crate::memory;

/// Ticks of the performance counter in a second, as on most machines today.
const FREQUENCY: i64 = 10_000_000;
/// Length of a clock tick in 100 ns: 15.625 ms.
const TICK: u32 = 156_250;

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Time since boot without the time asleep, in 100 ns, as of the last tick.
    [ANY, 0, "wdm/nf-wdm-kequeryunbiasedinterrupttime"]
    fn KeQueryUnbiasedInterruptTime(c) -> u64 {
        c.m.sched().now().0
    }

    /// Time since boot in 100 ns, with the performance counter at that moment.
    [ANY, 0, "wdm/nf-wdm-kequeryinterrupttimeprecise"]
    fn KeQueryInterruptTimePrecise(c, counter: *mut u64) -> u64 {
        let now = c.m.sched().now().0;
        memory::write(counter, now);
        now
    }

    /// The performance counter and its frequency.
    [ANY, 0, "ntifs/nf-ntifs-kequeryperformancecounter"]
    fn KeQueryPerformanceCounter(c, frequency: *mut i64) -> i64 {
        if !frequency.is_null() {
            memory::write(frequency, FREQUENCY);
        }
        i64::try_from(c.m.sched().now().0).unwrap_or(i64::MAX)
    }

    /// The system time in 100 ns since 1601.
    [ANY, 0, "wdm/nf-wdm-kequerysystemtimeprecise"]
    fn KeQuerySystemTimePrecise(c, time: *mut i64) {
        memory::write(time, c.m.sched().system_time());
    }

    /// Length of a clock tick in 100 ns.
    [ANY, 0, "wdm/nf-wdm-kequerytimeincrement"]
    fn KeQueryTimeIncrement(_c) -> u32 {
        TICK
    }

    /// System time as local time; the machine's zone is UTC.
    [ANY, 0, "wdm/nf-wdm-exsystemtimetolocaltime"]
    fn ExSystemTimeToLocalTime(_c, system: *const i64, local: *mut i64) {
        memory::write(local, memory::read(system));
    }
}
