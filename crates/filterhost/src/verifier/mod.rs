//! What ends a run: violations of kernel rules, and the report that tells of them.

mod report;
pub(crate) mod unload;

pub use report::{Frame, Report, ThreadState};

use crate::machine;

/// Ends the run: records a report about the calling thread and parks it for ever.
///
/// `rule` is the short name of the kernel rule; `detail` says what was done and what is right.
pub fn violation(rule: &'static str, detail: impl Into<String>) -> ! {
    let m = machine::current();
    let thread = machine::current_thread();
    m.fail(Report::violation(&m, &thread, rule, detail.into()));
    machine::park_forever()
}

/// As [`violation`], but tells `stack` (where a leaked block was allocated, say) instead of
/// where the calling thread is.
pub fn violation_at(rule: &'static str, detail: impl Into<String>, stack: Vec<Frame>) -> ! {
    let m = machine::current();
    let thread = machine::current_thread();
    let report = Report::violation(&m, &thread, rule, detail.into());
    m.fail(report.with_stack(stack));
    machine::park_forever()
}
