//! Where a thread goes on after a fault: writes the report and parks.

use super::handler::{Fault, fault};
use crate::image::{Images, Registers};
use crate::kernel::user::UserRanges;
use crate::machine::{self, Machine};
use crate::pool::tag_text;
use crate::sched::SimThread;
use crate::verifier::{self, Report, Rule};

/// A fault this near to the low end of a stack has run out of it.
const GUARD_SIZE: usize = 0x1_0000;

/// Leaves the calling thread's fault to the controller and parks it. The handler sends threads
/// here, on a stack of its own; the faulting stack stays as it was, for unwinding. The thread
/// may have been in the middle of anything, an allocation say, so it does nothing else.
pub(super) extern "C" fn land() -> ! {
    if let Some((m, thread)) = machine::try_current() {
        m.crashed(thread, fault());
    }
    machine::park_forever()
}

/// The report of a thread's fault. Called on the controlling thread.
pub(crate) fn report(m: &Machine, thread: &SimThread, fault: &Fault) -> Report {
    let images = m.state::<Images>();
    let paged_out = m.paging().is_out();
    // Unwinding reads the image, whose pageable sections may be out.
    m.paging().set(false);
    let (rule, crash, mut detail) = explain(&images, &thread.calls(), fault);
    let (low, _) = thread.stack_limits();
    let freed = m.pool().find_freed(fault.address);
    // Pool or an image may be mapped right below a stack: what is known to be either is no stack.
    let is_other = freed.is_some() || images.at(fault.address).is_some();
    let near_end = !is_other && fault.address.abs_diff(low) <= GUARD_SIZE;
    let known = if near_end {
        Some(&verifier::stack::OVERFLOW)
    } else if freed.is_some() {
        Some(&verifier::special_pool::FREED)
    } else if let Some(rule) = m.pool().beside_a_block(fault.address) {
        Some(rule)
    } else if paged_out && m.paging().is_pool(fault.address) {
        Some(&verifier::paging::POOL)
    } else if paged_out && images.is_paged(fault.address) {
        Some(&verifier::paging::SECTION)
    } else if m.state::<UserRanges>().contains(fault.address) {
        Some(&verifier::port::USER_ADDRESS)
    } else {
        rule
    };
    let name = known
        .filter(|rule| m.judges(rule))
        .map_or(crash, |rule| rule.name);
    if let Some(block) = freed {
        let (size, tag) = (block.request.size, tag_text(block.request.tag));
        let freed = format!(", in a freed pool block (tag {tag}, {size} bytes)");
        detail.push_str(&freed);
    }
    let in_driver = start(&images, fault, thread.stack_limits());
    Report::crash(m, thread, name, detail, in_driver)
}

/// Registers to unwind from, when the fault is in driver code. A call to a bad address has left
/// the image already: its return address is on the stack.
fn start(images: &Images, fault: &Fault, stack: (usize, usize)) -> Option<Registers> {
    let mut registers = fault.registers;
    let at = usize::try_from(registers.rip).unwrap_or(0);
    if images.at(at).is_some_and(|image| !image.is_unloaded()) {
        return Some(registers);
    }
    let rsp = usize::try_from(registers.rsp()).unwrap_or(0);
    if !is_fetch(fault) || rsp < stack.0 || rsp.saturating_add(8) > stack.1 {
        return None;
    }
    let top = std::ptr::with_exposed_provenance::<u64>(rsp);
    registers.rip = crate::memory::read(top);
    registers.general[4] = registers.rsp().wrapping_add(8);
    let at = usize::try_from(registers.rip).unwrap_or(0);
    images.at(at).is_some().then_some(registers)
}

fn is_fetch(fault: &Fault) -> bool {
    fault.signal == libc::SIGSEGV && fault.address as u64 == fault.registers.rip
}

fn explain(
    images: &Images,
    calls: &[crate::exports::CallSite],
    fault: &Fault,
) -> (Option<&'static Rule>, &'static str, String) {
    let crash = |name, detail| (None, name, detail);
    let rip = usize::try_from(fault.registers.rip).unwrap_or(0);
    let image = images.at(rip);
    if image.as_ref().is_some_and(|image| image.is_unloaded()) {
        let name = image.map_or_else(String::new, |image| image.name().to_owned());
        return (
            Some(&verifier::lifetime::UNLOADED_CODE),
            "access-violation",
            format!("code of {name} was called after its unload"),
        );
    }
    let what = match fault.signal {
        libc::SIGILL => return crash("illegal-instruction", format!("at {rip:#x}")),
        libc::SIGFPE => return crash("divide-error", format!("at {rip:#x}")),
        libc::SIGTRAP => return crash("breakpoint", format!("at {rip:#x}")),
        _ if is_fetch(fault) => "called",
        _ if fault.code & 2 != 0 => "wrote to",
        _ => "read",
    };
    let address = fault.address;
    if image.is_some() || is_fetch(fault) {
        return crash(
            "access-violation",
            format!("the driver {what} address {address:#x}"),
        );
    }
    let name = calls.last().map_or("the host", |call| call.name);
    crash(
        "access-violation",
        format!("{name} was given an address that it {what}: {address:#x}"),
    )
}
