//! Inputs that are cut anywhere and of which bytes are changed anywhere: no scan ends in a panic of
//! this crate, and every scan ends.

mod hand;
mod support;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use support::bench::{GUID, point};
use support::{WORD, finds, found, look, put, run, text};

/// Panics in this crate's own sources, also those that it catches.
static OWN: AtomicUsize = AtomicUsize::new(0);

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or("", |location| location.file());
            if file.replace('\\', "/").contains("atrest/src") {
                OWN.fetch_add(1, Ordering::SeqCst);
            }
            if file.contains("atrest") {
                before(info);
            }
        }));
    });
}

fn no_panic_of_ours() {
    assert_eq!(OWN.load(Ordering::SeqCst), 0);
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

/// Scans `path` cut at many places, and with up to three bytes of `places` changed, many times.
/// What was there before is there again in the end.
fn torment(path: &Path, whole: &Path, places: &[usize], rounds: usize) {
    watch_panics();
    let good = fs::read(path).expect("the input");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut file = File::options().write(true).open(path).expect("the input");
        let mut changed = Vec::new();
        for _ in 0..=dice.below(3) {
            let at = places[dice.below(places.len())];
            let byte = match dice.below(4) {
                0 => 0,
                1 => 0xff,
                2 => good[at] ^ (1 << dice.below(8)),
                _ => dice.below(256) as u8,
            };
            file.seek(SeekFrom::Start(at as u64)).expect("there");
            file.write_all(&[byte]).expect("written");
            changed.push(at);
        }
        look(whole);
        for at in changed {
            file.seek(SeekFrom::Start(at as u64)).expect("there");
            file.write_all(&[good[at]]).expect("written");
        }
    }
    for _ in 0..rounds / 4 {
        let length = match dice.below(2) {
            0 => places[dice.below(places.len())],
            _ => dice.below(good.len()),
        };
        let file = File::options().write(true).open(path).expect("the input");
        file.set_len(length as u64).expect("cut");
        drop(file);
        look(whole);
        fs::write(path, &good).expect("the input");
    }
    no_panic_of_ours();
}

/// Where something is.
fn places(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).expect("the input");
    let there = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
    there.map(|(at, _)| at).collect()
}

/// A layer with entries of many kinds, by hand.
fn layer() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        builder
            .append_data(&mut header, name, bytes)
            .expect("written");
    };
    add(tar::EntryType::Regular, "Files/a/one.txt", WORD);
    add(
        tar::EntryType::Regular,
        &format!("Files/{}", "long/".repeat(50)),
        b"x",
    );
    add(tar::EntryType::Regular, "Files/.wh.gone", b"");
    add(tar::EntryType::XHeader, "pax", b"19 path=other/name\n");
    add(tar::EntryType::Regular, "Files/b/two.txt", WORD);
    add(tar::EntryType::Directory, "Files/b/", b"");
    builder.into_inner().expect("written")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

#[test]
fn tar_archives_of_every_packing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive");
    let zstd = compress_to_vec(layer().as_slice(), CompressionLevel::Fastest);
    for bytes in [layer(), gzip(&layer()), zstd] {
        put(&path, &bytes);
        assert_eq!(found(&look(&path)).len(), 2);
        torment(&path, &path, &places(&path), 1_500);
    }
}

#[test]
fn frames_of_zstd_may_follow_each_other_and_be_skipped() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("archive");
    let layer = layer();
    let (first, second) = layer.split_at(1000);
    let mut bytes = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    bytes.extend(compress_to_vec(first, CompressionLevel::Fastest));
    bytes.extend([0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    bytes.extend(compress_to_vec(second, CompressionLevel::Fastest));
    put(&path, &bytes);
    finds(&look(&path), &["Files/a/one.txt", "other/name"]);
    torment(&path, &path, &places(&path), 500);
}

#[test]
fn layouts_and_archives_with_images() {
    let dir = tempfile::tempdir().expect("a folder");
    let layout = dir.path().join("layout");
    let image = format!("{}:one", text(&layout));
    let from = dir.path().join("from");
    put(&from, WORD);
    run("umoci", "umoci", &["init", "--layout", text(&layout)]);
    run("umoci", "umoci", &["new", "--image", &image]);
    let insert = ["insert", "--image", &image, text(&from), "/Files/one.txt"];
    run("umoci", "umoci", &insert);
    let saved = dir.path().join("saved.tar");
    let to = format!("docker-archive:{}:one:one", text(&saved));
    let copy = [
        "--insecure-policy",
        "copy",
        "-q",
        &format!("oci:{image}"),
        &to,
    ];
    run("skopeo", "skopeo", &copy);
    torment(&saved, &saved, &places(&saved), 1_000);

    let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs");
    let mut files: Vec<PathBuf> = blobs.map(|entry| entry.expect("a blob").path()).collect();
    files.push(layout.join("index.json"));
    for file in files {
        torment(&file, &layout, &places(&file), 200);
    }
}

#[test]
fn disks() {
    let dir = tempfile::tempdir().expect("a folder");
    let volume = dir.path().join("volume");
    let file = File::create(&volume).expect("a file");
    file.set_len(4 << 20).expect("its size");
    let geometry = ["-s", "512", "-p", "0", "-H", "255", "-S", "63"];
    let mut arguments = vec!["-F", "-Q", "-q"];
    arguments.extend(geometry);
    arguments.push(text(&volume));
    run("mkntfs", "ntfs-3g", &arguments);
    let from = dir.path().join("from");
    put(&from, WORD);
    for name in ["one.txt", "$Extend/two.txt"] {
        run(
            "ntfscp",
            "ntfs-3g",
            &["-q", text(&volume), text(&from), name],
        );
    }
    put(&from, &point(0x9000_1018, GUID, "Windows\\one.txt"));
    let copy = ["-q", "-a", "0xC0", text(&volume), text(&from), "one.txt"];
    run("ntfscp", "ntfs-3g", &copy);
    let disk = dir.path().join("disk.vhdx");
    let convert = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vhdx",
        text(&volume),
        text(&disk),
    ];
    run("qemu-img", "qemu-utils", &convert);
    assert_eq!(found(&look(&disk)).len(), 2);

    let bytes = fs::read(&disk).expect("the disk");
    // Headers, tables, the volume's first sector, and the records of its files.
    let mut spots = Vec::new();
    for at in (0..bytes.len()).step_by(512) {
        let sector = &bytes[at..at + 512];
        let known: [&[u8]; 7] = [
            b"head",
            b"regi",
            b"metadata",
            b"FILE",
            b"\xebR\x90NTFS",
            b"vhdxfile",
            b"loge",
        ];
        if known.iter().any(|begin| sector.starts_with(begin)) {
            let all = at..(at + 1024).min(bytes.len());
            spots.extend(all.filter(|at| bytes[*at] != 0));
        }
    }
    assert!(spots.len() > 3_000, "{}", spots.len());
    torment(&disk, &disk, &spots, 300);
}
