//! Placeholders of a stopped container: which file of which layer they stand for, and where that
//! lies.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use siloscan_atrest::{Bytes, Layers, Miss, Place, Report, Seen, Target, Uuid, shown, table};
use support::bench::{Bench, GUID, GUID_TEXT, data, point, raw, utf16};
use support::{WORD, finds, is_whole, look, look_in, problems, put, text};

const WCI_1: u32 = 0x9000_1018;
const OTHER: [u8; 16] = [2; 16];
const OTHER_TEXT: &str = "02020202-0202-0202-0202-020202020202";

/// A VHDX whose volume has empty files with these reparse points.
fn disk(bench: &Bench, points: &[(&str, Vec<u8>)]) -> PathBuf {
    let volume = bench.volume(16 << 20);
    for (name, point) in points {
        bench.put(&volume, &[], name, b"");
        bench.put(&volume, &["-a", "0xC0"], name, point);
    }
    bench.vhdx(&volume)
}

fn rows(report: &Report) -> Vec<Value> {
    let json = serde_json::to_value(report).expect("a report");
    json["placeholders"].as_array().expect("rows").clone()
}

/// Layers that are given by their GUIDs.
fn given(folders: &[(&str, &Path)], scan: bool) -> Layers {
    let folder = |(layer, folder): &(&str, &Path)| {
        let layer = Uuid::try_parse(layer).expect("a GUID");
        (layer, folder.to_path_buf())
    };
    Layers {
        folders: folders.iter().map(folder).collect(),
        scan,
        ..Layers::default()
    }
}

/// Where the bytes of each placeholder lie.
fn bytes(report: &Report) -> Vec<Option<&Bytes>> {
    let rows = report.placeholders.iter();
    rows.map(|row| row.bytes.as_ref()).collect()
}

fn at(path: &Path) -> Bytes {
    Bytes::At(path.display().to_string())
}

#[test]
fn the_published_reparse_point_of_a_windows_disk_is_read() {
    // https://research.checkpoint.com/2021/playing-in-the-windows-sandbox/
    let published = [
        0x18, 0x10, 0x00, 0x90, 0x54, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x77, 0xf6, 0x64, 0x82, 0xb0, 0x40, 0xa5, 0x4c, 0xbf, 0x9a, 0x94, 0x4a, 0xc2, 0xda,
        0x80, 0x87, 0x3a, 0x00, 0x57, 0x00, 0x69, 0x00, 0x6e, 0x00, 0x64, 0x00, 0x6f, 0x00, 0x77,
        0x00, 0x73, 0x00, 0x5c, 0x00, 0x53, 0x00, 0x79, 0x00, 0x73, 0x00, 0x74, 0x00, 0x65, 0x00,
        0x6d, 0x00, 0x33, 0x00, 0x32, 0x00, 0x5c, 0x00, 0x6b, 0x00, 0x65, 0x00, 0x72, 0x00, 0x6e,
        0x00, 0x65, 0x00, 0x6c, 0x00, 0x33, 0x00, 0x32, 0x00, 0x2e, 0x00, 0x64, 0x00, 0x6c, 0x00,
        0x6c, 0x00,
    ];
    let bench = Bench::new();
    let report = look(&disk(&bench, &[("kernel32.dll", published.to_vec())]));
    is_whole(&report);
    let expected = json!({
        "within": "volume 1",
        "path": "kernel32.dll",
        "tag": "0x90001018",
        "layer": GUID_TEXT,
        "name": "Windows\\System32\\kernel32.dll",
        "bytes": "folder-unknown",
    });
    assert_eq!(rows(&report), [expected]);
}

#[test]
fn placeholders_are_summed_by_layer_and_tombstones_counted_apart() {
    let bench = Bench::new();
    let tags = [0x8000_0018, WCI_1, 0xa000_0027, 0xa000_1027];
    let mut points: Vec<(String, Vec<u8>)> = tags
        .iter()
        .map(|tag| (format!("{tag:x}"), point(*tag, GUID, "a.dll")))
        .collect();
    points.push(("other".to_owned(), point(WCI_1, OTHER, "b.dll")));
    points.push(("gone".to_owned(), raw(0xa000_001f, b"")));
    points.push(("gone-too".to_owned(), point(0xa000_001f, GUID, "c.dll")));
    let points: Vec<(&str, Vec<u8>)> = points
        .iter()
        .map(|(name, point)| (name.as_str(), point.clone()))
        .collect();
    let report = look(&disk(&bench, &points));
    is_whole(&report);
    assert_eq!(report.placeholders.len(), 5);
    assert_eq!(report.layers[GUID_TEXT].placeholders, 4);
    assert_eq!(report.layers[OTHER_TEXT].placeholders, 1);
    assert_eq!(report.deletions, 2);
    assert!(report.unread.is_empty());
    let text = table(&report);
    for part in [
        GUID_TEXT,
        OTHER_TEXT,
        "2 files and folders of layers are deleted",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn data_of_another_form_is_a_named_reason_and_loses_nothing() {
    let good = data(GUID, &utf16("Windows\\a.dll"));
    let mut version = good.clone();
    version[0] = 2;
    let mut short_name = good.clone();
    short_name[24] -= 2;
    let mut long_name = good.clone();
    long_name[24] += 2;
    let mut longer_head = raw(WCI_1, &good);
    longer_head[4] += 1;
    let mut shorter_head = raw(WCI_1, &good);
    shorter_head[4] -= 1;
    let named = |name: &[u8]| raw(WCI_1, &data(GUID, name));
    let cases = [
        ("version", raw(WCI_1, &version), "other-version"),
        (
            "newer-and-short",
            raw(WCI_1, &version[..12]),
            "other-version",
        ),
        ("nothing", raw(WCI_1, b""), "truncated"),
        ("half-a-guid", raw(WCI_1, &good[..20]), "truncated"),
        ("half-a-length", raw(WCI_1, &good[..25]), "truncated"),
        ("half-a-name", raw(WCI_1, &good[..30]), "truncated"),
        ("name-too-long", raw(WCI_1, &long_name), "truncated"),
        ("name-too-short", raw(WCI_1, &short_name), "too-long"),
        ("head-too-long", longer_head, "truncated"),
        ("head-too-short", shorter_head, "too-long"),
        (
            "huge",
            raw(WCI_1, &[good.clone(), vec![0; 8000]].concat()),
            "too-long",
        ),
        ("odd", named(b"a\0b"), "odd-length"),
        ("empty", named(b""), "no-name"),
        ("half-a-pair", named(&[0x00, 0xd8, b'a', 0]), "not-utf16"),
        ("above", named(&utf16("..\\..\\etc\\passwd")), "no-path"),
        ("slash", named(&utf16("a/../../etc")), "no-path"),
        ("root", named(&utf16("\\Windows\\a.dll")), "no-path"),
        ("stream", named(&utf16("a.dll:b")), "no-path"),
        ("nul", named(&utf16("a\0b")), "no-path"),
    ];
    let bench = Bench::new();
    let mut points: Vec<(&str, Vec<u8>)> = cases
        .iter()
        .map(|(name, point, _)| (*name, point.clone()))
        .collect();
    points.push(("good", raw(WCI_1, &good)));
    let disk = disk(&bench, &points);
    let report = look(&disk);
    is_whole(&report);
    let mut expected: Vec<Value> = cases.iter().map(|case| case.2.into()).collect();
    expected.push(Value::Null);
    let told: Vec<Value> = rows(&report)
        .iter()
        .map(|row| row["unread"].clone())
        .collect();
    assert_eq!(told, expected);
    assert_eq!(report.unread.values().sum::<u64>(), cases.len() as u64);
    assert_eq!(report.layers[GUID_TEXT].placeholders, 1);
    let text = table(&report);
    assert!(text.contains("2 other-version"), "{text}");

    // Who wants the bytes scanned hears that they were not.
    let report = look_in(&disk, given(&[], true));
    assert_eq!(report.problems.len(), cases.len() + 1);
    assert!(problems(&report).iter().all(|(kind, _)| *kind == "missing"));
}

#[test]
fn a_placeholder_that_is_cut_anywhere_is_told() {
    let whole = point(WCI_1, GUID, "a.dll");
    let cut: Vec<(String, Vec<u8>)> = (4..whole.len())
        .map(|length| (format!("cut-{length}"), whole[..length].to_vec()))
        .collect();
    let points: Vec<(&str, Vec<u8>)> = cut
        .iter()
        .map(|(name, point)| (name.as_str(), point.clone()))
        .collect();
    let bench = Bench::new();
    let report = look(&disk(&bench, &points));
    is_whole(&report);
    assert_eq!(report.placeholders.len(), cut.len());
    assert!(report.layers.is_empty(), "{:#?}", report.layers);
}

#[test]
fn bytes_are_found_in_the_folders_of_two_layers_and_scanned_once() {
    let bench = Bench::new();
    let (one, other) = (bench.path("one"), bench.path("other"));
    put(&one.join("Files/Windows/System32/bad.dll"), WORD);
    // What lies beside `Files` is the layer's own.
    put(&one.join("Hives/System_Delta"), WORD);
    put(&other.join("good.dll"), b"good");
    let disk = disk(
        &bench,
        &[
            ("a.dll", point(WCI_1, GUID, "windows\\SYSTEM32\\Bad.dll")),
            ("b.dll", point(WCI_1, GUID, "Windows\\System32\\bad.dll")),
            ("c.dll", point(WCI_1, OTHER, "good.dll")),
            ("d.dll", point(WCI_1, OTHER, "gone.dll")),
            ("e.dll", point(WCI_1, GUID, "Hives\\System_Delta")),
            ("f.dll", point(WCI_1, [3; 16], "good.dll")),
            ("g.dll", point(WCI_1, GUID, "Windows\\System32")),
            (
                "h.dll",
                point(WCI_1, GUID, "files\\Windows\\System32\\bad.dll"),
            ),
        ],
    );
    let folders: [(&str, &Path); 2] = [(GUID_TEXT, &one), (OTHER_TEXT, &other)];
    let report = look_in(&disk, given(&folders, false));
    is_whole(&report);
    finds(&report, &[]);
    let bad = at(&one.join("Files/Windows/System32/bad.dll"));
    let good = at(&other.join("good.dll"));
    let nowhere = Bytes::NotThere;
    let unknown = Bytes::FolderUnknown;
    // A folder has the name that a file should have.
    let other_kind = Bytes::Unreadable;
    let expected = [
        &bad,
        &bad,
        &good,
        &nowhere,
        &nowhere,
        &unknown,
        &other_kind,
        &bad,
    ];
    assert_eq!(bytes(&report), expected.map(Some));
    let sum = &report.layers[GUID_TEXT];
    assert_eq!((sum.placeholders, sum.found, sum.not_there), (5, 3, 1));
    assert_eq!(sum.folders.iter().collect::<Vec<_>>(), [text(&one)]);
    let before = report.files;

    let report = look_in(&disk, given(&folders, true));
    assert_eq!(report.files, before + 2);
    finds(
        &report,
        &[text(&one.join("Files/Windows/System32/bad.dll"))],
    );
    let within = report.findings[0].place.within.as_deref();
    assert_eq!(within, Some(format!("layer {GUID_TEXT}").as_str()));
    let mut expected = ["d.dll", "e.dll", "f.dll", "g.dll"].map(|name| ("missing", name));
    expected[3].0 = "unreadable";
    assert_eq!(problems(&report), expected);
}

#[cfg(unix)]
#[test]
fn no_link_in_a_layer_is_followed() {
    let bench = Bench::new();
    let layer = bench.path("layer");
    put(&bench.path("outside/bad.dll"), WORD);
    fs::create_dir(&layer).expect("a folder");
    std::os::unix::fs::symlink(bench.path("outside"), layer.join("folder")).expect("a link");
    let bad = bench.path("outside/bad.dll");
    std::os::unix::fs::symlink(bad, layer.join("file.dll")).expect("a link");
    let disk = disk(
        &bench,
        &[
            ("a.dll", point(WCI_1, GUID, "folder\\bad.dll")),
            ("b.dll", point(WCI_1, GUID, "file.dll")),
        ],
    );
    let report = look_in(&disk, given(&[(GUID_TEXT, &layer)], true));
    finds(&report, &[]);
    assert_eq!(bytes(&report), [Some(&Bytes::Unreadable); 2]);
    let expected = ["a.dll", "b.dll"].map(|name| ("unreadable", name));
    assert_eq!(problems(&report), expected);
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_file_in_an_upper_layer_hides_the_file_below() {
    let bench = Bench::new();
    let (store, chain) = store(&bench, &["top", "base"]);
    put(&store.join("top/Files/other.dll"), b"other");
    put(&store.join("base/Files/linked.dll"), WORD);
    put(&store.join("base/Files/folder/bad.dll"), WORD);
    let link = |name: &str| {
        let to = store.join("top/Files/other.dll");
        std::os::unix::fs::symlink(to, store.join("top/Files").join(name)).expect("a link");
    };
    link("linked.dll");
    link("folder");
    let points = [
        ("a.dll", point(WCI_1, GUID, "linked.dll")),
        ("b.dll", point(WCI_1, GUID, "folder\\bad.dll")),
    ];
    let report = look_in(&disk(&bench, &points), chained(&chain, None));
    assert_eq!(bytes(&report), [Some(&Bytes::Unreadable); 2]);
    finds(&report, &[]);
}

#[cfg(unix)]
#[test]
fn of_names_that_differ_in_case_the_one_that_is_spelled_so_counts() {
    let bench = Bench::new();
    let layer = bench.path("layer");
    for name in ["A.dll", "a.dll", "a.DLL"] {
        put(&layer.join(name), name.as_bytes());
    }
    let disk = disk(&bench, &[("one", point(WCI_1, GUID, "a.dll"))]);
    let report = look_in(&disk, given(&[(GUID_TEXT, &layer)], false));
    assert_eq!(bytes(&report), [Some(&at(&layer.join("a.dll")))]);
}

/// A store of Docker's with a container, whose chain names these layers.
fn store(bench: &Bench, layers: &[&str]) -> (PathBuf, PathBuf) {
    let store = bench.path("windowsfilter");
    let chain = store.join("container/layerchain.json");
    let folder = |id: &&str| format!(r"C:\ProgramData\Docker\windowsfilter\{id}");
    let folders: Vec<String> = layers.iter().map(folder).collect();
    put(&chain, json!(folders).to_string().as_bytes());
    (store, chain)
}

fn chained(chain: &Path, store: Option<&Path>) -> Layers {
    Layers {
        chain: Some(chain.to_owned()),
        store: store.map(Path::to_path_buf),
        scan: true,
        ..Layers::default()
    }
}

#[test]
fn the_topmost_layer_of_dockers_chain_that_has_a_file_is_its_layer() {
    let bench = Bench::new();
    let (store, chain) = store(&bench, &["top", "base"]);
    put(&store.join("top/Files/both.dll"), WORD);
    put(&store.join("base/Files/both.dll"), b"hidden");
    put(&store.join("base/Files/lower.dll"), b"lower");
    let points = [
        ("a.dll", point(WCI_1, GUID, "both.dll")),
        ("b.dll", point(WCI_1, OTHER, "lower.dll")),
        ("c.dll", point(WCI_1, OTHER, "both.dll")),
        ("d.dll", point(WCI_1, OTHER, "gone.dll")),
    ];
    let disk = disk(&bench, &points);
    let report = look_in(&disk, chained(&chain, None));
    let top = at(&store.join("top/Files/both.dll"));
    let lower = at(&store.join("base/Files/lower.dll"));
    let expected = [&top, &lower, &top, &Bytes::NotThere];
    assert_eq!(bytes(&report), expected.map(Some));
    finds(&report, &[text(&store.join("top/Files/both.dll"))]);
    // Which layer that is the chain says, and not the disk.
    let within = report.findings[0].place.within.as_deref();
    assert_eq!(within, Some(text(&store.join("top"))));
    assert_eq!(problems(&report), [("missing", "d.dll")]);
    // A GUID that was found in two folders shows that something is wrong with the chain.
    assert_eq!(report.layers[GUID_TEXT].folders.len(), 1);
    assert_eq!(report.layers[OTHER_TEXT].folders.len(), 2);

    // What is given for a GUID is not looked for elsewhere.
    let mut layers = chained(&chain, None);
    let base = store.join("base");
    layers.folders = given(&[(GUID_TEXT, &base)], false).folders;
    let report = look_in(&disk, layers);
    let below = at(&store.join("base/Files/both.dll"));
    assert_eq!(bytes(&report)[0], Some(&below));
    let mut layers = chained(&chain, None);
    let typo = store.join("typo");
    layers.folders = given(&[(GUID_TEXT, &typo)], false).folders;
    let report = look_in(&disk, layers);
    assert_eq!(bytes(&report)[0], Some(&Bytes::FolderUnknown));

    // The chain may be copied away, if it is said where the layers are.
    let away = bench.path("away/layerchain.json");
    put(&away, &fs::read(&chain).expect("the chain"));
    let report = look_in(&disk, chained(&away, Some(&store)));
    assert_eq!(bytes(&report), expected.map(Some));
}

#[test]
fn below_a_layer_that_is_missing_nothing_is_looked_for() {
    let bench = Bench::new();
    let (store, chain) = store(&bench, &["top", "middle", "base"]);
    put(&store.join("top/Files/a.dll"), b"top");
    put(&store.join("base/Files/b.dll"), b"base");
    let points = [
        ("a.dll", point(WCI_1, GUID, "a.dll")),
        ("b.dll", point(WCI_1, OTHER, "b.dll")),
    ];
    let disk = disk(&bench, &points);
    let report = look_in(&disk, chained(&chain, None));
    let top = at(&store.join("top/Files/a.dll"));
    let expected = [Some(&top), Some(&Bytes::FolderUnknown)];
    assert_eq!(bytes(&report), expected);
    let middle = store.join("middle");
    let expected = [("missing", text(&middle)), ("missing", "b.dll")];
    assert_eq!(problems(&report), expected);

    // Of a layer that is given it is known what it has.
    let mut layers = chained(&chain, None);
    layers.folders = given(&[(OTHER_TEXT, &store.join("top"))], false).folders;
    let report = look_in(&disk, layers);
    assert_eq!(bytes(&report), [Some(&top), Some(&Bytes::NotThere)]);
}

#[test]
fn chains_and_folders_that_cannot_be_used_are_named() {
    let bench = Bench::new();
    let disk = disk(&bench, &[("a.dll", point(WCI_1, GUID, "a.dll"))]);
    let chain = bench.path("store/container/layerchain.json");
    for (content, kind) in [
        ("{", "damaged"),
        (r#"["C:\\x\\.."]"#, "damaged"),
        (r#"["C:"]"#, "damaged"),
        (r#"[""]"#, "damaged"),
    ] {
        put(&chain, content.as_bytes());
        let report = look_in(&disk, chained(&chain, None));
        let expected = [(kind, text(&chain)), ("missing", "a.dll")];
        assert_eq!(problems(&report), expected, "{content}");
    }
    put(&chain, b"null");
    let report = look_in(&disk, chained(&chain, None));
    assert_eq!(problems(&report), [("missing", "a.dll")]);

    let nowhere = bench.path("nowhere");
    let report = look_in(&disk, chained(&nowhere, None));
    assert_eq!(problems(&report)[0], ("missing", text(&nowhere)));
    let report = look_in(&disk, given(&[(GUID_TEXT, &nowhere)], false));
    assert_eq!(problems(&report), [("missing", text(&nowhere))]);
}

#[test]
fn names_of_strangers_steer_no_terminal() {
    let name = "evil\u{1b}[2J\u{202e}.dll";
    let bench = Bench::new();
    let disk = disk(&bench, &[("a.dll", point(WCI_1, GUID, name))]);
    let layer = bench.path("layer");
    put(&layer.join(name), WORD);
    let report = look_in(&disk, given(&[(GUID_TEXT, &layer)], true));
    let file = text(&layer.join(name)).to_owned();
    finds(&report, &[&file]);
    let text = table(&report);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert_ne!(shown(&file), file);
    // Another that is not there stands in a problem.
    fs::remove_file(layer.join(name)).expect("gone");
    let report = look_in(&disk, given(&[(GUID_TEXT, &layer)], true));
    assert_eq!(problems(&report), [("missing", "a.dll")]);
    assert!(!table(&report).contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_disk_that_invents_layers_does_not_fill_the_report() {
    let mut report = Report::new(Path::new("disk"));
    for number in 0..1_100_u128 {
        let seen = Seen {
            place: Place::within("volume 1", "a.dll"),
            tag: WCI_1,
            target: Ok(Target {
                layer: Uuid::from_u128(number % 1_050),
                parts: vec!["a.dll".to_owned()],
            }),
        };
        report.placeholder(seen, &Err(Miss::FolderUnknown));
    }
    assert_eq!(report.layers.len(), 1_000);
    assert_eq!(report.left_out.of_layers, 50);
    let summed: u64 = report.layers.values().map(|sum| sum.placeholders).sum();
    assert_eq!(summed, 1_050);
    let vain: u64 = report.layers.values().map(|sum| sum.not_there).sum();
    assert_eq!(vain, 0, "nothing was looked for");
    assert!(table(&report).contains("and 50 placeholders of more layers"));
}
