//! Builds small drivers in C for the tests, once for each test program.
//!
//! clang and lld are Debian's; `cargo xtask test` installs them and turns the feature `clang` on.
//! The import libraries are made from the host's own table, so a driver links whatever the host
//! provides and nothing else.

mod link;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use link::{link, run};

/// Where built drivers go: below the target folder of this workspace.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drivers-{}", std::process::id()))
}

/// Builds `tests/drivers/<name>.c` (or what a whole path without ending names) with these extra
/// compiler arguments (`-DCASE=3`, say).
///
/// # Panics
/// When a tool is missing or fails; the message says what to install.
pub fn driver(name: &str, arguments: &[&str]) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let key = format!("{name} {}", arguments.join(" "));
    if let Some(path) = built.get(&key) {
        return path.clone();
    }
    let path = build(name, arguments, &folder().join(built.len().to_string()));
    built.insert(key, path.clone());
    path
}

fn build(name: &str, arguments: &[&str], to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).expect("a folder for the driver");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers");
    let source = sources.join(format!("{name}.c"));
    let own = Path::new(name)
        .file_name()
        .expect("a name")
        .to_string_lossy();
    let object = to.join(format!("{own}.obj"));
    let mut clang = Command::new("clang-19");
    clang
        .args([
            "--target=x86_64-pc-windows-msvc",
            "-std=c17",
            "-ffreestanding",
            "-fno-builtin",
        ])
        .args([
            "-O1",
            "-g",
            "-gcodeview",
            "-Wall",
            "-Werror",
            "-Wno-unused-function",
            "-c",
        ])
        .args([
            "-fms-extensions",
            "-mno-stack-arg-probe",
            "-fasynchronous-unwind-tables",
        ])
        .args(arguments)
        .arg("-I")
        .arg(&sources)
        .arg("-o")
        .arg(&object)
        .arg(&source);
    run(&mut clang);
    link(&own, &object, to)
}
