//! Builds the conformance minifilters with clang and lld, once for each run of the tests.
//!
//! Every C file beside the harness becomes an image of its own, so that a function which the
//! host lacks takes down one topic and not all. The import libraries are made from the host's
//! own table of exports: an image that needs more fails to link with the names that lack.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{File, Object};

/// Compiler and linker of Debian's packages `clang-19` and `lld-19`.
const CLANG: &str = "clang-19";
const LINKER: &str = "lld-link-19";

/// The built images.
pub struct Images {
    /// For each case, as `situation__Function__RESULT`, the image that holds it.
    pub cases: BTreeMap<String, PathBuf>,
    /// Topics that could not be built, with what the tools said.
    pub failures: BTreeMap<String, String>,
}

/// Compiles and links every topic.
pub fn build(folder: &str) -> Images {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let sources = tests.join(folder);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&out).expect("a folder for the images");
    let libraries = import_libraries(&out);
    let harness = compile(&tests.join("drivers/conform"), &out, "harness");
    let harness = harness.expect("the harness compiles");
    let mut images = Images {
        cases: BTreeMap::new(),
        failures: BTreeMap::new(),
    };
    for topic in topics(&sources) {
        let linked = compile(&sources, &out, &topic)
            .and_then(|object| link(&out, &topic, &[&harness, &object], &libraries));
        match linked {
            Ok(image) => {
                for case in cases(&image) {
                    images.cases.insert(case, image.clone());
                }
            }
            Err(said) => {
                images.failures.insert(topic, said);
            }
        }
    }
    images
}

fn topics(sources: &Path) -> Vec<String> {
    let mut topics: Vec<String> = fs::read_dir(sources)
        .expect("the folder of the C files")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".c")?.to_owned()))
        .filter(|name| name != "harness")
        .collect();
    topics.sort();
    topics
}

fn import_libraries(out: &Path) -> Vec<PathBuf> {
    filterhost::exports::definitions()
        .into_iter()
        .map(|(module, text)| {
            let definition = out.join(format!("{module}.def"));
            let library = out.join(format!("{module}.lib"));
            fs::write(&definition, text).expect("a writable folder");
            run(Command::new(LINKER)
                .args(["/lib", "/machine:x64"])
                .arg(format!("/def:{}", definition.display()))
                .arg(format!("/out:{}", library.display())))
            .expect("an import library");
            library
        })
        .collect()
}

fn compile(sources: &Path, out: &Path, name: &str) -> Result<PathBuf, String> {
    let object = out.join(format!("{name}.obj"));
    run(Command::new(CLANG)
        .args(["--target=x86_64-pc-windows-msvc", "-ffreestanding", "-O1"])
        .args([
            "-g",
            "-gcodeview",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
        ])
        .args(["-Werror", "-c"])
        .arg(sources.join(format!("{name}.c")))
        .arg("-o")
        .arg(&object))?;
    Ok(object)
}

fn link(
    out: &Path,
    topic: &str,
    objects: &[&PathBuf],
    libraries: &[PathBuf],
) -> Result<PathBuf, String> {
    let image = out.join(format!("{topic}.sys"));
    run(Command::new(LINKER)
        .args(["/driver", "/subsystem:native", "/entry:DriverEntry"])
        .args(["/nodefaultlib", "/debug", "/release"])
        .args(
            ["processes", "lifetime"]
                .contains(&topic)
                .then_some("/integritycheck"),
        )
        .arg(format!("/out:{}", image.display()))
        .args(objects)
        .args(libraries))?;
    Ok(image)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

/// The exported names of an image that have the form of a case.
fn cases(image: &Path) -> Vec<String> {
    let bytes = fs::read(image).expect("the image that was just linked");
    let file = File::parse(bytes.as_slice()).expect("a PE image");
    let exports = file.exports().expect("an export table");
    exports
        .iter()
        .filter_map(|export| String::from_utf8(export.name().to_vec()).ok())
        .filter(|name| name.split("__").count() == 3)
        .collect()
}
