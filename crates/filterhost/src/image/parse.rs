//! Reads a PE image that may be damaged or hostile into a checked plan for mapping it.
//!
//! Everything that [`super::map`] relies on is checked here, so that no header field can make
//! it write out of the image or map memory that is writable and executable.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};

/// Largest image that is accepted, in bytes.
const SIZE_MAX: u32 = 256 << 20;
/// Most relocations and imports that are accepted.
const ENTRIES_MAX: usize = 4 << 20;
const PAGE: u32 = 0x1000;

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The parser of headers and tables found it damaged.
    #[error("the image is damaged: {0}")]
    Damaged(String),
    /// It is a good image of the wrong sort.
    #[error("the image cannot run here: {0}")]
    Unfit(String),
}

fn damaged(what: impl std::fmt::Display) -> ImageError {
    ImageError::Damaged(what.to_string())
}

fn unfit(what: impl std::fmt::Display) -> ImageError {
    ImageError::Unfit(what.to_string())
}

/// What may be done with the pages of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Read only.
    Read,
    /// Read and write.
    Write,
    /// Read and execute.
    Execute,
}

/// A section as it is to be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, with what is not text replaced.
    pub name: String,
    /// Offset in the image.
    pub rva: u32,
    /// Bytes in memory, not rounded.
    pub size: u32,
    /// Where its bytes are in the file; shorter than `size` where the rest is zero.
    pub file: std::ops::Range<usize>,
    /// Access to its pages.
    pub protection: Protection,
}

impl Section {
    /// Whether it may be paged out, as its name says.
    #[must_use]
    pub fn is_pageable(&self) -> bool {
        self.name.starts_with("PAGE")
    }
}

/// One imported function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Module name as written.
    pub module: String,
    /// Function name.
    pub name: String,
    /// Offset of the pointer to be filled in.
    pub slot: u32,
}

/// A checked plan for mapping an image.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Size in memory, a multiple of the page size.
    pub size: u32,
    /// Bytes of headers to map at the start.
    pub headers: usize,
    /// Offset of the entry point, inside an executable section.
    pub entry: u32,
    /// Preferred base.
    pub base: u64,
    /// Sections, ascending, without overlap.
    pub sections: Vec<Section>,
    /// Offsets of 64-bit words to which the load offset is added.
    pub relocations: Vec<u32>,
    /// Functions to bind.
    pub imports: Vec<Import>,
    /// Offset and size of the exception directory (`.pdata`).
    pub unwind: (u32, u32),
    /// Offset of the `/GS` cookie, where the load configuration names one.
    pub cookie: Option<u32>,
    /// It was linked with `/INTEGRITYCHECK`.
    pub force_integrity: bool,
}

impl Plan {
    /// Checks `data` and makes the plan.
    ///
    /// # Errors
    /// [`ImageError`] names the first thing that is wrong.
    pub fn parse(data: &[u8]) -> Result<Self, ImageError> {
        let file = PeFile64::parse(data).map_err(damaged)?;
        let nt = file.nt_headers();
        let header = nt.optional_header();
        check_kind(&file)?;
        let size = header.size_of_image();
        if size == 0 || size > SIZE_MAX || !size.is_multiple_of(PAGE) {
            return Err(damaged(format!("its size in memory is {size:#x} bytes")));
        }
        let sections = sections(&file, data, size)?;
        let headers = header.size_of_headers() as usize;
        let first = sections.first().map_or(size, |section| section.rva);
        if headers > data.len() || headers > first as usize {
            return Err(damaged(format!("its headers claim {headers:#x} bytes")));
        }
        let entry = header.address_of_entry_point();
        let at_entry = sections.iter().find(|section| section.holds(entry, 1));
        if at_entry.is_none_or(|section| section.protection != Protection::Execute) {
            return Err(damaged(format!(
                "entry point {entry:#x} is in no executable section"
            )));
        }
        let relocations = relocations(&file, data, size, &sections)?;
        let imports = imports(&file, data, &sections)?;
        let unwind = directory(&file, pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION);
        let in_section = |section: &Section| section.holds(unwind.0, unwind.1);
        if unwind.1 != 0 && !sections.iter().any(in_section) {
            return Err(damaged("its exception directory is in no section"));
        }
        let base = header.image_base();
        let cookie = cookie(&file, data, base, &sections);
        Ok(Self {
            size,
            headers,
            entry,
            base,
            sections,
            relocations,
            imports,
            unwind,
            cookie,
            force_integrity: header.dll_characteristics()
                & pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY
                != 0,
        })
    }
}

impl Section {
    /// True when `size` bytes at `rva` are inside the section.
    #[must_use]
    pub fn holds(&self, rva: u32, size: u32) -> bool {
        let end = self.rva.saturating_add(self.size);
        rva >= self.rva && rva.checked_add(size).is_some_and(|last| last <= end)
    }
}

fn check_kind(file: &PeFile64<'_>) -> Result<(), ImageError> {
    let nt = file.nt_headers();
    let machine = nt.file_header().machine.get(LE);
    if machine != pe::IMAGE_FILE_MACHINE_AMD64 {
        return Err(unfit(format!(
            "it is for machine type {machine:#06x}, not x64 (0x8664)"
        )));
    }
    let subsystem = nt.optional_header().subsystem();
    if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE {
        return Err(unfit(format!(
            "its subsystem is {subsystem}, not native (1)"
        )));
    }
    let alignment = nt.optional_header().section_alignment();
    if alignment < PAGE || !alignment.is_power_of_two() {
        return Err(unfit(format!(
            "its sections are aligned to {alignment:#x} bytes"
        )));
    }
    let flags = nt.file_header().characteristics.get(LE);
    if flags & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        return Err(unfit("its relocations were stripped"));
    }
    Ok(())
}

fn sections(file: &PeFile64<'_>, data: &[u8], size: u32) -> Result<Vec<Section>, ImageError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut next = PAGE;
    for header in file.section_table().iter() {
        let name = String::from_utf8_lossy(&header.name);
        let name = name.trim_end_matches('\0').to_owned();
        let rva = header.virtual_address.get(LE);
        let raw = header.size_of_raw_data.get(LE);
        let stated = header.virtual_size.get(LE);
        let bytes = if stated == 0 { raw } else { stated };
        let end = rva.checked_add(bytes).filter(|end| *end <= size);
        let Some(end) = end.filter(|_| rva >= next && rva.is_multiple_of(PAGE)) else {
            return Err(damaged(format!(
                "section {name} is at {rva:#x}, {bytes:#x} bytes long"
            )));
        };
        let start = header.pointer_to_raw_data.get(LE) as usize;
        let length = raw.min(bytes) as usize;
        let start = if length == 0 { 0 } else { start };
        let range = start..start.saturating_add(length);
        if range.end > data.len() {
            return Err(damaged(format!("section {name} ends after the file's end")));
        }
        let protection = protection(&name, header.characteristics.get(LE))?;
        sections.push(Section {
            name,
            rva,
            size: bytes,
            file: range,
            protection,
        });
        next = end.next_multiple_of(PAGE);
    }
    if sections.is_empty() {
        return Err(damaged("it has no sections"));
    }
    Ok(sections)
}

fn protection(name: &str, flags: u32) -> Result<Protection, ImageError> {
    let write = flags & pe::IMAGE_SCN_MEM_WRITE != 0;
    let execute = flags & pe::IMAGE_SCN_MEM_EXECUTE != 0;
    match (write, execute) {
        (true, true) => Err(unfit(format!(
            "section {name} is both writable and executable"
        ))),
        (true, false) => Ok(Protection::Write),
        (false, true) => Ok(Protection::Execute),
        (false, false) => Ok(Protection::Read),
    }
}

fn directory(file: &PeFile64<'_>, index: usize) -> (u32, u32) {
    file.data_directory(index)
        .map_or((0, 0), pe::ImageDataDirectory::address_range)
}

fn relocations(
    file: &PeFile64<'_>,
    data: &[u8],
    size: u32,
    sections: &[Section],
) -> Result<Vec<u32>, ImageError> {
    let mut found = Vec::new();
    let table = file.section_table();
    let blocks = file
        .data_directories()
        .relocation_blocks(data, &table)
        .map_err(damaged)?;
    let Some(mut blocks) = blocks else {
        return Ok(found);
    };
    while let Some(block) = blocks.next().map_err(damaged)? {
        for relocation in block {
            match relocation.typ {
                pe::IMAGE_REL_BASED_ABSOLUTE => continue,
                pe::IMAGE_REL_BASED_DIR64 => {}
                other => return Err(damaged(format!("relocation type {other} is not for x64"))),
            }
            let rva = relocation.virtual_address;
            let inside = sections.iter().any(|section| section.holds(rva, 8));
            if !inside || rva >= size || found.len() >= ENTRIES_MAX {
                return Err(damaged(format!(
                    "a relocation at {rva:#x} is in no section"
                )));
            }
            found.push(rva);
        }
    }
    Ok(found)
}

fn imports(
    file: &PeFile64<'_>,
    data: &[u8],
    sections: &[Section],
) -> Result<Vec<Import>, ImageError> {
    let mut found = Vec::new();
    let table = file.section_table();
    let imports = file
        .data_directories()
        .import_table(data, &table)
        .map_err(damaged)?;
    let Some(imports) = imports else {
        return Ok(found);
    };
    let mut modules = imports.descriptors().map_err(damaged)?;
    while let Some(module) = modules.next().map_err(damaged)? {
        let name = text(imports.name(module.name.get(LE)).map_err(damaged)?)?;
        let names = match module.original_first_thunk.get(LE) {
            0 => module.first_thunk.get(LE),
            names => names,
        };
        let mut thunks = imports.thunks(names).map_err(damaged)?;
        let mut slot = module.first_thunk.get(LE);
        while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>().map_err(damaged)? {
            let value = thunk.0.get(LE);
            if value & pe::IMAGE_ORDINAL_FLAG64 != 0 {
                return Err(unfit(format!(
                    "it imports {name} by ordinal {}",
                    value & 0xffff
                )));
            }
            let at = u32::try_from(value).map_err(damaged)?;
            let (_, function) = imports.hint_name(at).map_err(damaged)?;
            let inside = sections.iter().any(|section| section.holds(slot, 8));
            if !inside || found.len() >= ENTRIES_MAX {
                return Err(damaged(format!("an import of {name} is in no section")));
            }
            found.push(Import {
                module: name.clone(),
                name: text(function)?,
                slot,
            });
            slot = slot.saturating_add(8);
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Result<String, ImageError> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(damaged("an import's name is not text"));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Where the load configuration says that the `/GS` cookie is, if that is a writable word.
fn cookie(file: &PeFile64<'_>, data: &[u8], base: u64, sections: &[Section]) -> Option<u32> {
    /// Offset of `SecurityCookie` in `IMAGE_LOAD_CONFIG_DIRECTORY64`.
    const COOKIE: usize = 0x58;
    let directory = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG)?;
    let bytes = directory.data(data, &file.section_table()).ok()?;
    let word = bytes.get(COOKIE..COOKIE + 8)?;
    let address = u64::from_le_bytes(word.try_into().ok()?);
    let rva = u32::try_from(address.checked_sub(base)?).ok()?;
    let writable = |section: &&Section| section.protection == Protection::Write;
    sections
        .iter()
        .filter(writable)
        .any(|section| section.holds(rva, 8))
        .then_some(rva)
}
