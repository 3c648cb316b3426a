//! What the engine says of bytes, and what becomes of rule files that are broken or absent.

use std::fs;
use std::path::Path;

use siloscan_service::engine::{
    EICAR_RULE, Engine, EngineError, Finding, RuleSource, YaraEngine, compile, eicar_test_file,
};
use siloscan_service::rules::load;

fn infected(engine: &dyn Engine, bytes: &[u8]) -> Option<String> {
    match engine.scanner().scan(bytes, None) {
        Ok(Finding::Infected { rule, .. }) => Some(rule),
        Ok(Finding::Clean) => None,
        Err(error) => panic!("no verdict: {error}"),
    }
}

fn source(name: &str, text: &str) -> RuleSource {
    RuleSource {
        name: name.to_owned(),
        text: text.as_bytes().to_vec(),
    }
}

fn engine_of(sources: &[RuleSource]) -> YaraEngine {
    let compiled = compile(sources);
    assert_eq!(compiled.broken, []);
    compiled.engine
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

const GOOD: &str = "rule Good { strings: $a = \"needle\" condition: $a }\n";

#[test]
fn eicar_is_detected_as_eicar_defines_it() {
    let engine = engine_of(&[]);
    let eicar = eicar_test_file();
    assert!(eicar.starts_with(b"X5O!P%@AP[4") && eicar.ends_with(b"!$H+H*"));
    let is_eicar = |bytes: &[u8]| infected(&engine, bytes).as_deref() == Some(EICAR_RULE);
    let with = |tail: &[u8]| [&eicar[..], tail].concat();

    assert!(is_eicar(&eicar), "the 68 bytes alone");
    for space in [b' ', b'\t', b'\n', b'\r', 0x1a] {
        for count in [1, 2, 59, 60] {
            assert!(
                is_eicar(&with(&vec![space; count])),
                "{count} of {space:#x}"
            );
        }
        assert!(
            !is_eicar(&with(&[space; 61])),
            "129 bytes, the last {space:#x}"
        );
    }
    assert!(is_eicar(&with(b" \t\r\n\x1a  ")));
    for other in 0..=255_u8 {
        let allowed = [b' ', b'\t', b'\n', b'\r', 0x1a].contains(&other);
        assert_eq!(is_eicar(&with(&[other])), allowed, "followed by {other:#x}");
        assert_eq!(
            is_eicar(&with(&[b' ', other])),
            allowed,
            "blank, then {other:#x}"
        );
        let mut last = [b' '; 60];
        last[59] = other;
        assert_eq!(
            is_eicar(&with(&last)),
            allowed,
            "the 128th byte is {other:#x}"
        );
    }
    assert!(!is_eicar(&[b" ", &eicar[..]].concat()), "not at offset 0");
    assert!(!is_eicar(&eicar[..67]), "one byte short");
    assert!(!is_eicar(&[]), "empty");
    assert!(!is_eicar(&with(&eicar)), "twice");
    for at in 0..eicar.len() {
        let mut changed = eicar;
        changed[at] ^= 0x20;
        assert!(!is_eicar(&changed), "byte {at} differs");
    }
}

#[test]
fn a_scanner_is_used_again_and_again() {
    let engine = engine_of(&[source("a.yar", GOOD)]);
    let mut scanner = engine.scanner();
    for _ in 0..3 {
        assert_eq!(scanner.scan(b"hay", None), Ok(Finding::Clean));
        let found = Finding::Infected {
            rule: "Good".into(),
            origin: "a.yar".into(),
        };
        assert_eq!(scanner.scan(b"hay needle", None), Ok(found));
    }
}

#[test]
fn modules_for_windows_files_are_there() {
    let text = "import \"pe\" import \"dotnet\" import \"hash\" import \"math\" import \"lnk\"\n\
                import \"string\" import \"time\" import \"console\"\n\
                rule Big { condition: math.entropy(0, filesize) > 9.0 or pe.is_pe }";
    let engine = engine_of(&[source("m.yar", text)]);
    assert_eq!(infected(&engine, b"no image"), None);
}

#[test]
fn the_digest_names_sources_and_nothing_else() {
    let digest = |sources: &[RuleSource]| compile(sources).engine.digest();
    let one = source("a.yar", GOOD);
    assert_eq!(
        digest(std::slice::from_ref(&one)),
        digest(std::slice::from_ref(&one))
    );
    assert_ne!(digest(&[]), digest(std::slice::from_ref(&one)));
    assert_ne!(
        digest(&[source("b.yar", GOOD)]),
        digest(std::slice::from_ref(&one))
    );
    let blank = source("a.yar", &format!("{GOOD} "));
    assert_ne!(digest(&[blank]), digest(std::slice::from_ref(&one)));
    // A broken file is not in the set, so it is not in the digest.
    let broken = source("z.yar", "rule {");
    assert_eq!(digest(&[one.clone(), broken]), digest(&[one]));
}

#[test]
fn broken_rules_are_named_with_file_and_line_and_the_good_ones_are_used() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yar", GOOD);
    write(
        folder.path(),
        "syntax.yar",
        "// one\n// two\nrule Bad {\n condition: ( }\n",
    );
    write(
        folder.path(),
        "unknown.yar",
        "\nrule Bad2 { condition: nothing_known }\n",
    );
    write(
        folder.path(),
        "named.yar",
        "rule N { condition: filename contains \"setup\" }\n",
    );
    write(folder.path(), "include.yar", "include \"a.yar\"\n");
    write(
        folder.path(),
        "half.yara",
        "global private rule Gate { condition: missing }\nrule Half { condition: true }\n",
    );
    fs::write(
        folder.path().join("latin1.yar"),
        b"// caf\xe9\nrule L { condition: true }",
    )
    .unwrap();
    write(folder.path(), "notes.txt", "not a rule file {");
    fs::create_dir(folder.path().join("more")).unwrap();
    write(
        folder.path(),
        "more/deep.yar",
        "rule Deep { strings: $a = \"deep\" condition: $a }",
    );

    let loaded = load(Some(folder.path()));
    let text = loaded.problems.join("\n");
    for place in [
        "syntax.yar:4: ",
        "unknown.yar:2: ",
        "named.yar:1: unknown identifier `filename`: a verdict belongs to bytes",
        "include.yar:1: ",
        "half.yara:1: ",
    ] {
        let path = folder.path().join(place);
        assert!(text.contains(path.to_str().unwrap()), "{place} in:\n{text}");
    }
    assert!(text.contains("latin1.yar:1: "), "{text}");
    assert_eq!(loaded.problems.len(), 6, "{text}");

    let engine = &*loaded.engine;
    assert_eq!(infected(engine, b"needle").as_deref(), Some("Good"));
    assert_eq!(infected(engine, b"deep").as_deref(), Some("Deep"));
    assert_eq!(
        infected(engine, &eicar_test_file()).as_deref(),
        Some(EICAR_RULE)
    );
    // `Half` would match everything: its file is left out as a whole.
    assert_eq!(infected(engine, b"anything"), None);
}

#[test]
fn a_folder_that_is_not_there_leaves_the_built_in_rules() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let loaded = load(Some(&absent));
    let [problem] = loaded.problems.as_slice() else {
        panic!("one problem: {:?}", loaded.problems);
    };
    assert!(
        problem.contains(absent.to_str().unwrap()) && problem.contains("--rules"),
        "{problem}"
    );
    let rule = infected(&*loaded.engine, &eicar_test_file());
    assert_eq!(rule.as_deref(), Some(EICAR_RULE));
    assert_eq!(loaded.engine.digest(), load(None).engine.digest());
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_are_used() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yar", GOOD);
    std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("gone.yar")).unwrap();
    let loaded = load(Some(folder.path()));
    assert_eq!(loaded.problems.len(), 1);
    assert!(
        loaded.problems[0].contains("gone.yar"),
        "{:?}",
        loaded.problems
    );
    assert_eq!(
        infected(&*loaded.engine, b"needle").as_deref(),
        Some("Good")
    );
}

#[test]
fn a_slow_scan_ends_by_its_limit() {
    // A million times a million looks: it would take hours.
    let text = "rule Slow { condition: for all i in (0..filesize) : (uint8(i) == 0 and \
                not for any j in (0..filesize) : (uint8(j) == 0xff)) }";
    let engine = engine_of(&[source("slow.yar", text)]);
    let mut scanner = engine.scanner();
    let limit = Some(std::time::Duration::from_secs(1));
    let result = scanner.scan(&vec![0_u8; 1 << 20], limit);
    assert_eq!(result, Err(EngineError::TimedOut));
    assert_eq!(
        scanner.scan(b"B", limit),
        Ok(Finding::Clean),
        "it is usable afterwards"
    );
}
