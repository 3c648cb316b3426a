//! Images that `umoci` made and `skopeo` wrote in other forms.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use siloscan_atrest::{Finding, Kind, Limits, Report};
use support::{WORD, finds, is_whole, look, look_with, problems, put, run, text};

/// A folder in which images are made.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder"));
        umoci(&["init", "--layout", text(&bench.layout())]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn layout(&self) -> PathBuf {
        self.path("layout")
    }

    fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", text(&self.layout()))
    }

    fn begin(&self, tag: &str, os: &str) {
        umoci(&["new", "--image", &self.image(tag)]);
        umoci(&["config", "--image", &self.image(tag), "--os", os]);
    }

    /// Adds a layer with one file.
    fn file(&self, tag: &str, name: &str, bytes: &[u8]) {
        let from = self.path("from");
        put(&from, bytes);
        umoci(&["insert", "--image", &self.image(tag), text(&from), name]);
    }

    /// Adds a layer that takes `name` away.
    fn whiteout(&self, tag: &str, name: &str) {
        umoci(&["insert", "--image", &self.image(tag), "--whiteout", name]);
    }

    /// Adds a layer in which the folder `name` is empty.
    fn opaque(&self, tag: &str, name: &str) {
        let from = self.path("empty");
        fs::create_dir_all(&from).expect("a folder");
        let image = self.image(tag);
        umoci(&["insert", "--image", &image, "--opaque", text(&from), name]);
    }

    /// Another form of the image.
    fn skopeo(&self, options: &[&str], from: &str, to: &str) {
        let mut arguments = vec![
            "--insecure-policy",
            "copy",
            "-q",
            "--override-os",
            "windows",
        ];
        arguments.extend(options);
        arguments.extend([from, to]);
        run("skopeo", "skopeo", &arguments);
    }

    /// The image as `docker save` writes it.
    fn saved(&self, tag: &str) -> PathBuf {
        let to = self.path("saved.tar");
        let from = format!("oci:{}", self.image(tag));
        self.skopeo(
            &[],
            &from,
            &format!("docker-archive:{}:name:{tag}", text(&to)),
        );
        to
    }

    /// The largest blob of the layout.
    fn largest_blob(&self) -> PathBuf {
        let blobs = fs::read_dir(self.layout().join("blobs/sha256")).expect("blobs");
        let paths = blobs.map(|entry| entry.expect("a blob").path());
        paths
            .max_by_key(|path| path.metadata().expect("a size").len())
            .expect("a blob")
    }
}

fn umoci(arguments: &[&str]) {
    run("umoci", "umoci", arguments);
}

fn finding<'a>(report: &'a Report, path: &str) -> &'a Finding {
    let of_it = |finding: &&Finding| finding.place.path == path;
    report.findings.iter().find(of_it).expect("it is found")
}

/// A Windows image with files that upper layers take away in each way there is.
fn windows(bench: &Bench) {
    bench.begin("one", "windows");
    bench.file("one", "/Files/Seen.txt", WORD);
    bench.file("one", "/Files/Gone.txt", WORD);
    bench.file("one", "/Files/Folder/Below.txt", WORD);
    bench.file("one", "/Files/Emptied/Deep/Below.txt", WORD);
    bench.file("one", "/Files/Replaced.txt", WORD);
    bench.file("one", "/Files/Swapped/Below.txt", WORD);
    bench.file("one", "/Hives/Software_Delta", WORD);
    bench.whiteout("one", "/files/gone.TXT");
    bench.whiteout("one", "/Files/Folder");
    bench.file("one", "/Files/Swapped", b"clean");
    bench.opaque("one", "/Files/Emptied");
    bench.file("one", "/Files/REPLACED.txt", b"clean");
}

const FILES: [&str; 7] = [
    "Files/Emptied/Deep/Below.txt",
    "Files/Folder/Below.txt",
    "Files/Gone.txt",
    "Files/Replaced.txt",
    "Files/Seen.txt",
    "Files/Swapped/Below.txt",
    "Hives/Software_Delta",
];

fn shows_what_is_hidden(report: &Report) {
    finds(report, &FILES);
    is_whole(report);
    for path in FILES {
        let hidden = !["Files/Seen.txt", "Hives/Software_Delta"].contains(&path);
        let finding = finding(report, path);
        assert_eq!(finding.hidden, hidden, "{finding:#?}");
        assert_eq!(finding.images.len(), 1);
        let layer = finding.place.within.as_deref().unwrap_or_default();
        assert!(layer.starts_with("sha256:"), "{layer}");
    }
}

#[test]
fn a_layout_is_scanned_and_what_upper_layers_hide_is_marked() {
    let bench = Bench::new();
    windows(&bench);
    let report = look(&bench.layout());
    assert_eq!(report.kind, Kind::OciLayout);
    shows_what_is_hidden(&report);
    assert_eq!(finding(&report, "Files/Seen.txt").images, ["one"]);
}

#[test]
fn an_archive_of_docker_save_says_the_same() {
    let bench = Bench::new();
    windows(&bench);
    let saved = bench.saved("one");
    let report = look(&saved);
    assert_eq!(report.kind, Kind::Archive);
    shows_what_is_hidden(&report);

    // Packed, as people keep them.
    let packed = bench.path("saved.tar.gz");
    let file = File::create(&packed).expect("a file");
    let mut packer = GzEncoder::new(file, Compression::fast());
    packer
        .write_all(&fs::read(&saved).expect("the archive"))
        .expect("packed");
    packer.finish().expect("packed");
    shows_what_is_hidden(&look(&packed));
}

#[test]
fn an_archive_of_a_layout_and_layers_in_zstd_say_the_same() {
    let bench = Bench::new();
    windows(&bench);
    let archive = bench.path("layout.tar");
    let from = format!("oci:{}", bench.image("one"));
    bench.skopeo(&[], &from, &format!("oci-archive:{}:one", text(&archive)));
    shows_what_is_hidden(&look(&archive));

    let from = format!("docker-archive:{}", text(&bench.saved("one")));
    let packed = bench.path("zstd");
    let options = ["--dest-compress", "--dest-compress-format", "zstd"];
    bench.skopeo(&options, &from, &format!("oci:{}:one", text(&packed)));
    let index = fs::read_to_string(packed.join("index.json")).expect("an index");
    let at = index.find("sha256:").expect("a digest") + 7;
    let manifest = packed.join("blobs/sha256").join(&index[at..at + 64]);
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    assert!(manifest.contains("tar+zstd"), "{manifest}");
    shows_what_is_hidden(&look(&packed));
}

#[test]
fn names_of_linux_images_differ_in_case() {
    let bench = Bench::new();
    bench.begin("one", "linux");
    bench.file("one", "/etc/Passwd", WORD);
    bench.whiteout("one", "/etc/passwd");
    let report = look(&bench.layout());
    finds(&report, &["etc/Passwd"]);
    assert!(!finding(&report, "etc/Passwd").hidden);
}

#[test]
fn a_shared_layer_is_scanned_once_and_told_for_each_image() {
    let bench = Bench::new();
    bench.begin("one", "linux");
    bench.file("one", "/bad", WORD);
    umoci(&["tag", "--image", &bench.image("one"), "two"]);
    bench.whiteout("two", "/bad");
    let report = look(&bench.layout());
    finds(&report, &["bad"]);
    let finding = finding(&report, "bad");
    assert_eq!(finding.images, ["one", "two"]);
    assert_eq!(finding.hidden_in, ["two"]);
    assert!(!finding.hidden);
}

/// A layout with one layer of noise, so that its blob is the largest, and a word at its begin.
fn noisy(bench: &Bench) -> PathBuf {
    bench.begin("one", "linux");
    bench.file("one", "/before", WORD);
    let mut noise = WORD.to_vec();
    let mut number = 1_u32;
    for _ in 0..200_000 {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        noise.push(number as u8);
    }
    bench.file("one", "/noise", &noise);
    bench.file("one", "/after", WORD);
    bench.largest_blob()
}

#[test]
fn a_wrong_digest_is_named_and_the_content_still_scanned() {
    let bench = Bench::new();
    let blob = noisy(&bench);
    let mut bytes = fs::read(&blob).expect("the blob");
    // The time in gzip's header: the content is the same.
    bytes[4] ^= 1;
    fs::write(&blob, bytes).expect("the blob");
    let report = look(&bench.layout());
    finds(&report, &["after", "before", "noise"]);
    assert_eq!(problems(&report), [("wrong-digest", "")]);
}

#[test]
fn a_truncated_and_a_damaged_layer_are_named_and_the_rest_is_scanned() {
    let bench = Bench::new();
    let blob = noisy(&bench);
    let whole = fs::read(&blob).expect("the blob");
    fs::write(&blob, &whole[..whole.len() / 2]).expect("the blob");
    let report = look(&bench.layout());
    // What there is of the file is scanned.
    finds(&report, &["after", "before", "noise"]);
    let expected = [("truncated", "noise"), ("wrong-digest", "")];
    assert_eq!(problems(&report), expected);

    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    bytes[..3].fill(0);
    fs::write(&blob, bytes).expect("the blob");
    let report = look(&bench.layout());
    // No longer an archive, so looked at as the bytes that it is; noise is stored as it is.
    finds(&report, &["(the whole blob)", "after", "before"]);
    assert_eq!(problems(&report), [("damaged", ""), ("wrong-digest", "")]);

    fs::remove_file(&blob).expect("gone");
    let report = look(&bench.layout());
    finds(&report, &["after", "before"]);
    assert_eq!(problems(&report), [("missing", "")]);
}

#[test]
fn layers_are_scanned_where_the_papers_are_damaged() {
    let bench = Bench::new();
    windows(&bench);
    let saved = bench.saved("one");
    let bytes = fs::read(&saved).expect("the archive");
    let at = bytes.windows(10).position(|part| part == b"[{\"Config\"");
    let mut damaged = bytes;
    damaged[at.expect("manifest.json") + 1] = b'x';
    fs::write(&saved, damaged).expect("the archive");
    let report = look(&saved);
    finds(&report, &FILES);
    assert_eq!(problems(&report), [("damaged", "manifest.json")]);

    put(&bench.layout().join("index.json"), b"{ what");
    let report = look(&bench.layout());
    finds(&report, &FILES);
    assert_eq!(problems(&report), [("damaged", "index.json")]);
    fs::remove_file(bench.layout().join("index.json")).expect("gone");
    let report = look(&bench.layout());
    finds(&report, &FILES);
    assert_eq!(problems(&report), [("missing", "")]);
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_layout_is_not_followed() {
    let bench = Bench::new();
    let blob = noisy(&bench);
    let outside = bench.path("outside");
    fs::rename(&blob, &outside).expect("moved");
    std::os::unix::fs::symlink(&outside, &blob).expect("a link");
    let report = look(&bench.layout());
    finds(&report, &["after", "before"]);
    assert_eq!(problems(&report), [("unsupported", "")]);
}

#[test]
fn limits_are_told_and_what_lies_before_them_is_scanned() {
    let bench = Bench::new();
    bench.begin("one", "linux");
    bench.file("one", "/before", WORD);
    bench.file("one", "/zeros", &vec![0; 8 << 20]);
    let limits = Limits {
        layer_bytes_free: 1 << 20,
        ..Limits::default()
    };
    let report = look_with(&bench.layout(), limits, &[]);
    finds(&report, &["before"]);
    assert_eq!(problems(&report), [("limit", "zeros")]);

    let limits = Limits {
        layer_bytes: 1 << 20,
        ..Limits::default()
    };
    let report = look_with(&bench.layout(), limits, &[]);
    assert_eq!(problems(&report), [("limit", "zeros")]);

    let limits = Limits {
        file_bytes: 1 << 20,
        ..Limits::default()
    };
    let report = look_with(&bench.layout(), limits, &[]);
    finds(&report, &["before"]);
    assert_eq!(problems(&report), [("too-large", "zeros")]);

    let limits = Limits {
        layer_entries: 0,
        ..Limits::default()
    };
    let report = look_with(&bench.layout(), limits, &[]);
    assert_eq!(problems(&report), [("limit", ""), ("limit", "")]);
}

/// A tar archive by hand.
fn archive(path: &Path, write: &dyn Fn(&mut tar::Builder<File>)) {
    let mut builder = tar::Builder::new(File::create(path).expect("a file"));
    write(&mut builder);
    builder.finish().expect("written");
}

fn add(builder: &mut tar::Builder<File>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    builder
        .append_data(&mut header, name, bytes)
        .expect("written");
}

#[test]
fn an_archive_without_papers_is_the_one_layer_that_it_is() {
    let bench = Bench::new();
    let path = bench.path("rootfs.tar");
    let long = format!("{}/bad", "folder/".repeat(40).trim_end_matches('/'));
    archive(&path, &|builder| {
        add(builder, "bin/bad", WORD);
        add(builder, &long, WORD);
    });
    let report = look(&path);
    finds(&report, &["bin/bad", &long]);
    is_whole(&report);
}

#[test]
fn a_damaged_header_costs_one_file() {
    let bench = Bench::new();
    let path = bench.path("rootfs.tar");
    archive(&path, &|builder| {
        for name in ["one", "two", "three"] {
            add(builder, name, WORD);
        }
    });
    let mut bytes = fs::read(&path).expect("the archive");
    bytes[1024] ^= 1;
    fs::write(&path, bytes).expect("the archive");
    let report = look(&path);
    finds(&report, &["one", "three"]);
    assert_eq!(problems(&report), [("damaged", "")]);
}

#[test]
fn an_endless_name_is_refused_and_the_next_file_scanned() {
    let bench = Bench::new();
    let path = bench.path("rootfs.tar.gz");
    let file = File::create(&path).expect("a file");
    let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_path("././@LongLink").expect("a name");
    header.set_size(100 << 20);
    header.set_cksum();
    builder
        .append(
            &header,
            std::io::Read::take(std::io::repeat(b'x'), 100 << 20),
        )
        .expect("written");
    let mut header = tar::Header::new_gnu();
    header.set_size(WORD.len() as u64);
    builder
        .append_data(&mut header, "bad", WORD)
        .expect("written");
    builder.into_inner().expect("tar").finish().expect("gzip");
    let report = look(&path);
    finds(&report, &["bad"]);
    assert_eq!(problems(&report), [("limit", "")]);
}
