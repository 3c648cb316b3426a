//! The layouts that driver and filter host must agree on, checked against headers that neither of
//! them was made from: Wine's, mingw's, and the documentation's C retyped.
//!
//! Both assert their offsets as numbers at compile time. This test reads those assertions as text
//! and has clang, compiling for Windows, assert the same numbers of the C structures.

mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use read::Assertion;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    structure: Vec<Structure>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Structure {
    c: String,
    sources: Vec<String>,
    driver: Option<String>,
    host: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

/// A header that declares structures, and what clang needs to read it.
struct Source {
    name: &'static str,
    target: &'static str,
    arguments: &'static [&'static str],
    before: &'static str,
}

const SOURCES: [Source; 3] = [
    Source {
        name: "wine",
        target: "x86_64-pc-windows-msvc",
        arguments: &[
            "-isystem/usr/include/wine/wine/msvcrt",
            "-isystem/usr/include/wine/wine/windows",
        ],
        before: "#include <stddef.h>\n#include <stdarg.h>\n#define WIN32_NO_STATUS\n\
            #include <windef.h>\n#include <winbase.h>\n#include <winternl.h>\n\
            #include <ddk/ntifs.h>\n#include <ddk/fltkernel.h>\n",
    },
    Source {
        name: "mingw",
        target: "x86_64-w64-mingw32",
        arguments: &[
            "-isystem/usr/share/mingw-w64/include",
            "-isystem/usr/share/mingw-w64/include/ddk",
        ],
        before: "#include <stddef.h>\n#include <ntstatus.h>\n#define WIN32_NO_STATUS\n\
            #include <ddk/ntifs.h>\n",
    },
    Source {
        name: "retyped",
        target: "x86_64-pc-windows-msvc",
        arguments: &[],
        before: "#include \"retyped.h\"\n",
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn map() -> Map {
    toml::from_str(include_str!("layouts.toml")).expect("layouts.toml is well formed")
}

/// What driver and host assert, each under the name of its side.
fn assertions() -> Vec<(&'static str, Assertion)> {
    let driver = read::asserted(&root().join("src/sys.rs"));
    let host = read::declared(&root().join("crates/filterhost/src/layout"));
    assert!(
        driver.len() > 50 && host.len() > 150,
        "{} and {}",
        driver.len(),
        host.len()
    );
    let driver = driver.into_iter().map(|a| ("driver", a));
    driver
        .chain(host.into_iter().map(|a| ("host", a)))
        .collect()
}

fn behind<'m>(map: &'m Map, side: &str, name: &str) -> Option<&'m Structure> {
    map.structure.iter().find(|s| {
        let own = if side == "driver" { &s.driver } else { &s.host };
        own.as_deref() == Some(name)
    })
}

/// `file_name` as C writes it, unless the map tells otherwise.
fn in_c(structure: &Structure, field: &str) -> String {
    if let Some(name) = structure.fields.get(field) {
        return name.clone();
    }
    if field.starts_with(|c: char| c.is_ascii_uppercase()) {
        return field.to_owned();
    }
    let capital = |part: &str| {
        let (first, rest) = part.split_at(1.min(part.len()));
        first.to_ascii_uppercase() + rest
    };
    field.split('_').map(capital).collect()
}

/// The assertion in C, for one source; `None` where the map leaves the field out.
fn c_assertion(structure: &Structure, side: &str, a: &Assertion) -> Option<String> {
    let (ty, member) = structure.c.split_once('.').unwrap_or((&structure.c, ""));
    let left = match &a.field {
        None if member.is_empty() => format!("sizeof({ty})"),
        // What the union adds behind a member is not the member's.
        None => return None,
        Some(field) => {
            let name = in_c(structure, field);
            if name.is_empty() {
                return None;
            }
            let path = if member.is_empty() {
                name
            } else {
                format!("{member}.{name}")
            };
            format!("offsetof({ty}, {path})")
        }
    };
    let what = format!(
        "{side} {} {}",
        a.structure,
        a.field.as_deref().unwrap_or("size")
    );
    Some(format!(
        "_Static_assert({left} == {:#x}, \"{what}\");\n",
        a.value
    ))
}

/// Has clang read the header and the assertions; its complaints, if any.
fn compile(source: &Source, assertions: &str) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let number = std::thread::current()
        .name()
        .unwrap_or("main")
        .replace(':', "_");
    let file = folder.join(format!("layouts-{}-{number}.c", source.name));
    std::fs::write(&file, format!("{}{assertions}", source.before)).expect("the folder is ours");
    let done = Command::new("clang-19")
        .args([
            "-target",
            source.target,
            "-fsyntax-only",
            "-w",
            "-fms-extensions",
        ])
        .arg("-ferror-limit=0")
        .arg(format!("-I{}", root().join("tests/layouts").display()))
        .args(source.arguments)
        .arg(&file)
        .output()
        .expect("clang-19 is installed: `cargo xtask test` installs it");
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let errors: Vec<String> = text
        .lines()
        .filter(|line| line.contains("error"))
        .map(str::to_owned)
        .collect();
    assert!(done.status.success() || !errors.is_empty(), "{text}");
    errors
}

/// All assertions about structures that `source` declares.
fn assertions_for(source: &str, map: &Map) -> String {
    let mut text = String::new();
    for (side, assertion) in assertions() {
        if let Some(structure) = behind(map, side, &assertion.structure)
            && structure.sources.iter().any(|name| name == source)
            && let Some(line) = c_assertion(structure, side, &assertion)
        {
            text.push_str(&line);
        }
    }
    text
}

#[test]
fn every_source_agrees_with_driver_and_host() {
    let map = map();
    let mut errors = Vec::new();
    for source in &SOURCES {
        let text = assertions_for(source.name, &map);
        assert!(
            text.lines().count() > 30,
            "{} asserts too little",
            source.name
        );
        errors.extend(compile(source, &text));
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn every_asserted_structure_is_in_the_map() {
    let map = map();
    let mut lacking: Vec<String> = assertions()
        .into_iter()
        .filter(|(side, a)| behind(&map, side, &a.structure).is_none())
        .map(|(side, a)| format!("{side} {}", a.structure))
        .collect();
    lacking.dedup();
    assert!(
        lacking.is_empty(),
        "not in layouts.toml: {}",
        lacking.join(", ")
    );
}

#[test]
fn what_rests_on_one_source_is_listed() {
    let page = std::fs::read_to_string(root().join("docs/layouts.md")).expect("docs/layouts.md");
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let map = map();
    let alone: Vec<&str> = map
        .structure
        .iter()
        .filter(|s| s.sources.len() < 2)
        .map(|s| s.c.as_str())
        .collect();
    assert_eq!(
        listed, alone,
        "docs/layouts.md lists them in the order of layouts.toml"
    );
}

#[test]
fn a_wrong_offset_is_seen_in_each_source() {
    let wrong = [
        "_Static_assert(offsetof(FLT_PARAMETERS, Create.EaLength) == 0x14, \"doctored\");\n",
        "_Static_assert(offsetof(FILE_OBJECT, FileName) == 0x50, \"doctored\");\n",
        "_Static_assert(sizeof(CREATE_REDIRECTION_ECP_CONTEXT) == 0x28, \"doctored\");\n",
    ];
    for (source, text) in SOURCES.iter().zip(wrong) {
        let errors = compile(source, text);
        assert!(
            errors.iter().any(|e| e.contains("doctored")),
            "{}: {errors:?}",
            source.name
        );
    }
}

#[test]
fn a_structure_that_nobody_asserts_is_not_in_the_map() {
    let all = assertions();
    for structure in map().structure {
        for (side, name) in [("driver", structure.driver), ("host", structure.host)] {
            let Some(name) = name else { continue };
            let there = all.iter().any(|(s, a)| *s == side && a.structure == name);
            assert!(
                there,
                "layouts.toml maps {side} {name}, which asserts nothing"
            );
        }
    }
}
