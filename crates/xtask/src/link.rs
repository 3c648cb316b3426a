//! Links the compiled library into a kernel image. The linker runs in a folder of its own on names
//! without folders, so that no path of this machine reaches the image or the PDB.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::files;
use crate::trouble::{Outcome, Trouble};

/// What is linked with what.
pub struct Linked<'a> {
    /// The tree, for the version in its manifest.
    pub root: &'a Path,
    /// Holds `siloscan.lib`; the image and the PDB go there.
    pub release: &'a Path,
    /// The WDK's import libraries.
    pub libraries: &'a Path,
    /// The linker with its first arguments.
    pub linker: &'a [PathBuf],
}

/// `/Brepro` and the fixed source path make equal input give equal output; `/RELEASE` sets the
/// checksum, `/INTEGRITYCHECK` lets nothing but a signed image load.
const ARGUMENTS: &[&str] = &[
    "/NOLOGO",
    "/DRIVER",
    "/SUBSYSTEM:NATIVE,10.0",
    "/ENTRY:DriverEntry",
    "/NODEFAULTLIB",
    "/DYNAMICBASE",
    "/HIGHENTROPYVA",
    "/NXCOMPAT",
    "/INTEGRITYCHECK",
    "/RELEASE",
    "/OPT:REF,ICF",
    "/Brepro",
    "/DEBUG",
    "/PDB:siloscan.pdb",
    "/PDBALTPATH:siloscan.pdb",
    "/PDBSOURCEPATH:siloscan",
    "/OUT:siloscan.sys",
    "siloscan.lib",
    "siloscan.res",
    "ntoskrnl.lib",
    "hal.lib",
];

/// Links unless image and PDB are already what these inputs give; true if it linked.
pub fn link(linked: &Linked) -> Outcome<bool> {
    let folder = linked.release.join("link");
    let library = linked.release.join("siloscan.lib");
    files::make_folder(&folder)?;
    resource(linked.root, &folder)?;
    let mut hash = DefaultHasher::new();
    for input in [&library, &folder.join("siloscan.res")] {
        files::bytes(input)?.hash(&mut hash);
    }
    for name in ["ntoskrnl.lib", "hal.lib"] {
        let source = linked.libraries.join(name);
        files::bytes(&source)?.hash(&mut hash);
        files::link(&source, &folder.join(name))?;
    }
    (ARGUMENTS, linked.linker).hash(&mut hash);
    let stamp = format!("{:016x}", hash.finish());
    let outputs = ["siloscan.sys", "siloscan.pdb"];
    let there = outputs
        .iter()
        .all(|name| linked.release.join(name).is_file());
    if there && files::read(&folder.join("stamp")).is_ok_and(|old| old == stamp) {
        return Ok(false);
    }
    std::fs::remove_file(folder.join("stamp")).ok();
    files::link(&library, &folder.join("siloscan.lib"))?;
    run(linked, &folder)?;
    for name in outputs {
        let (from, to) = (folder.join(name), linked.release.join(name));
        std::fs::rename(&from, &to).map_err(|e| Trouble::file("move", &from, &e))?;
    }
    files::write(&folder.join("stamp"), stamp)?;
    Ok(true)
}

fn run(linked: &Linked, folder: &Path) -> Outcome<()> {
    let Some((program, first)) = linked.linker.split_first() else {
        return Err(Trouble::new("there is no linker"));
    };
    let mut linker: Command = command::clean(program);
    linker.current_dir(folder).args(first).args(ARGUMENTS);
    command::output(&mut linker).map(drop).map_err(|error| {
        Trouble::new(format!("the driver does not link: {error}")).next(
            "a name that is not found is an import: declare it with its module in src/sys.rs; \
             __chkstk means a stack frame over one page",
        )
    })
}

/// Compiles the version resource, if its text is new.
fn resource(root: &Path, folder: &Path) -> Outcome<()> {
    let (source, compiled) = (folder.join("siloscan.rc"), folder.join("siloscan.res"));
    let text = script(&version(root)?);
    if compiled.is_file() && files::read(&source).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::remove_file(&compiled).ok();
    files::write(&source, &text)?;
    let mut windres = command::clean("x86_64-w64-mingw32-windres");
    // The text needs no preprocessor, and the usual one is a C compiler that may not be there.
    windres.args([
        "--preprocessor=cat",
        "--preprocessor-arg=--",
        "--output-format=res",
    ]);
    windres
        .current_dir(folder)
        .args(["siloscan.rc", "siloscan.res"]);
    command::output(&mut windres).map(drop)
}

/// `version` of the workspace, as the manifest has it.
pub fn version(root: &Path) -> Outcome<String> {
    let path = root.join("Cargo.toml");
    let manifest: toml::Table = files::read(&path)?
        .parse()
        .map_err(|e| Trouble::new(format!("{}: {e}", path.display())))?;
    let version = manifest
        .get("workspace")
        .and_then(|table| table.get("package")?.get("version")?.as_str());
    version.map(str::to_owned).ok_or_else(|| {
        Trouble::new(format!(
            "{} has no workspace.package.version",
            path.display()
        ))
    })
}

/// The version resource: a driver (3), of the file-system-independent kind of an installable
/// system driver (7), English, UTF-16.
fn script(version: &str) -> String {
    let mut numbers: Vec<&str> = version.split(['.', '-', '+']).take(3).collect();
    numbers.push("0");
    let numbers = numbers.join(",");
    let strings = [
        ("CompanyName", "The siloscan authors"),
        ("FileDescription", "siloscan antivirus minifilter"),
        ("FileVersion", version),
        ("InternalName", "siloscan.sys"),
        ("LegalCopyright", "MIT OR Apache-2.0"),
        ("OriginalFilename", "siloscan.sys"),
        ("ProductName", "siloscan"),
        ("ProductVersion", version),
    ];
    let values: String = strings
        .iter()
        .map(|(name, value)| format!("            VALUE \"{name}\", \"{value}\"\n"))
        .collect();
    format!(
        "1 VERSIONINFO\nFILEVERSION {numbers}\nPRODUCTVERSION {numbers}\nFILEFLAGSMASK 0x3f\n\
         FILEFLAGS 0\nFILEOS 0x40004\nFILETYPE 3\nFILESUBTYPE 7\nBEGIN\n    \
         BLOCK \"StringFileInfo\"\n    BEGIN\n        BLOCK \"040904b0\"\n        BEGIN\n{values}\
         \x20       END\n    END\n    BLOCK \"VarFileInfo\"\n    BEGIN\n        \
         VALUE \"Translation\", 0x409, 1200\n    END\nEND\n"
    )
}
