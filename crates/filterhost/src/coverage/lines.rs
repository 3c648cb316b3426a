//! Where lines and basic blocks begin, from an image's code and its PDB.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use pdb_addr2line::pdb::PDB;
use pdb_addr2line::{ContextPdbData, TypeFormatterFlags};

use super::Line;
use crate::image::{ImageError, Plan, code_of, functions};

/// Why the places of an image are not known.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The image cannot be read.
    #[error("the image: {0}")]
    Image(#[from] ImageError),
    /// The PDB cannot be read.
    #[error("{path}: {cause}; build the image with debug information")]
    Pdb {
        /// Which.
        path: String,
        /// Why.
        cause: String,
    },
}

/// A place where a line or a basic block begins.
pub struct Place {
    /// Its relative address.
    pub rva: u32,
    /// The byte that is there.
    pub byte: u8,
    /// The lines that it belongs to, that of an inlined function first.
    pub lines: Vec<Line>,
}

/// All places of an image, by address.
pub fn places(data: &[u8], pdb: &Path) -> Result<Vec<Place>, PlanError> {
    let plan = Plan::parse(data)?;
    let wrong = |cause: &dyn std::fmt::Display| PlanError::Pdb {
        path: pdb.display().to_string(),
        cause: cause.to_string(),
    };
    let open = || File::open(pdb).map_err(|cause| wrong(&cause));
    let functions = functions(open()?).map_err(|cause| wrong(&cause))?;
    let file = PDB::open(open()?).map_err(|cause| wrong(&cause))?;
    let symbols = ContextPdbData::try_from_pdb(file).map_err(|cause| wrong(&cause))?;
    let context = symbols
        .make_context_with_formatter_flags(TypeFormatterFlags::NO_ARGUMENTS)
        .map_err(|cause| wrong(&cause))?;
    let mut found = Vec::new();
    for function in functions {
        let Some(code) = code_of(&plan, data, &function) else {
            continue;
        };
        let lines_at = |rva: u32| -> Vec<Line> {
            let frames = context.find_frames(rva).ok().flatten();
            let frames = frames.map(|found| found.frames).unwrap_or_default();
            let line = |frame: pdb_addr2line::Frame<'_>| {
                // Code of the compiler's own has the line 0.
                let line = frame.line.filter(|line| *line != 0)?;
                Some((frame.file?.into_owned(), line))
            };
            frames.into_iter().filter_map(line).collect()
        };
        found.extend(places_of(code, function.start, lines_at));
    }
    found.sort_by_key(|place| place.rva);
    found.dedup_by_key(|place| place.rva);
    Ok(found)
}

/// The places of one function, whose code is loaded at `rva`.
fn places_of(code: &[u8], rva: u32, lines_at: impl Fn(u32) -> Vec<Line>) -> Vec<Place> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    decoder.set_ip(u64::from(rva));
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    let targets: BTreeSet<u64> = instructions
        .iter()
        .filter(|it| it.is_jmp_short_or_near() || it.is_jcc_short_or_near())
        .map(Instruction::near_branch_target)
        .collect();
    let mut found = Vec::new();
    let mut before = None;
    let mut begins = true;
    for instruction in instructions {
        if instruction.is_invalid() {
            break;
        }
        let at = instruction.ip() as u32;
        let lines = lines_at(at);
        // A breakpoint of the driver's own is a crash, and stays one.
        let is_breakpoint = instruction.mnemonic() == Mnemonic::Int3;
        let is_new =
            begins || targets.contains(&instruction.ip()) || before.as_ref() != Some(&lines);
        if is_new && !is_breakpoint {
            found.push(Place {
                rva: at,
                byte: code.get((at - rva) as usize).copied().unwrap_or_default(),
                lines: lines.clone(),
            });
        }
        before = Some(lines);
        begins = !matches!(
            instruction.flow_control(),
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
        );
    }
    found
}
