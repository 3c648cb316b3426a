//! Inputs made by hand in which something infected once was passed over: each is found or named.

use std::fs;
use std::path::Path;

use siloscan_atrest::{Limits, Report};

use crate::gzip;
use crate::support::{WORD, finds, found, is_whole, look, look_with, problems, put};

/// The header of an entry of `kind`, which tells `size`.
fn header(kind: u8, name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkflag = [kind];
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// An entry with all its bytes.
fn entry(kind: u8, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut all = header(kind, name, bytes.len() as u64).as_bytes().to_vec();
    all.extend(bytes);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(b'0', name, bytes)
}

fn link(kind: u8, name: &str, to: &str) -> Vec<u8> {
    let mut header = header(kind, name, 0);
    header.set_link_name(to).expect("a name");
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// An archive of these entries, with its end.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// What is said of a file with these bytes. Packed, so that nothing is found in it as it lies
/// there.
fn packed(bytes: &[u8]) -> Report {
    plain(&gzip(bytes))
}

fn plain(bytes: &[u8]) -> Report {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("it");
    put(&path, bytes);
    look(&path)
}

#[test]
fn the_size_of_a_folder_or_link_hides_nothing() {
    let bad = file("bad", WORD);
    for kind in b"123456" {
        let first = header(*kind, "first", bad.len() as u64).as_bytes().to_vec();
        let report = packed(&archive(&[first, bad.clone()]));
        finds(&report, &["bad"]);
        is_whole(&report);
    }
    let first = header(0, "first/", bad.len() as u64).as_bytes().to_vec();
    finds(&packed(&archive(&[first, bad])), &["bad"]);
}

#[test]
fn an_entry_of_an_unknown_type_is_a_file() {
    let report = packed(&archive(&[
        entry(b'Z', "one", WORD),
        entry(b'7', "two", WORD),
    ]));
    finds(&report, &["one", "two"]);
}

#[test]
fn papers_that_name_nothing_hide_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    put(&dir.path().join("oci-layout"), b"{}");
    put(&dir.path().join("index.json"), b"{}");
    let layer = gzip(&archive(&[file("bad", WORD)]));
    put(&dir.path().join("blobs/sha256/unnamed"), &layer);
    put(&dir.path().join("other/deep/plain"), WORD);
    let report = look(dir.path());
    finds(&report, &["(the whole blob)", "bad"]);
    assert_eq!(problems(&report), [("damaged", "index.json")]);

    // Without a problem in the papers, too.
    put(&dir.path().join("index.json"), br#"{"manifests":[]}"#);
    let report = look(dir.path());
    finds(&report, &["(the whole blob)", "bad"]);
    is_whole(&report);

    for paper in ["manifest.json", "index.json", "oci-layout", "repositories"] {
        let entries = [
            file(paper, b"{}"),
            file("x/layer", &layer),
            file("plain", WORD),
        ];
        finds(&packed(&archive(&entries)), &["(the whole blob)", "bad"]);
    }
}

#[test]
fn zeros_are_no_archive() {
    let bytes = [vec![0; 1024], WORD.to_vec()].concat();
    let report = plain(&bytes);
    assert_eq!(found(&report).len(), 1);
    finds(&packed(&bytes), &["(behind the end)"]);
}

#[test]
fn what_lies_behind_the_end_is_scanned() {
    let bytes = [archive(&[file("clean", b"x")]), WORD.to_vec()].concat();
    finds(&packed(&bytes), &["(behind the end)"]);
    // Of an archive with images, and of an archive behind another.
    let image = archive(&[file("manifest.json", b"[]")]);
    let report = packed(&[image.clone(), vec![0; 9000], WORD.to_vec()].concat());
    finds(&report, &["(the whole blob)"]);
    let report = packed(&[image, archive(&[file("bad", WORD)])].concat());
    finds(&report, &["bad"]);

    let clean = packed(&[archive(&[file("clean", b"x")]), vec![0; 100_000]].concat());
    is_whole(&clean);
    assert_eq!(clean.files, 2);
}

#[test]
fn an_archive_in_which_nothing_was_found_is_scanned_as_the_file_that_it_is() {
    // In the padding behind a file's bytes.
    let mut bytes = archive(&[file("clean", b"x")]);
    bytes[600..600 + WORD.len()].copy_from_slice(WORD);
    finds(&plain(&bytes), &["it"]);
}

#[test]
fn fewer_bytes_than_were_told_are_named() {
    // A table of records can tell more than there is: here a descriptor does.
    let dir = tempfile::tempdir().expect("a folder");
    let manifest = format!(
        r#"{{"layers":[{{"mediaType":"text/plain","digest":"sha256:{0}","size":9000}}]}}"#,
        "1".repeat(64)
    );
    let index = format!(
        r#"{{"manifests":[{{"digest":"sha256:{}","size":1}}]}}"#,
        "2".repeat(64)
    );
    let blobs = dir.path().join("blobs/sha256");
    put(&dir.path().join("index.json"), index.as_bytes());
    put(&blobs.join("1".repeat(64)), b"short");
    put(&blobs.join("2".repeat(64)), manifest.as_bytes());
    let report = look(dir.path());
    assert!(
        problems(&report).contains(&("truncated", "(the whole blob)")),
        "{report:#?}"
    );
}

#[test]
fn papers_that_are_links_are_followed() {
    let layer = gzip(&archive(&[file("bad", WORD)]));
    let saved = br#" [{"Config":"c","Layers":["links/layer"]}]"#;
    for kind in b"12" {
        let papers = |to: &str| link(*kind, "manifest.json", to);
        let to = if *kind == b'1' {
            "real/layer"
        } else {
            "../real/layer"
        };
        let entries = [
            papers("papers"),
            file("papers", saved),
            file("c", b"{}"),
            file("real/layer", &layer),
            link(*kind, "links/layer", to),
        ];
        let report = packed(&archive(&entries));
        finds(&report, &["bad"]);
        is_whole(&report);
        assert_eq!(report.findings[0].images, ["c"], "{report:#?}");
    }
}

#[test]
fn both_of_two_entries_of_one_name_are_scanned() {
    let layer = |name: &str| gzip(&archive(&[file(name, WORD)]));
    let entries = [
        file("manifest.json", br#"[{"Config":"c","Layers":["layer"]}]"#),
        file("c", b"{}"),
        file("layer", &layer("one")),
        file("layer", &layer("two")),
    ];
    finds(&packed(&archive(&entries)), &["one", "two"]);
}

/// An archive of `docker save` with one layer of these bytes.
fn saved(layer: &[u8]) -> Report {
    let entries = [
        file("manifest.json", br#"[{"Config":"c","Layers":["layer"]}]"#),
        file("c", b"{}"),
        file("layer", layer),
    ];
    packed(&archive(&entries))
}

#[test]
fn a_layer_that_is_packed_in_another_way_is_named_and_scanned_as_it_is() {
    for begin in [b"\xfd7zXZ\0".as_slice(), b"BZh9", b"what"] {
        let report = saved(&[begin, WORD].concat());
        finds(&report, &["(the whole blob)"]);
        assert_eq!(problems(&report), [("unsupported", "")]);
    }
    // A layer without a file.
    is_whole(&saved(&[0; 1024]));
}

#[test]
fn signed_sums_of_headers_are_right_too() {
    let mut bytes = file("b\u{e4}d", WORD);
    bytes[148..156].fill(b' ');
    let sum: i64 = bytes[..512].iter().map(|byte| i64::from(*byte as i8)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let report = packed(&archive(&[bytes]));
    finds(&report, &["b\u{e4}d"]);
    is_whole(&report);
}

#[test]
fn values_of_pax_records_may_have_new_lines() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|n: &usize| n.to_string().len() + rest.len() == *n);
        format!("{}{rest}", length.expect("a length"))
    };
    let records = record("comment", "a\n11 path=no\n") + &record("path", "yes");
    let entries = [entry(b'x', "pax", records.as_bytes()), file("own", WORD)];
    let report = packed(&archive(&entries));
    finds(&report, &["yes"]);
    is_whole(&report);

    let long = record("path", &"x".repeat(100_000));
    let entries = [entry(b'x', "pax", long.as_bytes()), file("own", WORD)];
    let report = packed(&archive(&entries));
    finds(&report, &["own"]);
    assert_eq!(problems(&report), [("limit", "")]);
}

#[test]
fn names_that_lead_out_of_a_layout_are_not_followed() {
    let dir = tempfile::tempdir().expect("a folder");
    put(&dir.path().join("outside"), WORD);
    let root = dir.path().join("layout");
    put(&root.join("oci-layout"), b"{}");
    for name in [
        "../outside",
        dir.path().join("outside").to_str().expect("text"),
        "",
    ] {
        let name = name.replace('\\', "\\\\");
        let paper = format!(r#"[{{"Config":"c","Layers":["{name}"]}}]"#);
        put(&root.join("c"), b"{}");
        put(&root.join("manifest.json"), paper.as_bytes());
        let report = look(&root);
        finds(&report, &[]);
        assert_eq!(problems(&report), [("missing", "")]);
    }
}

#[test]
fn a_saved_configuration_must_have_the_digest_that_is_its_name() {
    for name in [
        "0".repeat(64) + ".json",
        format!("blobs/sha256/{}", "0".repeat(64)),
    ] {
        let paper = format!(r#"[{{"Config":"{name}","Layers":null}}]"#);
        let entries = [file("manifest.json", paper.as_bytes()), file(&name, b"{}")];
        let report = packed(&archive(&entries));
        assert_eq!(problems(&report), [("wrong-digest", name.as_str())]);
    }
}

#[test]
fn a_finding_names_no_more_than_a_hundred_images() {
    let layer = gzip(&archive(&[file("bad", WORD)]));
    let one = |at: usize| format!(r#"{{"Config":"c","RepoTags":["{at}"],"Layers":["layer"]}}"#);
    let images: Vec<String> = (0..150).map(one).collect();
    let paper = format!("[{}]", images.join(","));
    let entries = [
        file("manifest.json", paper.as_bytes()),
        file("c", b"{}"),
        file("layer", &layer),
    ];
    let report = packed(&archive(&entries));
    finds(&report, &["bad"]);
    assert_eq!(report.findings[0].images.len(), 100);
    assert_eq!(report.findings[0].more_images, 50);
}

#[test]
fn what_is_larger_than_files_may_be_is_not_scanned_as_one_either() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("it");
    put(&path, &archive(&[file("clean", b"x")]));
    let limits = Limits {
        file_bytes: 1000,
        ..Limits::default()
    };
    assert_eq!(look_with(&path, limits, &[]).files, 1);
    assert_eq!(look(Path::new(&path)).files, 2);
    fs::remove_file(path).expect("gone");
}
