//! The built siloscan.sys as a file: what a kernel image must be and must not hold. Each rule is
//! shown to fail on an image that was doctored against it.

mod check;
mod code;
mod list;

use std::path::PathBuf;

use check::{Facts, Rule, complaints};
use list::Imports;

/// The largest image that is accepted, in bytes. Raise it knowingly.
const SIZE_MAX: u64 = 256 * 1024;

struct Image {
    bytes: Vec<u8>,
    facts: Facts,
}

fn path() -> PathBuf {
    let path = std::env::var_os("SILOSCAN_IMAGE");
    PathBuf::from(path.expect("SILOSCAN_IMAGE names the built driver: run `cargo xtask test`"))
}

fn image() -> Image {
    let path = path();
    let bytes = std::fs::read(&path).expect("the image can be read");
    let pdb = std::fs::File::open(path.with_extension("pdb")).expect("the PDB is beside it");
    let list = include_str!("../imports.toml");
    let functions = code::functions(pdb).expect("the PDB can be read");
    let imports = Imports::parse(list).expect("tests/imports.toml is well formed");
    Image {
        bytes,
        facts: Facts {
            functions,
            imports,
            size_max: SIZE_MAX,
        },
    }
}

/// The rules that the image breaks after `doctor` changed it.
fn broken_by(doctor: impl FnOnce(&mut Vec<u8>)) -> Vec<Rule> {
    let mut image = image();
    doctor(&mut image.bytes);
    rules(&image)
}

fn rules(image: &Image) -> Vec<Rule> {
    complaints(&image.bytes, &image.facts)
        .into_iter()
        .map(|found| found.rule)
        .collect()
}

fn offset_of(bytes: &[u8], text: &[u8]) -> usize {
    let found = bytes.windows(text.len()).position(|window| window == text);
    found.unwrap_or_else(|| panic!("the image holds {}", String::from_utf8_lossy(text)))
}

fn set_u16(bytes: &mut [u8], at: usize, change: impl Fn(u16) -> u16) {
    let old = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    bytes[at..at + 2].copy_from_slice(&change(old).to_le_bytes());
}

/// Where the optional header begins.
fn optional(bytes: &[u8]) -> usize {
    let pe = u32::from_le_bytes(bytes[60..64].try_into().unwrap());
    pe as usize + 24
}

/// Where the header of section `index` begins.
fn section(bytes: &[u8], index: usize) -> usize {
    let optional = optional(bytes);
    let size = u16::from_le_bytes([bytes[optional - 4], bytes[optional - 3]]);
    optional + size as usize + index * 40
}

#[test]
fn the_built_image_keeps_every_rule() {
    let image = image();
    let found = complaints(&image.bytes, &image.facts);
    let text: Vec<String> = found
        .iter()
        .map(|c| format!("{:?}: {}", c.rule, c.text))
        .collect();
    assert!(
        text.is_empty(),
        "{}:\n{}",
        path().display(),
        text.join("\n")
    );
}

#[test]
fn a_subsystem_other_than_native_is_seen() {
    let broken = broken_by(|bytes| {
        let at = optional(bytes) + 68;
        set_u16(bytes, at, |_| 3);
    });
    assert!(broken.contains(&Rule::Subsystem), "{broken:?}");
}

#[test]
fn a_dll_flag_is_seen() {
    let broken = broken_by(|bytes| {
        let at = optional(bytes) - 2;
        set_u16(bytes, at, |flags| flags | 0x2000);
    });
    assert!(broken.contains(&Rule::DllFlag), "{broken:?}");
}

#[test]
fn an_export_is_seen() {
    let broken = broken_by(|bytes| {
        let at = optional(bytes) + 112;
        bytes[at..at + 8].copy_from_slice(&[0, 16, 0, 0, 40, 0, 0, 0]);
    });
    assert!(broken.contains(&Rule::Exports), "{broken:?}");
}

#[test]
fn another_entry_point_is_seen() {
    let broken = broken_by(|bytes| {
        let at = optional(bytes) + 16;
        bytes[at] ^= 1;
    });
    assert!(broken.contains(&Rule::Entry), "{broken:?}");
}

#[test]
fn an_import_from_another_module_is_seen() {
    let broken = broken_by(|bytes| {
        let at = offset_of(bytes, b"fltmgr.sys\0");
        bytes[at..at + 10].copy_from_slice(b"fltmgr.dll");
    });
    assert!(broken.contains(&Rule::Module), "{broken:?}");
}

#[test]
fn an_import_that_is_not_listed_is_seen() {
    let broken = broken_by(|bytes| {
        let at = offset_of(bytes, b"FltRegisterFilter\0");
        bytes[at + 16] = b'X';
    });
    assert!(broken.contains(&Rule::NotListed), "{broken:?}");
}

#[test]
fn an_import_that_an_old_system_lacks_is_seen() {
    let mut image = image();
    image
        .facts
        .imports
        .set_since("FltRegisterFilter", "Windows 10, version 2004");
    assert!(rules(&image).contains(&Rule::TooNew));
}

#[test]
fn stripped_relocations_are_seen() {
    let flag = broken_by(|bytes| {
        let at = optional(bytes) - 2;
        set_u16(bytes, at, |flags| flags | 1);
    });
    assert!(flag.contains(&Rule::Relocations), "{flag:?}");
    let gone = broken_by(|bytes| {
        let at = optional(bytes) + 112 + 5 * 8;
        bytes[at..at + 8].fill(0);
    });
    assert!(gone.contains(&Rule::Relocations), "{gone:?}");
}

#[test]
fn each_missing_protection_is_seen() {
    for flag in [0x20, 0x40, 0x80, 0x100] {
        let broken = broken_by(|bytes| {
            let at = optional(bytes) + 70;
            set_u16(bytes, at, |flags| flags & !flag);
        });
        assert!(broken.contains(&Rule::Protections), "{flag:#x}: {broken:?}");
    }
}

#[test]
fn a_section_both_writable_and_executable_is_seen() {
    let broken = broken_by(|bytes| {
        let at = section(bytes, 0) + 38;
        set_u16(bytes, at, |flags| flags | 0xa000);
    });
    assert!(broken.contains(&Rule::WriteAndExecute), "{broken:?}");
}

/// What makes a driver's code pageable, or pages it, whatever its sections are called.
const PAGING: [&str; 4] = [
    "MmPageEntireDriver",
    "MmResetDriverPaging",
    "MmLockPagableDataSection",
    "MmUnlockPagableImageSection",
];

#[test]
fn w12_no_code_and_no_data_of_the_image_can_be_paged_out() {
    let image = image();
    assert!(!rules(&image).contains(&Rule::Pageable));
    for name in PAGING {
        let found = image.bytes.windows(name.len());
        assert!(!found.into_iter().any(|at| at == name.as_bytes()), "{name}");
    }
    let broken = broken_by(|bytes| {
        let at = section(bytes, 1);
        bytes[at..at + 8].copy_from_slice(b"PAGEDATA");
    });
    assert!(broken.contains(&Rule::Pageable), "{broken:?}");
}

#[test]
fn a_changed_byte_is_seen_by_the_checksum() {
    let broken = broken_by(|bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 0x55;
    });
    assert!(broken.contains(&Rule::Checksum), "{broken:?}");
}

#[test]
fn a_missing_version_resource_is_seen() {
    let broken = broken_by(|bytes| {
        let at = optional(bytes) + 112 + 2 * 8;
        bytes[at..at + 8].fill(0);
    });
    assert!(broken.contains(&Rule::Version), "{broken:?}");
    let other = broken_by(|bytes| {
        let at = offset_of(bytes, &0xfeef_04bd_u32.to_le_bytes());
        bytes[at + 8] ^= 1;
    });
    assert!(other.contains(&Rule::Version), "{other:?}");
}

#[test]
fn each_banned_instruction_is_seen() {
    let banned: [(&str, &[u8]); 11] = [
        ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0]),
        ("mov rax, cr8", &[0x44, 0x0f, 0x20, 0xc0]),
        ("mov rax, cr0", &[0x0f, 0x20, 0xc0]),
        ("cli", &[0xfa]),
        ("sti", &[0xfb]),
        ("rdmsr", &[0x0f, 0x32]),
        ("wrmsr", &[0x0f, 0x30]),
        ("in al, dx", &[0xec]),
        ("out dx, al", &[0xee]),
        ("rep insb", &[0xf3, 0x6c]),
        ("outsd", &[0x6f]),
    ];
    for (name, code) in banned {
        let broken = broken_by(|bytes| {
            let entry = optional(bytes) + 16;
            let rva = u32::from_le_bytes(bytes[entry..entry + 4].try_into().unwrap());
            let text = section(bytes, 0);
            let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let at = (rva - field(text + 12) + field(text + 20)) as usize;
            bytes[at..at + code.len()].copy_from_slice(code);
        });
        assert!(broken.contains(&Rule::Instruction), "{name}: {broken:?}");
    }
}

#[test]
fn an_image_over_its_size_is_seen() {
    let mut image = image();
    image.facts.size_max = image.bytes.len() as u64 - 1;
    assert!(rules(&image).contains(&Rule::Size));
}

#[test]
fn a_truncated_or_empty_image_is_a_complaint_and_no_crash() {
    let whole = image();
    for length in [0, 1, 63, 64, 200, 600, whole.bytes.len() / 2] {
        let cut = &whole.bytes[..length.min(whole.bytes.len())];
        assert!(!complaints(cut, &whole.facts).is_empty(), "{length} bytes");
    }
}
