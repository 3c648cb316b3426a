//! Functions, files and lines of an image, from the PDB beside it.

use std::fs::File;
use std::path::Path;

use pdb_addr2line::pdb::PDB;
use pdb_addr2line::{ContextPdbData, TypeFormatterFlags};

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
