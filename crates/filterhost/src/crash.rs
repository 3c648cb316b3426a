//! Faults in driver code: caught, unwound and told as a report.

use crate::sched::SimThread;
use crate::verifier::Frame;

/// Readies the calling OS thread for driver code; gives the limits of its stack.
pub(crate) fn prepare_thread() -> (usize, usize) {
    let here = std::ptr::addr_of!(CRASH).addr();
    (here, here)
}

static CRASH: u8 = 0;

/// The stack of a thread as far as driver frames tell it.
pub(crate) fn stack_of(thread: &SimThread) -> Vec<Frame> {
    let frame = |call: &crate::exports::CallSite| Frame {
        module: call.module.to_owned(),
        address: 0,
        function: Some(call.name.to_owned()),
        line: None,
    };
    thread.calls().iter().rev().map(frame).collect()
}
