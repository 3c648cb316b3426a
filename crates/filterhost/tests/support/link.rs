//! Links objects into drivers: the import libraries are made from the host's own table, so a driver
//! links whatever the host provides and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Links an object file with whatever the host provides, to `<name>.sys` in a folder.
///
/// # Panics
/// When the linker is missing or fails.
pub fn link(name: &str, object: &Path, to: &Path) -> PathBuf {
    let image = to.join(format!("{name}.sys"));
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
    .arg(object)
    .args(&libraries);
    run(&mut link);
    image
}

/// One import library for each module that the host provides functions of.
fn import_libraries(to: &Path) -> Vec<PathBuf> {
    let library = |(module, text): (&str, String)| {
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
    let definitions = filterhost::exports::definitions();
    definitions.into_iter().map(library).collect()
}

/// Runs a tool to its end.
///
/// # Panics
/// When it is missing or fails; the message has what it said.
pub fn run(command: &mut Command) {
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
