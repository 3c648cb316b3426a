//! Faults in driver code: caught, unwound and told as a report instead of a dead process.
//!
//! A handler on a stack of its own looks where the fault is. In a driver's image, or in the host
//! while it works on a driver's call, it saves the registers and sends the thread to
//! [`landing::land`] on another stack, where it parks while the controller writes the report. Any
//! other fault is the host's own bug and goes to whoever handled it before.

mod handler;
mod landing;

use crate::exports::CallSite;
use crate::image::{Images, Registers, walk};
use crate::machine::Machine;
use crate::sched::SimThread;
use crate::verifier::Frame;

pub(crate) use handler::{Fault, begin_call, end_call, prepare_thread};
pub(crate) use landing::report;

/// The stack of a thread as far as driver frames tell it, innermost first. `now` are the
/// registers where it runs driver code at this moment.
pub(crate) fn stack_of(m: &Machine, thread: &SimThread, now: Option<Registers>) -> Vec<Frame> {
    let images = m.state::<Images>();
    let (low, high) = thread.stack_limits();
    let mut frames = Vec::new();
    if let Some(registers) = now {
        frames.extend(images.describe(&walk(&images, registers, false, low..high)));
    }
    for call in thread.calls().iter().rev() {
        frames.push(Frame {
            module: call.module.to_owned(),
            address: 0,
            function: Some(call.name.to_owned()),
            line: None,
        });
        if let Some(caller) = call.caller {
            frames.extend(images.describe(&walk(&images, caller, true, low..high)));
        }
    }
    frames
}

/// Return addresses of the driver frames that led to the newest call into the host.
pub(crate) fn addresses(m: &Machine, thread: &SimThread) -> Vec<usize> {
    let (low, high) = thread.stack_limits();
    let caller = thread
        .calls()
        .last()
        .and_then(|call: &CallSite| call.caller);
    let walked = caller.map(|caller| walk(&m.state::<Images>(), caller, true, low..high));
    walked.unwrap_or_default()
}
