//! Functions, files and lines of an image, from the PDB beside it.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};
use pdb_addr2line::pdb::{self, FallibleIterator, PDB};
use pdb_addr2line::{ContextPdbData, TypeFormatterFlags};

use super::Plan;
use crate::verifier::Frame;

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Function.
    pub function: Option<String>,
    /// File and line.
    pub line: Option<(String, u32)>,
}

/// The places that each address stands for, inlined functions first. Empty where the PDB is
/// missing, damaged or silent.
///
/// The PDB is read anew at each call: reports are rare, and a driver's PDB is small.
#[must_use]
pub fn places(pdb: &Path, rvas: &[u32]) -> Vec<Vec<Place>> {
    // A damaged PDB must not cost the report that asks for it.
    let found = std::panic::catch_unwind(|| look_up(pdb, rvas))
        .ok()
        .flatten();
    found.unwrap_or_else(|| vec![Vec::new(); rvas.len()])
}

fn look_up(pdb: &Path, rvas: &[u32]) -> Option<Vec<Vec<Place>>> {
    let data = ContextPdbData::try_from_pdb(PDB::open(File::open(pdb).ok()?).ok()?).ok()?;
    let flags = TypeFormatterFlags::NO_ARGUMENTS | TypeFormatterFlags::NO_FUNCTION_RETURN;
    let context = data.make_context_with_formatter_flags(flags).ok()?;
    let find = |rva: &u32| {
        let frames = context.find_frames(*rva).ok().flatten();
        let frames = frames.map(|found| found.frames).unwrap_or_default();
        let place = |frame: pdb_addr2line::Frame<'_>| Place {
            function: frame.function,
            line: frame.file.map(|file| file.into_owned()).zip(frame.line),
        };
        frames.into_iter().map(place).collect()
    };
    Some(rvas.iter().map(find).collect())
}

/// Frames for addresses in one image, inlined functions first.
#[must_use]
pub fn frames(module: &str, base: usize, pdb: &Path, addresses: &[usize]) -> Vec<Vec<Frame>> {
    let rva = |address: &usize| u32::try_from(address.wrapping_sub(base)).unwrap_or(u32::MAX);
    let rvas: Vec<u32> = addresses.iter().map(rva).collect();
    let found = places(pdb, &rvas);
    let frame = |address: usize, place: Place| Frame {
        module: module.to_owned(),
        address,
        function: place.function,
        line: place.line,
    };
    let all = |(address, places): (&usize, Vec<Place>)| {
        let none = Place {
            function: None,
            line: None,
        };
        let places = if places.is_empty() {
            vec![none]
        } else {
            places
        };
        places
            .into_iter()
            .map(|place| frame(*address, place))
            .collect()
    };
    addresses.iter().zip(found).map(all).collect()
}

/// The ranges of all functions of a PDB.
pub(crate) fn functions(file: File) -> Result<Vec<Range<u32>>, pdb::Error> {
    let mut pdb = PDB::open(file)?;
    let map = pdb.address_map()?;
    let information = pdb.debug_information()?;
    let mut modules = information.modules()?;
    let mut found = Vec::new();
    while let Some(module) = modules.next()? {
        let Some(module) = pdb.module_info(&module)? else {
            continue;
        };
        let mut symbols = module.symbols()?;
        while let Some(symbol) = symbols.next()? {
            if let Ok(pdb::SymbolData::Procedure(procedure)) = symbol.parse()
                && let Some(rva) = procedure.offset.to_rva(&map)
            {
                found.push(rva.0..rva.0.saturating_add(procedure.len));
            }
        }
    }
    Ok(found)
}

/// A function's bytes in the image's file.
pub(crate) fn code_of<'a>(plan: &Plan, data: &'a [u8], function: &Range<u32>) -> Option<&'a [u8]> {
    let section = plan.sections.iter().find(|section| {
        let end = section.rva.saturating_add(section.size);
        section.rva <= function.start && function.end <= end
    })?;
    let start = section.file.start + (function.start - section.rva) as usize;
    data.get(start..start + (function.end - function.start) as usize)
}

/// Relative addresses of the instructions that write memory other than the stack and whose
/// function, or one that is inlined there, has this text in its name; in order. What only computes
/// is left out: the compiler may move it to before the function begins. `None` where image or PDB
/// cannot be read.
pub(crate) fn writes_of(data: &[u8], pdb: &Path, name: &str) -> Option<Vec<u32>> {
    let plan = Plan::parse(data).ok()?;
    let functions = functions(File::open(pdb).ok()?).ok()?;
    let symbols = ContextPdbData::try_from_pdb(PDB::open(File::open(pdb).ok()?).ok()?).ok()?;
    let flags = TypeFormatterFlags::NO_ARGUMENTS | TypeFormatterFlags::NO_FUNCTION_RETURN;
    let context = symbols.make_context_with_formatter_flags(flags).ok()?;
    let wanted = |rva: u32| {
        let frames = context.find_frames(rva).ok().flatten();
        let frames = frames.map(|found| found.frames).unwrap_or_default();
        let mut functions = frames.into_iter().filter_map(|frame| frame.function);
        functions.any(|function| function.contains(name))
    };
    let mut factory = InstructionInfoFactory::new();
    let mut found = Vec::new();
    for function in functions {
        let code = code_of(&plan, data, &function).unwrap_or_default();
        let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
        decoder.set_ip(u64::from(function.start));
        let instructions: Vec<Instruction> = decoder.into_iter().collect();
        let framed = instructions.iter().any(makes_frame);
        let writes = instructions
            .iter()
            .filter(|it| writes(&mut factory, it, framed));
        found.extend(writes.map(|it| it.ip() as u32).filter(|at| wanted(*at)));
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Whether an instruction makes RBP point into the stack. Without one it is a register like others.
fn makes_frame(instruction: &Instruction) -> bool {
    instruction.op0_register() == Register::RBP
        && match instruction.mnemonic() {
            Mnemonic::Mov => instruction.op1_register() == Register::RSP,
            Mnemonic::Lea => instruction.memory_base() == Register::RSP,
            _ => false,
        }
}

/// Whether an instruction writes memory that is not reached through the stack's registers, which
/// RBP is only in a function with a frame, or writes any under the bus lock.
fn writes(factory: &mut InstructionInfoFactory, instruction: &Instruction, framed: bool) -> bool {
    let used = factory.info(instruction).used_memory();
    let written = |access: OpAccess| {
        use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
        [Write, CondWrite, ReadWrite, ReadCondWrite].contains(&access)
    };
    let of_stack = |base| base == Register::RSP || (framed && base == Register::RBP);
    let locked = instruction.has_lock_prefix() || instruction.mnemonic() == Mnemonic::Xchg;
    used.iter()
        .any(|memory| written(memory.access()) && (locked || !of_stack(memory.base())))
}
