//! The minifilter in Rust that `docs/filterhost.md` shows: built from its source as the page says,
//! and complained about as the page says.

#[path = "../crates/filterhost/tests/support/link.rs"]
mod link;
#[path = "../crates/filterhost/tests/support/page.rs"]
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use filterhost::scenario::verify::{Effort, own_scenarios, verify};

/// The newest library of this name in a folder.
fn newest(folder: &Path, name: &str) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|file| Some(file.ok()?.path()));
    let fits = |path: &PathBuf| {
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        own.starts_with(&format!("lib{name}-")) && own.ends_with(".rlib")
    };
    let time = |path: &PathBuf| {
        let written = path.metadata().and_then(|about| about.modified());
        written.unwrap_or(SystemTime::UNIX_EPOCH)
    };
    files.filter(fits).max_by_key(time)
}

/// The compiler and its `core` for Windows: what the driver was built with lies beside its image
/// where the compiler came without one.
fn compiler(to: &Path) -> Command {
    let image =
        PathBuf::from(std::env::var_os("SILOSCAN_IMAGE").expect("cargo xtask test sets it"));
    let image = image.canonicalize().expect("the built driver");
    let built = image.parent().expect("its folder").join("deps");
    let Some(core) = newest(&built, "core") else {
        // A rustup toolchain with the target.
        return Command::new("rustc");
    };
    let own = to.join("sysroot/lib/rustlib/x86_64-pc-windows-msvc/lib");
    std::fs::create_dir_all(&own).expect("a folder for the library");
    let runtime = newest(&built, "compiler_builtins").expect("built with core");
    for library in [core, runtime] {
        let copy = own.join(library.file_name().expect("a name"));
        std::fs::copy(&library, copy).expect("a copy of the library");
    }
    let mut rustc = Command::new("/usr/bin/rustc");
    rustc.arg("--sysroot").arg(to.join("sysroot"));
    rustc
}

fn build(source: &Path) -> PathBuf {
    let to =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("last-{}", std::process::id()));
    std::fs::create_dir_all(&to).expect("a folder for the driver");
    let object = to.join("last.obj");
    let folder = source.parent().expect("its folder").display().to_string();
    let mut rustc = compiler(&to);
    rustc
        .args(["--edition", "2024", "--target", "x86_64-pc-windows-msvc"])
        .args([
            "-C",
            "panic=abort",
            "-C",
            "opt-level=1",
            "-C",
            "debuginfo=1",
        ])
        .arg(format!("--remap-path-prefix={folder}=."))
        .args(["--emit", "obj", "-o"])
        .arg(&object)
        .arg(source);
    link::run(&mut rustc);
    link::link("last", &object, &to)
}

#[test]
fn the_minifilter_in_rust_leaks_as_the_page_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/filterhost/tests/examples");
    let source = examples.join("last.rs");
    let text = std::fs::read_to_string(&source).expect("the source");
    page::shown("last.rs", "rust", &text);
    let image = build(&source);
    let verified = verify(&image, &own_scenarios(), &Effort::default(), &mut |_| {});
    let verified = verified.unwrap_or_else(|said| panic!("{said}"));
    let rules: Vec<_> = verified
        .findings
        .iter()
        .map(|finding| finding.report.rule())
        .collect();
    assert_eq!(rules, ["name-leak"]);
    let told = verified
        .findings
        .first()
        .map(|finding| finding.tell(Path::new("last.sys")));
    page::shown("last verify", "text", &told.unwrap_or_default());
}
