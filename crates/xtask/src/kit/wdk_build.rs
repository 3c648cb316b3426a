//! Makes a copy of the locked wdk-build that runs on Linux. The published one refuses to: it
//! will not compile its two helpers for environment variables, it links files the Windows way, and
//! it looks into the registry through a crate that does not compile here. Each change must match
//! the source, so that a new version of wdk-build is noticed and not half patched.

use std::path::Path;

use crate::files;
use crate::trouble::{Outcome, Trouble};

/// Counts as part of the stamp: raise it when the changes below change.
const RECIPE: &str = "2";

/// Copies the crate from `source` and changes it, unless that was done before.
pub fn prepare(source: &Path, copy: &Path) -> Outcome<()> {
    let stamp = copy.join(".stamp");
    let text = format!("{RECIPE} {}", source.display());
    if files::read(&stamp).is_ok_and(|old| old == text) {
        return Ok(());
    }
    files::remove_folder(copy)?;
    files::copy_folder(source, copy, &["tests", "Cargo.lock"])?;
    change(&copy.join("src/utils.rs"), utils)?;
    change(&copy.join("src/cargo_make.rs"), cargo_make)?;
    change(&copy.join("src/lib.rs"), library)?;
    change(&copy.join("Cargo.toml"), manifest)?;
    files::write(&copy.join("src/registry.rs"), REGISTRY)?;
    files::write(&stamp, text)
}

fn change(path: &Path, edit: fn(&str) -> Option<String>) -> Outcome<()> {
    // The published crate was packed on Windows.
    let text = files::read(path)?.replace("\r\n", "\n");
    let changed = edit(&text).ok_or_else(|| {
        Trouble::new(format!(
            "this wdk-build is not the one that is known: {}",
            path.display()
        ))
        .next("adapt crates/xtask/src/kit/wdk_build.rs to the version in Cargo.lock")
    })?;
    files::write(path, changed)
}

/// The refusals go, and the registry is ours.
fn utils(text: &str) -> Option<String> {
    let mut text = cut(
        text,
        "use windows::{",
        "\n};\n",
        "use crate::registry::*;\n",
    )?;
    for _ in 0..2 {
        text = cut(&text, "    compile_error!(", ");\n", "    unreachable!()\n")?;
    }
    (!text.contains("compile_error!")).then_some(text)
}

fn cargo_make(text: &str) -> Option<String> {
    let theirs = "std::os::windows::fs::symlink_file";
    let ours = "std::os::unix::fs::symlink";
    text.contains(theirs).then(|| text.replace(theirs, ours))
}

fn library(text: &str) -> Option<String> {
    let (before, after) = text.split_once("\nmod utils;\n")?;
    // Its warnings are not ours to mend.
    Some(format!(
        "#![allow(warnings)]\n{before}\nmod registry;\nmod utils;\n{after}"
    ))
}

/// The crate `windows` is for Windows only, and the copy is a workspace of its own.
fn manifest(text: &str) -> Option<String> {
    let theirs = "\n[dependencies.windows]\n";
    let ours = "\n[target.'cfg(windows)'.dependencies.windows]\n";
    let text = text.contains(theirs).then(|| text.replace(theirs, ours))?;
    Some(format!("{text}\n[workspace]\n"))
}

/// Replaces the first stretch from `start` to the first `end` after it.
fn cut(text: &str, start: &str, end: &str, with: &str) -> Option<String> {
    let (before, rest) = text.split_once(start)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{with}{after}"))
}

/// Stands in for the crate `windows`: every look-up fails, so WDKContentRoot decides.
const REGISTRY: &str = r#"//! No registry on this host: every look-up fails.
#[derive(Clone, Copy)]
pub struct PCSTR(pub *const u8);
#[derive(Clone, Copy, Default)]
pub struct HKEY(usize);
pub struct Status;
impl Status {
    pub fn is_ok(&self) -> bool { false }
    pub fn ok(self) -> Result<(), ()> { Err(()) }
}
pub const HKEY_LOCAL_MACHINE: HKEY = HKEY(0);
pub const KEY_READ: u32 = 0;
pub const RRF_RT_REG_SZ: u32 = 0;
macro_rules! s { ($e:literal) => { PCSTR(concat!($e, "\0").as_ptr()) } }
pub(crate) use s;
pub unsafe fn RegCloseKey(_: HKEY) -> Status { Status }
pub unsafe fn RegOpenKeyExA(
    _: HKEY, _: PCSTR, _: Option<u32>, _: u32, _: *mut HKEY,
) -> Status { Status }
pub unsafe fn RegGetValueA(
    _: HKEY, _: Option<PCSTR>, _: PCSTR, _: u32, _: Option<*mut u32>,
    _: Option<*mut core::ffi::c_void>, _: Option<*mut u32>,
) -> Status { Status }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_wdk_build_is_refused_and_not_half_patched() {
        assert_eq!(utils("fn f() {}"), None);
        assert_eq!(cargo_make("fn f() {}"), None);
        assert_eq!(library("mod other;"), None);
        assert_eq!(manifest("[dependencies]\n"), None);
        let one = "use windows::{\n A,\n};\nfn f() {\n    compile_error!(\n \"x\"\n    );\n}\n";
        assert_eq!(utils(one), None, "it has one refusal where two are known");
    }
}
