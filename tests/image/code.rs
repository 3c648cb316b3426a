//! The image's instructions, and the functions that the PDB names.

use std::collections::BTreeMap;
use std::fs::File;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use pdb::FallibleIterator;

/// Relative address to name.
pub type Functions = BTreeMap<u32, String>;

/// Every function that the PDB names, by relative virtual address.
pub fn functions(file: File) -> Result<Functions, pdb::Error> {
    let mut pdb = pdb::PDB::open(file)?;
    let map = pdb.address_map()?;
    let table = pdb.global_symbols()?;
    let mut symbols = table.iter();
    let mut found = Functions::new();
    while let Some(symbol) = symbols.next()? {
        if let Ok(pdb::SymbolData::Public(public)) = symbol.parse()
            && public.function
            && let Some(rva) = public.offset.to_rva(&map)
        {
            found.insert(rva.0, public.name.to_string().into_owned());
        }
    }
    Ok(found)
}

/// The first instruction in `code`, which is loaded at `rva`, that a driver must not hold.
///
/// Decoding starts anew at each known function, so that data between two cannot hide one.
pub fn banned(code: &[u8], rva: u32, functions: &Functions) -> Option<String> {
    let end = rva.saturating_add(code.len() as u32);
    let mut starts = vec![rva];
    starts.extend(functions.range(rva + 1..end).map(|(start, _)| *start));
    starts.push(end);
    starts.windows(2).find_map(|pair| {
        let stretch = code.get((pair[0] - rva) as usize..(pair[1] - rva) as usize)?;
        let mut decoder = Decoder::new(64, stretch, DecoderOptions::NONE);
        decoder.set_ip(u64::from(pair[0]));
        let found = decoder.into_iter().find(is_banned)?;
        let name = functions
            .range(..=pair[0])
            .next_back()
            .map_or("?", |(_, name)| name);
        Some(format!(
            "{:?} at {:#x} in {name}",
            found.mnemonic(),
            found.ip()
        ))
    })
}

/// Interrupt flag, machine registers, port I/O, control and debug registers.
fn is_banned(instruction: &Instruction) -> bool {
    use Mnemonic::{Cli, In, Insb, Insd, Insw, Out, Outsb, Outsd, Outsw, Rdmsr, Sti, Wrmsr};
    let by_name = [
        Cli, Sti, Rdmsr, Wrmsr, In, Insb, Insw, Insd, Out, Outsb, Outsw, Outsd,
    ];
    if by_name.contains(&instruction.mnemonic()) {
        return true;
    }
    (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand) as u32;
        let control = Register::CR0 as u32..=Register::CR15 as u32;
        let debug = Register::DR0 as u32..=Register::DR15 as u32;
        let special = control.contains(&register) || debug.contains(&register);
        special && instruction.op_kind(operand) == OpKind::Register
    })
}
