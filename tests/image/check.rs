//! The rules for the image, as complaints about bytes: nothing here can crash on a damaged file.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, ImageThunkData, PeFile64};

use crate::code::{self, Functions};
use crate::list::{Imports, Listed};

/// What the rules are checked against.
pub struct Facts {
    pub functions: Functions,
    pub imports: Imports,
    pub size_max: u64,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    WellFormed,
    Subsystem,
    DllFlag,
    Exports,
    Entry,
    Module,
    NotListed,
    TooNew,
    Relocations,
    Protections,
    WriteAndExecute,
    Pageable,
    Checksum,
    Version,
    Instruction,
    Size,
}

/// A rule that is broken, and how.
pub struct Complaint {
    pub rule: Rule,
    pub text: String,
}

/// A check that reads tables, which may be damaged.
type Check = fn(&PeFile64, &Facts) -> object::Result<Vec<Complaint>>;

fn because(rule: Rule, text: impl Into<String>) -> Complaint {
    Complaint {
        rule,
        text: text.into(),
    }
}

/// Everything that is wrong with the image.
pub fn complaints(bytes: &[u8], facts: &Facts) -> Vec<Complaint> {
    let file = match PeFile64::parse(bytes) {
        Ok(file) => file,
        Err(error) => return vec![because(Rule::WellFormed, error.to_string())],
    };
    let mut found = headers(bytes, &file, facts);
    let fallible: [Check; 4] = [imports, relocations, sections, version];
    for check in fallible {
        match check(&file, facts) {
            Ok(complaints) => found.extend(complaints),
            Err(error) => found.push(because(Rule::WellFormed, error.to_string())),
        }
    }
    found
}

fn headers(bytes: &[u8], file: &PeFile64, facts: &Facts) -> Vec<Complaint> {
    let nt = file.nt_headers();
    let optional = nt.optional_header();
    let mut found = Vec::new();
    let subsystem = optional.subsystem();
    if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE {
        found.push(because(
            Rule::Subsystem,
            format!("subsystem {subsystem}, not native"),
        ));
    }
    let characteristics = nt.file_header().characteristics.get(LE);
    if characteristics & pe::IMAGE_FILE_DLL != 0 {
        found.push(because(Rule::DllFlag, "the DLL flag is set"));
    }
    if characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        found.push(because(
            Rule::Relocations,
            "relocations are marked as stripped",
        ));
    }
    if file
        .data_directory(pe::IMAGE_DIRECTORY_ENTRY_EXPORT)
        .is_some()
    {
        found.push(because(Rule::Exports, "there is an export directory"));
    }
    let entry = optional.address_of_entry_point();
    let name = facts
        .functions
        .get(&entry)
        .map_or("nothing that the PDB names", String::as_str);
    if name != "DriverEntry" {
        found.push(because(Rule::Entry, format!("the entry point is {name}")));
    }
    for (flag, name) in [
        (
            pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
            "HIGH_ENTROPY_VA",
        ),
        (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE"),
        (
            pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
            "FORCE_INTEGRITY",
        ),
        (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT"),
    ] {
        if optional.dll_characteristics() & flag == 0 {
            found.push(because(Rule::Protections, format!("{name} is not set")));
        }
    }
    let (told, right) = (optional.check_sum(), checksum(bytes));
    if Some(told) != right {
        found.push(because(
            Rule::Checksum,
            format!("{told:#x}, it should be {right:x?}"),
        ));
    }
    if bytes.len() as u64 > facts.size_max {
        let text = format!("{} bytes, at most {}", bytes.len(), facts.size_max);
        found.push(because(Rule::Size, text));
    }
    found
}

/// The checksum that the image should carry: the sum of its words with carry, its own field taken
/// as zero, plus the length.
/// <https://learn.microsoft.com/en-us/windows/win32/api/imagehlp/nf-imagehlp-checksummappedfile>
fn checksum(bytes: &[u8]) -> Option<u32> {
    let pe = u32::from_le_bytes(bytes.get(60..64)?.try_into().ok()?) as usize;
    let field = pe.checked_add(24 + 64)?;
    let mut sum = 0u32;
    for (index, pair) in bytes.chunks(2).enumerate() {
        let at = index * 2;
        if at == field || at == field + 2 {
            continue;
        }
        let word = u16::from_le_bytes([*pair.first()?, *pair.get(1).unwrap_or(&0)]);
        sum += u32::from(word);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum.checked_add(u32::try_from(bytes.len()).ok()?)
}

fn imports(file: &PeFile64, facts: &Facts) -> object::Result<Vec<Complaint>> {
    let mut found = Vec::new();
    let Some(table) = file.import_table()? else {
        return Ok(vec![because(Rule::Module, "nothing is imported")]);
    };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let module = table.name(descriptor.name.get(LE))?;
        let module = String::from_utf8_lossy(module).into_owned();
        if !["ntoskrnl.exe", "hal.dll", "fltmgr.sys"].contains(&module.as_str()) {
            found.push(because(Rule::Module, format!("{module} is imported")));
        }
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
        while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
            if thunk.is_ordinal() {
                found.push(because(Rule::NotListed, format!("{module} by ordinal")));
                continue;
            }
            let (_, name) = table.hint_name(thunk.address())?;
            let name = String::from_utf8_lossy(name);
            match facts.imports.look(&module, &name) {
                Listed::Fine => {}
                Listed::Absent => found.push(because(Rule::NotListed, format!("{module}!{name}"))),
                Listed::TooNew(since) => {
                    found.push(because(Rule::TooNew, format!("{name} appeared in {since}")));
                }
            }
        }
    }
    Ok(found)
}

fn relocations(file: &PeFile64, _: &Facts) -> object::Result<Vec<Complaint>> {
    let sections = file.section_table();
    let blocks = file
        .data_directories()
        .relocation_blocks(file.data(), &sections)?;
    let mut count = 0;
    if let Some(mut blocks) = blocks {
        while let Some(block) = blocks.next()? {
            count += block.count();
        }
    }
    Ok(match count {
        0 => vec![because(Rule::Relocations, "there are no relocations")],
        _ => Vec::new(),
    })
}

fn sections(file: &PeFile64, facts: &Facts) -> object::Result<Vec<Complaint>> {
    let mut found = Vec::new();
    for section in file.section_table().iter() {
        let flags = section.characteristics.get(LE);
        let name = String::from_utf8_lossy(section.raw_name()).into_owned();
        // The memory manager goes by the name.
        if name.starts_with("PAGE") {
            found.push(because(Rule::Pageable, format!("section {name}")));
        }
        if flags & pe::IMAGE_SCN_MEM_EXECUTE == 0 {
            continue;
        }
        if flags & pe::IMAGE_SCN_MEM_WRITE != 0 {
            found.push(because(Rule::WriteAndExecute, format!("section {name}")));
        }
        let code = section.pe_data(file.data())?;
        let code = code
            .get(..section.virtual_size.get(LE) as usize)
            .unwrap_or(code);
        if let Some(text) = code::banned(code, section.virtual_address.get(LE), &facts.functions) {
            found.push(because(Rule::Instruction, text));
        }
    }
    Ok(found)
}

/// The fixed part of the version resource must tell the workspace's version.
fn version(file: &PeFile64, _: &Facts) -> object::Result<Vec<Complaint>> {
    let wrong = |text: &str| Ok(vec![because(Rule::Version, text)]);
    let sections = file.section_table();
    let directory = file
        .data_directories()
        .resource_directory(file.data(), &sections)?;
    let Some(directory) = directory else {
        return wrong("there are no resources");
    };
    let root = directory.root()?;
    let is_version = |id: object::read::pe::ResourceNameOrId| id.id() == Some(pe::RT_VERSION);
    let Some(mut entry) = root
        .entries
        .iter()
        .find(|entry| is_version(entry.name_or_id()))
    else {
        return wrong("there is no version resource");
    };
    for _ in 0..3 {
        match entry.data(directory)? {
            object::read::pe::ResourceDirectoryEntryData::Table(table) => match table.entries {
                [first, ..] => entry = first,
                [] => return wrong("the version resource is empty"),
            },
            object::read::pe::ResourceDirectoryEntryData::Data(data) => {
                let size = data.size.get(LE) as usize;
                let bytes = sections.pe_data_at(file.data(), data.offset_to_data.get(LE));
                let bytes = bytes
                    .and_then(|bytes| bytes.get(..size))
                    .unwrap_or_default();
                return match fixed_version(bytes) {
                    Some(told) if told == own_version() => Ok(Vec::new()),
                    told => wrong(&format!("version {told:?}, not {:?}", own_version())),
                };
            }
        }
    }
    wrong("the version resource is nested too deep")
}

/// Major, minor, patch of `VS_FIXEDFILEINFO`.
fn fixed_version(bytes: &[u8]) -> Option<[u16; 3]> {
    let signature = 0xfeef_04bd_u32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == signature)?;
    let word = |offset: usize| {
        Some(u16::from_le_bytes(
            bytes.get(at + offset..at + offset + 2)?.try_into().ok()?,
        ))
    };
    Some([word(10)?, word(8)?, word(14)?])
}

fn own_version() -> [u16; 3] {
    let part = |text: &str| text.parse().unwrap_or(u16::MAX);
    [
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    ]
}
