//! The signal handler, and what each thread needs for it.
#![expect(
    unsafe_code,
    reason = "signal handlers and stacks of threads are set up here"
)]

use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::coverage;
use crate::image::{Registers, is_in_image};
use crate::memory::Block;
use crate::record;

const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];
const HANDLER_STACK: usize = 64 << 10;
const LANDING_STACK: usize = 1 << 20;

thread_local! {
    static FAULTS: Cell<*const Landing> = const { Cell::new(null()) };
}

/// What was done before by whoever handles the signals of other code.
static PREVIOUS: OnceLock<Vec<(libc::c_int, libc::sigaction)>> = OnceLock::new();

/// What a fault leaves for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fault {
    /// The signal's number.
    pub signal: i32,
    /// The address that was accessed.
    pub address: usize,
    /// Error code of a page fault: bit 1 write, bit 4 instruction fetch.
    pub code: usize,
    /// Registers at the fault.
    pub registers: Registers,
}

/// A thread's place for a fault.
struct Landing {
    /// Calls between driver and host that have not returned.
    depth: AtomicUsize,
    fault: Cell<Fault>,
    stack_top: usize,
}

/// Keeps a thread's stacks for handling faults until the thread ends.
pub(crate) struct Prepared {
    landing: Box<Landing>,
    _landing_stack: Block,
    _handler_stack: Block,
    /// Lowest and highest address of the thread's ordinary stack.
    pub limits: (usize, usize),
}

impl Drop for Prepared {
    fn drop(&mut self) {
        FAULTS.set(null());
        let off = libc::stack_t {
            ss_sp: null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: turns the alternate stack off before its memory is freed.
        unsafe { libc::sigaltstack(&raw const off, null_mut()) };
        debug_assert_eq!(
            self.landing.depth.load(Ordering::Relaxed),
            0,
            "calls all returned"
        );
    }
}

/// Readies the calling OS thread for driver code.
pub(crate) fn prepare_thread() -> Prepared {
    PREVIOUS.get_or_init(install);
    let handler_stack = Block::zeroed(HANDLER_STACK);
    let landing_stack = Block::zeroed(LANDING_STACK);
    let stack = libc::stack_t {
        ss_sp: handler_stack.pointer(),
        ss_flags: 0,
        ss_size: handler_stack.size(),
    };
    // SAFETY: the stack's memory lives until `Prepared` is dropped, which turns it off first.
    unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
    let landing = Box::new(Landing {
        depth: AtomicUsize::new(0),
        fault: Cell::new(Fault::default()),
        stack_top: landing_stack.address() + landing_stack.size(),
    });
    FAULTS.set(&raw const *landing);
    let limits = stack_limits();
    Prepared {
        landing,
        _landing_stack: landing_stack,
        _handler_stack: handler_stack,
        limits,
    }
}

/// Notes that a call between driver and host begins: faults are the driver's from now on.
pub(crate) fn begin_call() {
    with_landing(|landing| landing.depth.fetch_add(1, Ordering::Relaxed));
}

/// Notes that it has returned.
pub(crate) fn end_call() {
    with_landing(|landing| landing.depth.fetch_sub(1, Ordering::Relaxed));
}

/// The fault that sent the calling thread to its landing.
pub(super) fn fault() -> Fault {
    with_landing(|landing| landing.fault.get()).unwrap_or_default()
}

fn with_landing<R>(run: impl FnOnce(&Landing) -> R) -> Option<R> {
    let landing = FAULTS.get();
    // SAFETY: set by `prepare_thread` to a box that lives until it is set back to null.
    let landing = unsafe { landing.as_ref() };
    landing.map(run)
}

fn stack_limits() -> (usize, usize) {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::zeroed();
    // SAFETY: names the calling thread, takes nothing.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: the structure is ours to fill in, for the calling thread.
    if unsafe { libc::pthread_getattr_np(me, attributes.as_mut_ptr()) } != 0 {
        return (0, 0);
    }
    let (mut start, mut size) = (null_mut(), 0);
    // SAFETY: the attributes were filled in by the call above.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size) };
    // SAFETY: initialised above and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (
        start.expose_provenance(),
        start.expose_provenance().saturating_add(size),
    )
}

fn install() -> Vec<(libc::c_int, libc::sigaction)> {
    SIGNALS
        .iter()
        .map(|signal| (*signal, install_one(*signal)))
        .collect()
}

fn install_one(signal: libc::c_int) -> libc::sigaction {
    // SAFETY: a zeroed sigaction is a valid value: default action, empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the old action is written over it.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: both structures are valid; the handler keeps to what is safe in signals.
    unsafe { libc::sigaction(signal, &raw const action, &raw mut old) };
    old
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid context to a handler with SA_SIGINFO.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: the kernel passes valid information to a handler with SA_SIGINFO.
    let told = unsafe { &*info };
    if coverage::is_ours(signal, told, context) || record::is_ours(signal, told, context) {
        return;
    }
    let registers = registers(context);
    let at = usize::try_from(registers.rip).unwrap_or(0);
    // SAFETY: the signals that this handles are faults, whose information has an address.
    let address = unsafe { told.si_addr() }.addr();
    let general = &mut context.uc_mcontext.gregs;
    let code = usize::try_from(general[libc::REG_ERR as usize]).unwrap_or(0);
    let landed = with_landing(|landing| {
        if landing.depth.load(Ordering::Relaxed) == 0 && !is_in_image(at) {
            return false;
        }
        landing.fault.set(Fault {
            signal,
            address,
            code,
            registers,
        });
        // As after a call: the stack is 8 off a multiple of 16.
        let top = (landing.stack_top & !15) - 8;
        general[libc::REG_RSP as usize] = top as i64;
        general[libc::REG_RIP as usize] = super::landing::land as *const () as usize as i64;
        true
    });
    if landed != Some(true) {
        pass_on(signal, info, context);
    }
}

fn registers(context: &libc::ucontext_t) -> Registers {
    let order = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let general = &context.uc_mcontext.gregs;
    let value = |index: i32| general[index as usize].cast_unsigned();
    Registers {
        rip: value(libc::REG_RIP),
        general: order.map(value),
    }
}

/// A fault that is none of ours: does what was done before, or dies of it.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: &mut libc::ucontext_t) {
    let previous = PREVIOUS
        .get()
        .and_then(|all| all.iter().find(|(own, _)| *own == signal));
    let action = previous.map_or(libc::SIG_DFL, |(_, old)| old.sa_sigaction);
    if action == libc::SIG_DFL || action == libc::SIG_IGN {
        // SAFETY: restores the default, so that the fault repeats and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::ucontext_t);
    // SAFETY: the value came from sigaction as a handler with SA_SIGINFO, as Rust's own has.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(action) };
    handler(signal, info, context);
}
