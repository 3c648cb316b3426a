//! Builds small drivers in C for the tests, once for each test program.
//!
//! clang and lld are Debian's; `cargo xtask test` installs them and turns the feature `clang` on.
//! The import libraries are made from the host's own table, so a driver links whatever the host
//! provides and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where built drivers go: below the target folder of this workspace.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drivers-{}", std::process::id()))
}

/// Builds `tests/drivers/<name>.c` with these extra compiler arguments (`-DCASE=3`, say).
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
    let (object, image) = (
        to.join(format!("{name}.obj")),
        to.join(format!("{name}.sys")),
    );
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
    let libraries = import_libraries(to);
    let mut link = Command::new("lld-link-19");
    link.args([
        "/DRIVER",
        "/SUBSYSTEM:NATIVE",
        "/ENTRY:DriverEntry",
        "/NODEFAULTLIB",
        "/DEBUG",
        "/INTEGRITYCHECK",
    ])
    .arg("/NOIMPLIB")
    .arg(format!("/OUT:{}", image.display()))
    .arg(&object)
    .args(&libraries);
    run(&mut link);
    image
}

/// One import library for each module that the host provides functions of.
fn import_libraries(to: &Path) -> Vec<PathBuf> {
    let mut modules: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for export in filterhost::exports::all() {
        modules
            .entry(export.info.module)
            .or_default()
            .insert(export.info.name.to_owned());
    }
    for (module, name) in filterhost::kernel::data::names() {
        let name = format!("{name} DATA");
        modules.entry(module).or_default().insert(name);
    }
    let library = |(module, names): (&&str, &BTreeSet<String>)| {
        let lines: Vec<_> = names.iter().map(String::as_str).collect();
        let text = format!("LIBRARY {module}\nEXPORTS\n{}\n", lines.join("\n"));
        let definition = to.join(format!("{module}.def"));
        std::fs::write(&definition, text).expect("a definition file");
        let library = to.join(format!("{module}.lib"));
        let mut lib = Command::new("lld-link-19");
        lib.args(["/lib", "/machine:x64"])
            .arg(format!("/def:{}", definition.display()))
            .arg(format!("/out:{}", library.display()));
        run(&mut lib);
        library
    };
    modules.iter().map(library).collect()
}

fn run(command: &mut Command) {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(cause) => panic!("cannot run {program} ({cause}): apt-get install clang-19 lld-19"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?} failed:\n{errors}{text}"
    );
}
