//! A damaged, truncated or hostile image gives a clear error and never a crash.
//!
//! The image is made here byte by byte, so the tests need no Windows toolchain.

use filterhost::image::{Image, ImageError, LoadError, Plan, Protection};

/// Offset of the PE signature.
const PE: usize = 0x80;
/// Offset of the optional header.
const OPTIONAL: usize = PE + 24;
/// Offset of the data directories.
const DIRECTORIES: usize = OPTIONAL + 112;
/// Offset of the section table.
const SECTIONS: usize = OPTIONAL + 240;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put32(image: &mut [u8], at: usize, value: u32) {
    put(image, at, &value.to_le_bytes());
}

fn section(image: &mut [u8], index: usize, name: &[u8], place: [u32; 4], flags: u32) {
    let at = SECTIONS + index * 40;
    put(image, at, name);
    for (field, value) in place.iter().enumerate() {
        put32(image, at + 8 + field * 4, *value);
    }
    put32(image, at + 36, flags);
}

/// A small driver: `.text` that returns 0, `.rdata` with one import, `.data` with one relocation,
/// `.reloc`.
fn good() -> Vec<u8> {
    let mut image = vec![0_u8; 0x1000];
    put(&mut image, 0, b"MZ");
    put32(&mut image, 0x3c, PE as u32);
    put(&mut image, PE, b"PE\0\0");
    put(&mut image, PE + 4, &[0x64, 0x86, 4, 0]);
    put(&mut image, PE + 20, &[240, 0, 0x22, 0]);
    put(&mut image, OPTIONAL, &[0x0b, 0x02]);
    put32(&mut image, OPTIONAL + 16, 0x1000);
    put(&mut image, OPTIONAL + 24, &0x1_4000_0000_u64.to_le_bytes());
    put32(&mut image, OPTIONAL + 32, 0x1000);
    put32(&mut image, OPTIONAL + 36, 0x200);
    put32(&mut image, OPTIONAL + 56, 0x5000);
    put32(&mut image, OPTIONAL + 60, 0x400);
    put(&mut image, OPTIONAL + 68, &[1, 0, 0xe0, 0x01]);
    put32(&mut image, OPTIONAL + 108, 16);
    put32(&mut image, DIRECTORIES + 8, 0x2000);
    put32(&mut image, DIRECTORIES + 12, 40);
    put32(&mut image, DIRECTORIES + 40, 0x4000);
    put32(&mut image, DIRECTORIES + 44, 12);
    section(
        &mut image,
        0,
        b".text",
        [0x10, 0x1000, 0x200, 0x400],
        0x6000_0020,
    );
    section(
        &mut image,
        1,
        b".rdata",
        [0x100, 0x2000, 0x200, 0x600],
        0x4000_0040,
    );
    section(
        &mut image,
        2,
        b".data",
        [0x20, 0x3000, 0x200, 0x800],
        0xc000_0040,
    );
    section(
        &mut image,
        3,
        b".reloc",
        [0x0c, 0x4000, 0x200, 0xa00],
        0x4200_0040,
    );
    put(&mut image, 0x400, &[0x31, 0xc0, 0xc3]);
    // Import directory: names at 0x2040, module name at 0x2060, pointers at 0x2080.
    put32(&mut image, 0x600, 0x2040);
    put32(&mut image, 0x60c, 0x2060);
    put32(&mut image, 0x610, 0x2080);
    put32(&mut image, 0x640, 0x2070);
    put(&mut image, 0x660, b"ntoskrnl.exe\0");
    put(&mut image, 0x672, b"DbgPrint\0");
    put32(&mut image, 0x680, 0x2070);
    put(&mut image, 0x800, &0x1_4000_1000_u64.to_le_bytes());
    put32(&mut image, 0xa00, 0x3000);
    put32(&mut image, 0xa04, 12);
    put(&mut image, 0xa08, &[0x00, 0xa0, 0, 0]);
    image
}

fn load(image: &[u8]) -> Result<Image, LoadError> {
    Image::load("test.sys", image, None, |_, name| {
        (name == "DbgPrint").then_some(0x1234)
    })
}

fn bound(image: &Image, rva: usize) -> u64 {
    let at = std::ptr::with_exposed_provenance::<u64>(image.base() + rva);
    filterhost::memory::read(at)
}

#[test]
fn a_good_image_is_mapped_relocated_and_bound() {
    let image = load(&good()).expect("it is good");
    assert_eq!(image.size(), 0x5000);
    assert_eq!(bound(&image, 0x2080), 0x1234, "the import");
    assert_eq!(
        bound(&image, 0x3000),
        image.base() as u64 + 0x1000,
        "the relocated pointer"
    );
    let kinds: Vec<_> = image
        .plan()
        .sections
        .iter()
        .map(|section| section.protection)
        .collect();
    let expected = [
        Protection::Execute,
        Protection::Read,
        Protection::Write,
        Protection::Read,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn every_truncation_is_an_error_or_loads() {
    let image = good();
    let whole = 0xa0c;
    for length in 0..image.len() {
        let cut = load(&image[..length]);
        // What is cut off behind the last section's bytes is not missed.
        if length < whole {
            let error = cut
                .err()
                .unwrap_or_else(|| panic!("{length} bytes were accepted"));
            assert!(
                matches!(error, LoadError::Image { .. }),
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn no_flipped_byte_crashes() {
    let image = good();
    let mut refused = 0;
    for at in 0..0xb00 {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut flipped = image.clone();
            flipped[at] ^= value;
            refused += u32::from(load(&flipped).is_err());
        }
    }
    assert!(refused > 100, "only {refused} changes were noticed");
}

#[test]
fn no_random_damage_crashes() {
    let image = good();
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut damaged = image.clone();
        for _ in 0..random() % 8 + 1 {
            let at = (random() % 0xb00) as usize;
            put32(&mut damaged, at, random() as u32);
        }
        drop(load(&damaged));
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Vec<u8>), text: &str) {
    let mut image = good();
    change(&mut image);
    let error = Plan::parse(&image).expect_err("it must be refused");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn each_unfit_image_is_told_why() {
    refused(|image| put(image, PE + 4, &[0x4c, 0x01]), "x64");
    refused(
        |image| put(image, OPTIONAL + 68, &[3]),
        "subsystem is 3, not native",
    );
    refused(
        |image| put32(image, SECTIONS + 36, 0xe000_0020),
        "writable and executable",
    );
    refused(
        |image| put32(image, OPTIONAL + 16, 0x3000),
        "in no executable section",
    );
    refused(
        |image| put32(image, OPTIONAL + 16, 0xffff_fff0),
        "in no executable section",
    );
    refused(
        |image| put32(image, OPTIONAL + 56, 0xffff_f000),
        "size in memory",
    );
    refused(
        |image| put32(image, OPTIONAL + 56, 0x4000),
        "section .reloc",
    );
    refused(
        |image| put32(image, SECTIONS + 40 + 12, 0x1000),
        "section .rdata",
    );
    refused(
        |image| put32(image, SECTIONS + 40 + 20, 0xffff_0000),
        "ends after the file's end",
    );
    refused(
        |image| put(image, PE + 22, &[0x23]),
        "relocations were stripped",
    );
    refused(|image| put(image, 0xa09, &[0x30]), "relocation type 3");
    refused(|image| put32(image, 0xa00, 0x9000), "in no section");
    refused(|image| put32(image, 0x610, 0x2fff_0000), "in no section");
    refused(|image| put(image, 0x647, &[0x80]), "by ordinal");
    refused(|image| image.clear(), "damaged");
}

#[test]
fn all_missing_names_are_listed_at_once() {
    let image = good();
    let error = Image::load("test.sys", &image, None, |_, _| None)
        .err()
        .expect("missing");
    let text = error.to_string();
    assert!(text.contains("ntoskrnl.exe!DbgPrint"), "{text}");
    let damaged = ImageError::Damaged("it".to_owned());
    assert_eq!(damaged.to_string(), "the image is damaged: it");
}
