//! The entries that drivers see: each saves the caller's registers and jumps to the function.
//!
//! The saved registers are where a report's unwinding starts, so a violation found deep in the
//! host still names the driver's line. They go to a block that the thread's `gs` points to,
//! because a driver's call leaves no other place to put them.
#![expect(unsafe_code, reason = "machine code is written into memory of its own")]

use core::arch::{asm, naked_asm};
use core::ffi::c_void;
use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::sync::LazyLock;

use super::Export;
use crate::image::Registers;
use crate::memory::{self, Block};
use crate::sched::SimThread;

/// Offset in the `gs` block of `KPCR.Prcb.CurrentThread`, which inlined `KeGetCurrentThread`
/// reads.
const CURRENT_THREAD: usize = 0x188;
/// Offset of the saved registers, behind what Windows defines.
const SAVED: u32 = 0x1000;
/// Offset of the stack pointer that [`leave_start_routine`] goes back to; `run_start` and
/// `leave_start` hold it as a number.
const START_STACK: usize = 0x1080;
const BLOCK_SIZE: usize = 0x1100;
/// Registers that are saved, as x64 numbers them: all that a callee must preserve, and rsp.
const REGISTERS: [u8; 9] = [4, 5, 3, 6, 7, 12, 13, 14, 15];
/// Bytes for each thunk, rounded for alignment.
const THUNK_SIZE: usize = 96;

/// What a thread's `gs` points to while it runs driver code.
pub struct Pcr(Block);

impl Pcr {
    /// A block for the thread whose `ETHREAD` is at `ethread`.
    #[must_use]
    pub fn new(ethread: usize) -> Self {
        let block = Block::zeroed(BLOCK_SIZE);
        memory::write(
            block.pointer::<usize>().wrapping_byte_add(CURRENT_THREAD),
            ethread,
        );
        Self(block)
    }

    /// Makes the calling OS thread's `gs` point here. The block must outlive its driver calls.
    pub fn install(&self) {
        const ARCH_SET_GS: libc::c_int = 0x1001;
        // SAFETY: nothing else in a Linux process uses `gs`; the block is alive and zeroed.
        let result = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, self.0.address()) };
        debug_assert_eq!(result, 0, "setting gs cannot fail for a user address");
    }

    /// Registers of the newest call through a thunk, as they are after its return.
    #[must_use]
    pub fn caller(&self) -> Registers {
        let mut registers = Registers::default();
        let saved = self.0.pointer::<u64>().wrapping_byte_add(SAVED as usize);
        for (index, number) in REGISTERS.iter().enumerate() {
            registers.general[usize::from(*number)] = memory::read(saved.wrapping_add(index));
        }
        let rsp = registers.rsp();
        let at = std::ptr::with_exposed_provenance::<u64>(rsp as usize);
        registers.rip = if rsp == 0 { 0 } else { memory::read(at) };
        registers.general[4] = rsp.wrapping_add(8);
        registers
    }
}

/// MXCSR and the x87 control word of the calling thread.
pub(crate) fn floating_point_control() -> (u32, u16) {
    let (mut mxcsr, mut x87) = (0_u32, 0_u16);
    // SAFETY: stores four bytes to a local.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
    // SAFETY: stores two bytes to a local.
    unsafe { asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags)) };
    (mxcsr, x87)
}

/// Sets what [`floating_point_control`] gives.
pub(crate) fn set_floating_point_control(mxcsr: u32, x87: u16) {
    // SAFETY: the value was read from the register before.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags)) };
    // SAFETY: the value was read from the register before.
    unsafe { asm!("fldcw [{}]", in(reg) &raw const x87, options(nostack, preserves_flags)) };
}

/// A driver's routine that a system thread begins with.
pub type StartRoutine = extern "win64" fn(*mut c_void);

/// Calls the start routine of a system thread. Returns when the routine does, or when it has
/// called `PsTerminateSystemThread` ([`leave_start_routine`]).
pub fn run_start_routine(routine: StartRoutine, context: *mut c_void) {
    run_start(routine, context);
}

/// Makes the newest call through a thunk return not to the driver but to whoever started the
/// thread, by way of its return address. The driver's frames are dropped as they are.
pub fn leave_start_routine(thread: &SimThread) {
    let slot = usize::try_from(thread.caller().rsp())
        .unwrap_or(0)
        .wrapping_sub(8);
    let back = leave_start as *const () as usize;
    memory::write(std::ptr::with_exposed_provenance_mut(slot), back);
}

const _: () = assert!(START_STACK == 0x1080 && START_STACK + 8 <= BLOCK_SIZE);

/// Saves what a caller may rely on, notes the stack pointer, calls the routine.
#[unsafe(naked)]
extern "sysv64" fn run_start(routine: StartRoutine, context: *mut c_void) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // 32 bytes for the callee's parameters, and 8 to align the stack.
        "sub rsp, 40",
        "mov gs:[0x1080], rsp",
        "mov rcx, rsi",
        "call rdi",
        "add rsp, 40",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Returns from [`run_start`], wherever the stack is.
#[unsafe(naked)]
extern "sysv64" fn leave_start() {
    naked_asm!(
        "mov rsp, gs:[0x1080]",
        "add rsp, 40",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The thunk of each provided function, by the address of its real entry.
static THUNKS: LazyLock<BTreeMap<usize, usize>> = LazyLock::new(build);

/// The address to bind a driver's import of `export` to.
#[must_use]
pub fn address(export: &Export) -> usize {
    let entry = export.entry.address();
    THUNKS.get(&entry).copied().unwrap_or(entry)
}

fn build() -> BTreeMap<usize, usize> {
    let mut code = Vec::new();
    let mut offsets = Vec::new();
    for export in super::all() {
        offsets.push((export.entry.address(), code.len()));
        code.extend(thunk(export.entry.address()));
        code.resize(code.len().next_multiple_of(THUNK_SIZE), 0xcc);
    }
    let base = map_code(&code);
    offsets
        .into_iter()
        .map(|(entry, offset)| (entry, base + offset))
        .collect()
}

/// `mov gs:[n], reg` for each saved register, `movabs rax, entry`, `jmp rax`.
fn thunk(entry: usize) -> Vec<u8> {
    let mut code = Vec::with_capacity(THUNK_SIZE);
    let mut offset = SAVED;
    for register in REGISTERS {
        let rex = if register < 8 { 0x48 } else { 0x4c };
        code.extend([0x65, rex, 0x89, 0x04 | (register & 7) << 3, 0x25]);
        code.extend(offset.to_le_bytes());
        offset += 8;
    }
    code.extend([0x48, 0xb8]);
    code.extend((entry as u64).to_le_bytes());
    code.extend([0xff, 0xe0]);
    code
}

fn map_code(code: &[u8]) -> usize {
    let size = code.len().max(1);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping at an address of the system's choice touches nothing.
    let memory = unsafe { libc::mmap(null_mut(), size, access, flags, -1, 0) };
    assert_ne!(
        memory,
        libc::MAP_FAILED,
        "memory for the entries of provided functions"
    );
    memory::write_bytes(memory.cast(), code);
    // SAFETY: the mapping is ours; from now on it is executable and no longer writable.
    let result = unsafe { libc::mprotect(memory, size, libc::PROT_READ | libc::PROT_EXEC) };
    assert_eq!(
        result, 0,
        "the entries of provided functions become executable"
    );
    memory.expose_provenance()
}
