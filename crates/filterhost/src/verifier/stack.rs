//! How much of the stack a driver uses.
//!
//! The kernel's stack is 24 KiB for everybody on the thread. A driver's part is seen at each of
//! its calls into the host: what lies between a callback's beginning and that call. Frames of the
//! host in between do not count.

use crate::sched::SimThread;

/// A callback's own frames: a quarter of the stack, in bytes.
const CALLBACK_MAX: usize = 6 << 10;
/// How the names of callbacks end that run on a stack which is not the driver's own.
const ON_FOREIGN_STACK: [&str; 2] = ["callback", "routine"];
/// All of a driver's frames on one thread, in bytes: the whole stack.
const TOTAL_MAX: usize = 24 << 10;

super::rules! {
    "Stack", "stack";

    CALLBACK = "stack-callback": "A driver's frames from one callback take at most 6 KiB."
        ["Using the Kernel Stack",
         "https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-kernel-stack"]
        off: "The callback goes on.";
    TOTAL = "stack-total": "A driver's frames on a thread take at most 24 KiB."
        ["How do I keep my driver from running out of kernel-mode stack?",
         "https://learn.microsoft.com/previous-versions/windows/hardware/design/dn613940(v=vs.85)"]
        off: "The thread goes on, until its stack in the host has an end.";
    OVERFLOW = "stack-overflow": "A driver leaves the rest of the kernel some stack."
        ["Using the Kernel Stack",
         "https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-kernel-stack"]
        off: "The run ends with `access-violation`: there is no more.";
}

/// Judges the frames that led to the newest call into the host.
pub(crate) fn check(thread: &SimThread) {
    let (newest, name, total) = thread.driver_stack();
    if newest > CALLBACK_MAX && ON_FOREIGN_STACK.iter().any(|end| name.ends_with(end)) {
        let detail = format!("the frames of a {name} take {newest} bytes; {CALLBACK_MAX} at most");
        super::violation(&CALLBACK, detail);
    }
    if total > TOTAL_MAX {
        let detail = format!("the driver's frames take {total} bytes; {TOTAL_MAX} at most");
        super::violation(&TOTAL, detail);
    }
}
