//! Walks stacks of driver code by the unwind tables of its image (`.pdata`, `.xdata`).

use std::ops::Range;

use pe_unwind_info::x86_64::{FunctionTableEntries, Register, UnwindState, XmmRegister};

use super::{Image, Images};
use crate::memory;

/// Most frames of one walk.
const FRAMES_MAX: usize = 64;

/// The registers that unwinding needs, numbered as x64 encodes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub rip: u64,
    /// General registers: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub general: [u64; 16],
}

impl Registers {
    /// The stack pointer.
    #[must_use]
    pub fn rsp(&self) -> u64 {
        self.general[4]
    }
}

struct State<'a> {
    registers: &'a mut Registers,
    stack: Range<usize>,
}

impl UnwindState for State<'_> {
    fn read_register(&mut self, register: Register) -> u64 {
        self.registers.general[usize::from(register as u8 & 15)]
    }

    fn read_stack(&mut self, addr: u64) -> Option<u64> {
        let at = usize::try_from(addr).ok()?;
        let inside = at >= self.stack.start && at.checked_add(8)? <= self.stack.end;
        inside.then(|| memory::read(std::ptr::with_exposed_provenance::<u64>(at)))
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.registers.general[usize::from(register as u8 & 15)] = value;
    }

    fn write_xmm_register(&mut self, _register: XmmRegister, _value: u128) {
        // Unwinding needs no vector register.
    }
}

/// Addresses of the driver frames from `registers` outwards, until code that is in no image.
///
/// Return addresses are moved back by one, so that they lie in the call and not after it;
/// `in_call` says that the first address is one too.
#[must_use]
pub fn walk(
    images: &Images,
    mut registers: Registers,
    in_call: bool,
    stack: Range<usize>,
) -> Vec<usize> {
    let mut addresses = Vec::new();
    while addresses.len() < FRAMES_MAX {
        let at = usize::try_from(registers.rip).unwrap_or(0);
        let Some(image) = images.at(at) else { break };
        addresses.push(at - usize::from(in_call || !addresses.is_empty()));
        // Damaged unwind tables must not cost the report that asks for the stack.
        let stack = stack.clone();
        let stepped = std::panic::catch_unwind(|| step(&image, registers, stack));
        match stepped {
            Ok(Some(caller)) => registers = caller,
            _ => break,
        }
    }
    addresses
}

/// Unwinds one frame: gives the registers of the caller.
fn step(image: &Image, mut registers: Registers, stack: Range<usize>) -> Option<Registers> {
    if image.is_unloaded() {
        return None;
    }
    let rva = u32::try_from((registers.rip as usize).checked_sub(image.base())?).ok()?;
    let (table, size) = image.plan().unwind;
    let entries = FunctionTableEntries::parse(image.bytes(table, size as usize));
    let before = registers.rsp();
    let mut state = State {
        registers: &mut registers,
        stack,
    };
    let memory = |rva| Some(image.bytes(rva, usize::MAX)).filter(|bytes| !bytes.is_empty());
    let rip = entries.unwind_frame(&mut state, memory, rva)?;
    registers.rip = rip;
    // A stack that does not shrink is damaged.
    (registers.rsp() > before).then_some(registers)
}
