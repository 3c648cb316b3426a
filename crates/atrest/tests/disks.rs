//! Virtual disks that Debian's tools made: `mkntfs` and `ntfscp` the volume, `qemu-img` the VHDX.

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use siloscan_atrest::{Kind, Limits};
use support::bench::{Bench, GUID, point};
use support::{WORD, finds, found, is_whole, look, look_with, problems};

const ALL: [&str; 4] = [
    "$Extend/below.txt",
    "clean.txt:stream",
    "large.bin",
    "small.txt",
];

#[test]
fn files_and_streams_of_a_volume_are_scanned_without_mounting_it() {
    let bench = Bench::new();
    let report = look(&bench.vhdx(&bench.filled()));
    assert_eq!(report.kind, Kind::Vhdx);
    finds(&report, &ALL);
    is_whole(&report);
    assert_eq!(report.findings[0].place.within.as_deref(), Some("volume 1"));
}

/// The volume on a disk of 64 MiB, 1 MiB behind its beginning.
fn partitioned(bench: &Bench, table: &dyn Fn(&mut [u8], u64)) -> PathBuf {
    let volume = fs::read(bench.filled()).expect("the volume");
    let mut disk = vec![0; 64 << 20];
    disk[1 << 20..][..volume.len()].copy_from_slice(&volume);
    table(&mut disk, volume.len() as u64 / 512);
    let path = bench.path("raw");
    fs::write(&path, disk).expect("a disk");
    path
}

fn mbr(disk: &mut [u8], kind: u8, first: u32, count: u32) {
    let entry = &mut disk[446..462];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..16].copy_from_slice(&count.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}

fn gpt(disk: &mut [u8], head: usize, entries: u64, sectors: u64) {
    let at = head * 512;
    disk[at..at + 8].copy_from_slice(b"EFI PART");
    disk[at + 72..at + 80].copy_from_slice(&entries.to_le_bytes());
    disk[at + 80..at + 84].copy_from_slice(&128_u32.to_le_bytes());
    disk[at + 84..at + 88].copy_from_slice(&128_u32.to_le_bytes());
    let at = entries as usize * 512;
    disk[at..at + 16].copy_from_slice(&[7; 16]);
    disk[at + 32..at + 40].copy_from_slice(&2048_u64.to_le_bytes());
    disk[at + 40..at + 48].copy_from_slice(&(2048 + sectors - 1).to_le_bytes());
}

#[test]
fn a_volume_is_found_by_either_kind_of_partition_table() {
    let bench = Bench::new();
    let disk = partitioned(&bench, &|disk, sectors| mbr(disk, 7, 2048, sectors as u32));
    finds(&look(&bench.vhdx(&disk)), &ALL);
    let disk = partitioned(&bench, &|disk, sectors| {
        mbr(disk, 0xee, 1, u32::MAX);
        gpt(disk, 1, 2, sectors);
    });
    let report = look(&bench.vhdx(&disk));
    finds(&report, &ALL);
    is_whole(&report);
}

#[test]
fn the_second_partition_table_serves_where_the_first_is_gone() {
    let bench = Bench::new();
    let disk = partitioned(&bench, &|disk, sectors| {
        mbr(disk, 0xee, 1, u32::MAX);
        let last = disk.len() / 512 - 1;
        gpt(disk, last, last as u64 - 32, sectors);
    });
    finds(&look(&bench.vhdx(&disk)), &ALL);
}

#[test]
fn a_placeholder_is_told_and_not_taken_for_an_empty_file() {
    let bench = Bench::new();
    let volume = bench.volume(16 << 20);
    for (name, tag) in [("one.dll", 0x9000_1018), ("two.dll", 0x8000_0018)] {
        bench.put(&volume, &[], name, b"");
        bench.put(
            &volume,
            &["-a", "0xC0"],
            name,
            &point(tag, GUID, "Windows\\one.dll"),
        );
    }
    let report = look(&bench.vhdx(&volume));
    is_whole(&report);
    finds(&report, &[]);
    let told: Vec<_> = report
        .placeholders
        .iter()
        .map(|placeholder| placeholder.place.path.as_str())
        .collect();
    assert_eq!(told, ["one.dll", "two.dll"]);
}

#[test]
fn what_a_placeholder_hides_is_scanned() {
    let bench = Bench::new();
    let volume = bench.volume(16 << 20);
    bench.put(&volume, &[], "one.dll", WORD);
    let data = point(0x9000_1018, GUID, "one.dll");
    bench.put(&volume, &["-a", "0xC0"], "one.dll", &data);
    let report = look(&bench.vhdx(&volume));
    finds(&report, &["one.dll"]);
    assert_eq!(report.placeholders.len(), 1);
}

#[test]
fn bytes_that_are_kept_elsewhere_are_a_named_problem() {
    let bench = Bench::new();
    let volume = bench.volume(16 << 20);
    for (name, tag) in [
        ("cloud", 0x9000_701a_u32),
        ("dedup", 0x8000_0013),
        ("packed", 0x8000_0017),
    ] {
        bench.put(&volume, &[], name, b"");
        let mut data = tag.to_le_bytes().to_vec();
        data.extend([0; 20]);
        bench.put(&volume, &["-a", "0xC0"], name, &data);
    }
    let report = look(&bench.vhdx(&volume));
    let expected = ["cloud", "dedup", "packed"].map(|name| ("unsupported", name));
    assert_eq!(problems(&report), expected);
}

#[test]
fn a_damaged_folder_hides_no_file() {
    let bench = Bench::new();
    let volume = bench.filled();
    let mut bytes = fs::read(&volume).expect("the volume");
    // Blocks of folders begin so.
    let mut gone = 0;
    for at in (0..bytes.len()).step_by(512) {
        if bytes[at..].starts_with(b"INDX") {
            bytes[at..at + 512].fill(0xff);
            gone += 1;
        }
    }
    assert!(gone > 0);
    fs::write(&volume, bytes).expect("the volume");
    finds(&look(&bench.vhdx(&volume)), &ALL);
}

#[test]
fn a_damaged_record_costs_its_file_and_is_named() {
    let bench = Bench::new();
    let volume = bench.filled();
    let mut bytes = fs::read(&volume).expect("the volume");
    let name: Vec<u8> = "small.txt"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut hit = 0;
    for at in (0..bytes.len() - 1024).step_by(512) {
        let record = &bytes[at..at + 1024];
        if record.starts_with(b"FILE") && record.windows(18).any(|part| part == name) {
            bytes[at..at + 4].copy_from_slice(b"BAAD");
            hit += 1;
        }
    }
    assert_eq!(hit, 1);
    fs::write(&volume, bytes).expect("the volume");
    let report = look(&bench.vhdx(&volume));
    finds(&report, &ALL[..3]);
    assert_eq!(problems(&report).len(), 1, "{report:#?}");
    assert_eq!(problems(&report)[0].0, "damaged");
}

#[test]
fn disks_without_a_volume_that_can_be_read_are_named() {
    let bench = Bench::new();
    let raw = bench.path("raw");
    File::create(&raw)
        .expect("a file")
        .set_len(16 << 20)
        .expect("its size");
    assert_eq!(problems(&look(&bench.vhdx(&raw))), [("damaged", "")]);

    let disk = partitioned(&bench, &|disk, sectors| {
        mbr(disk, 7, 2048, sectors as u32);
        disk[1 << 20..][..512].fill(0);
    });
    assert_eq!(problems(&look(&bench.vhdx(&disk))), [("unsupported", "")]);
}

#[test]
fn a_disk_that_is_cut_is_named_and_what_is_there_is_scanned() {
    let bench = Bench::new();
    let disk = bench.vhdx(&bench.filled());
    let file = File::options().write(true).open(&disk).expect("the disk");
    let bytes = file.metadata().expect("its size").len();
    file.set_len(bytes - (4 << 20)).expect("cut");
    let report = look(&disk);
    assert!(!report.problems.is_empty());
    assert!(found(&report).contains(&"small.txt"), "{report:#?}");
    file.set_len(4096).expect("cut");
    assert_eq!(problems(&look(&disk)), [("truncated", "")]);
}

/// Makes the VHDX `disk` one of differences that has none of its blocks but the first `kept`: the
/// flag in its parameters, and the block table.
fn without_blocks(disk: &Path, kept: usize) {
    const PARAMETERS: [u8; 16] = [
        0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7,
        0x6b,
    ];
    const TABLE: [u8; 16] = [
        0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a,
        0x08,
    ];
    let mut bytes = fs::read(disk).expect("the disk");
    let find = |bytes: &[u8], what: &[u8]| {
        let place = bytes.windows(what.len()).position(|part| part == what);
        place.expect("it is in every VHDX")
    };
    let metadata = find(&bytes, b"metadata");
    let entry = find(&bytes, &PARAMETERS);
    let offset = u32::from_le_bytes(bytes[entry + 16..entry + 20].try_into().expect("four"));
    bytes[metadata + offset as usize + 4] |= 2;
    let entry = find(&bytes, &TABLE);
    let table = u64::from_le_bytes(bytes[entry + 16..entry + 24].try_into().expect("eight"));
    let length = u32::from_le_bytes(bytes[entry + 24..entry + 28].try_into().expect("four"));
    let (begin, end) = (table as usize + kept * 8, table as usize + length as usize);
    bytes[begin..end].fill(0);
    fs::write(disk, bytes).expect("the disk");
}

#[test]
fn a_disk_of_differences_is_read_with_its_parent_and_not_without() {
    let bench = Bench::new();
    let parent = bench.path("parent.vhdx");
    fs::rename(bench.vhdx(&bench.filled()), &parent).expect("moved");
    for kept in [0, 1] {
        let child = bench.path("child.vhdx");
        fs::copy(&parent, &child).expect("a copy");
        without_blocks(&child, kept);
        let report = look(&child);
        assert_eq!(problems(&report), [("missing", "")]);
        let limits = Limits::default();
        let report = look_with(&child, limits, std::slice::from_ref(&parent));
        finds(&report, &ALL);
        is_whole(&report);
    }
}

/// The sum of a VHDX's headers.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| (sum >> 1) ^ (0x82f6_3b78 * (sum & 1));
    let byte = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum));
    !bytes.iter().fold(u32::MAX, byte)
}

#[test]
fn a_disk_with_a_log_to_replay_is_named_and_not_read() {
    let bench = Bench::new();
    let disk = bench.vhdx(&bench.filled());
    let mut bytes = fs::read(&disk).expect("the disk");
    for place in [64 << 10, 128 << 10] {
        let header = &mut bytes[place..place + 4096];
        assert_ne!(header[68..72], [0; 4], "the log has a length");
        header[4..8].fill(0);
        header[48] = 1;
        let sum = crc32c(header);
        header[4..8].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&disk, bytes).expect("the disk");
    let report = look(&disk);
    finds(&report, &[]);
    assert_eq!(problems(&report), [("unsupported", "")]);
}

/// Where the records of the volume begin that `is_it` says yes to.
fn records(volume: &[u8], is_it: &dyn Fn(&[u8]) -> bool) -> Vec<usize> {
    let places = (0..volume.len() - 1024).step_by(1024);
    let of_it = |at: &usize| volume[*at..].starts_with(b"FILE") && is_it(&volume[*at..*at + 1024]);
    places.filter(of_it).collect()
}

#[test]
fn a_record_without_its_standard_information_is_scanned() {
    let bench = Bench::new();
    let volume = bench.filled();
    let mut bytes = fs::read(&volume).expect("the volume");
    for at in records(&bytes, &|record| {
        record.windows(WORD.len()).any(|w| w == WORD)
    }) {
        let first = at + usize::from(bytes[at + 20]);
        assert_eq!(bytes[first], 0x10);
        bytes[first] = 0x40;
    }
    fs::write(&volume, bytes).expect("the volume");
    finds(&look(&bench.vhdx(&volume)), &ALL);
}

#[test]
fn the_rest_of_a_record_that_is_gone_is_named() {
    let bench = Bench::new();
    let volume = bench.volume(16 << 20);
    bench.put(&volume, &[], "clean.txt", b"clean");
    for number in 0..20 {
        let name = format!("stream-with-a-long-name-{number}");
        bench.put(&volume, &["-N", &name], "clean.txt", WORD);
    }
    assert_eq!(found(&look(&bench.vhdx(&volume))).len(), 20);
    let mut bytes = fs::read(&volume).expect("the volume");
    let rest = records(&bytes, &|record| record[0x20..0x28] != [0; 8]);
    assert!(!rest.is_empty());
    for at in rest {
        bytes[at..at + 4].fill(0);
    }
    fs::write(&volume, bytes).expect("the volume");
    let report = look(&bench.vhdx(&volume));
    assert!(found(&report).len() < 20);
    assert_eq!(problems(&report).len(), 1, "{report:#?}");
    assert_eq!(problems(&report)[0].0, "damaged");
}

#[test]
fn named_streams_of_the_volumes_own_files_are_scanned() {
    let bench = Bench::new();
    let volume = bench.volume(16 << 20);
    for (name, stream) in [
        ("$AttrDef", "one"),
        ("$Extend/$UsnJrnl", "two"),
        ("$UsnJrnl", "$J"),
    ] {
        if name != "$AttrDef" {
            bench.put(&volume, &[], name, b"");
        }
        bench.put(&volume, &["-N", stream], name, WORD);
    }
    bench.put(&volume, &["-N", "$J"], "$Extend/$UsnJrnl", WORD);
    let report = look(&bench.vhdx(&volume));
    let expected = ["$AttrDef:one", "$Extend/$UsnJrnl:two", "$UsnJrnl:$J"];
    finds(&report, &expected);
    is_whole(&report);
}

#[test]
fn all_tables_count_and_a_volume_before_them_does_not_hide_them() {
    let bench = Bench::new();
    let disk = partitioned(&bench, &|disk, sectors| {
        mbr(disk, 0xee, 1, u32::MAX);
        disk[3..11].copy_from_slice(b"NTFS    ");
        let last = disk.len() / 512 - 1;
        gpt(disk, 1, 2, 1);
        gpt(disk, last, last as u64 - 32, sectors);
    });
    let report = look(&bench.vhdx(&disk));
    finds(&report, &ALL);
    assert_eq!(report.findings[0].place.within.as_deref(), Some("volume 3"));

    let disk = partitioned(&bench, &|disk, sectors| {
        mbr(disk, 0xee, 1, u32::MAX);
        gpt(disk, 1, 2, sectors);
        disk[512 + 80..512 + 84].copy_from_slice(&129_u32.to_le_bytes());
    });
    let report = look(&bench.vhdx(&disk));
    finds(&report, &ALL);
    assert_eq!(problems(&report), [("limit", "")]);
}

#[test]
fn the_streams_of_a_volume_have_a_limit_together() {
    let bench = Bench::new();
    let limits = Limits {
        volume_bytes: 1 << 20,
        ..Limits::default()
    };
    let report = look_with(&bench.vhdx(&bench.filled()), limits, &[]);
    finds(
        &report,
        &["$Extend/below.txt", "clean.txt:stream", "small.txt"],
    );
    assert_eq!(problems(&report), [("limit", "large.bin")]);
}

/// Where the first attribute of a kind begins in record 0 of a volume.
fn attribute_of_the_table(volume: &[u8], kind: u32) -> usize {
    let word = |at: usize| u32::from_le_bytes(volume[at..at + 4].try_into().expect("four"));
    let cluster = usize::from(volume[0x0d]) * 512;
    let record = word(0x30) as usize * cluster;
    let mut at = record + usize::from(volume[record + 0x14]);
    while word(at) != kind {
        at += word(at + 4).max(8) as usize;
    }
    at
}

#[test]
fn a_table_without_records_is_damaged() {
    const DATA: u32 = 0x80;
    let bench = Bench::new();
    let volume = bench.filled();
    let whole = fs::read(&volume).expect("the volume");
    let at = attribute_of_the_table(&whole, DATA);
    let mut empty = whole.clone();
    empty[at + 0x30..at + 0x40].fill(0);
    let mut gone = whole;
    gone[at..at + 4].copy_from_slice(&0xffff_ffff_u32.to_le_bytes());
    for bytes in [empty, gone] {
        fs::write(&volume, &bytes).expect("the volume");
        let report = look(&bench.vhdx(&volume));
        assert_ne!(report.problems.len(), 0, "{report:#?}");
        assert_eq!(report.files, 0);
    }
}
