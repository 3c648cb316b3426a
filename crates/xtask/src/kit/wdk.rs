//! A folder in the shape of the WDK: a real one if the environment names it, else one made of
//! mingw's headers and import libraries with four small repairs (docs/hacking.md tells each).

use std::path::{Path, PathBuf};

use crate::files;
use crate::trouble::{Outcome, Trouble};

/// The version that the shaped folder carries.
const VERSION: &str = "10.0.26100.0";
/// Counts as part of the stamp: raise it when the shaping changes.
const RECIPE: &str = "1";
const HEADERS: &str = "/usr/share/mingw-w64/include";
const LIBRARIES: &str = "/usr/x86_64-w64-mingw32/lib";

/// Where headers and import libraries are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wdk {
    /// The value for `WDKContentRoot`.
    pub root: PathBuf,
    /// The folder with `ntoskrnl.lib` and `hal.lib`.
    pub libraries: PathBuf,
    /// For people.
    pub about: String,
}

/// The WDK that the environment names, else the folder shaped from mingw below `kit`.
pub fn find(kit: &Path, named: Option<&Path>) -> Outcome<Wdk> {
    match named {
        Some(root) => real(root),
        None => shaped(&kit.join("wdk")),
    }
}

/// A WDK that somebody installed: only looked at.
fn real(root: &Path) -> Outcome<Wdk> {
    let lacks = |what: String| {
        Trouble::new(format!(
            "WDKContentRoot names {}, which has no {what}",
            root.display()
        ))
        .next("name the folder that holds Include and Lib, or unset WDKContentRoot")
    };
    let include = files::newest_version(&root.join("Include"))
        .ok_or_else(|| lacks("Include/10.*".to_owned()))?;
    for name in ["km/crt", "km/ntifs.h", "shared/ntdef.h"] {
        if !include.join(name).exists() {
            return Err(lacks(format!("{}/{name}", include.display())));
        }
    }
    let libraries = files::newest_version(&root.join("Lib"))
        .map(|version| version.join("km/x64"))
        .ok_or_else(|| lacks("Lib/10.*".to_owned()))?;
    for name in ["ntoskrnl.lib", "hal.lib"] {
        if !libraries.join(name).is_file() {
            return Err(lacks(format!("{}/{name}", libraries.display())));
        }
    }
    let version = include
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let about = format!("{version} at {} (WDKContentRoot)", root.display());
    Ok(Wdk {
        root: root.to_owned(),
        libraries,
        about,
    })
}

/// Shapes the folder, unless that was done before from the same headers.
fn shaped(root: &Path) -> Outcome<Wdk> {
    let libraries = root.join("Lib").join(VERSION).join("km/x64");
    let wdk = Wdk {
        root: root.to_owned(),
        libraries: libraries.clone(),
        about: format!("{VERSION}, shaped from mingw-w64's headers"),
    };
    let source = Path::new(HEADERS).join("ddk/ntifs.h");
    let import = Path::new(LIBRARIES).join("libntoskrnl.a");
    let text = format!(
        "{RECIPE}\n{}\n{}\n",
        files::print_of(&source)?,
        files::print_of(&import)?
    );
    if files::read(&root.join("stamp")).is_ok_and(|old| old == text) {
        return Ok(wdk);
    }
    files::remove_folder(root)?;
    headers(&root.join("Include").join(VERSION))?;
    for (name, mingw) in [("ntoskrnl.lib", "libntoskrnl.a"), ("hal.lib", "libhal.a")] {
        files::copy(&Path::new(LIBRARIES).join(mingw), &libraries.join(name))?;
    }
    for name in ["BufferOverflowFastFailK.lib", "wmilib.lib"] {
        files::write(&libraries.join(name), "!<arch>\n")?;
    }
    files::write(&root.join("stamp"), text)?;
    Ok(wdk)
}

fn headers(include: &Path) -> Outcome<()> {
    let (km, shared) = (include.join("km"), include.join("shared"));
    link_folder(&Path::new(HEADERS).join("ddk"), &km)?;
    link_folder(Path::new(HEADERS), &shared)?;
    // Found before mingw's, which declares intrinsics that clang has built in.
    files::write(&km.join("crt/intrin.h"), "#pragma once\n")?;
    repair(&shared.join("ntdef.h"), |text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("#define C_ASSERT(expr)"))?;
        Some(text.replace(line, "#define C_ASSERT(expr) extern int c_assert_unused"))
    })?;
    repair(&km.join("ntifs.h"), |text| Some(format!("{text}{POOL}")))
}

/// What mingw's headers are too old to have, and wdk-alloc needs.
const POOL: &str = "
typedef ULONG64 POOL_FLAGS;
#define POOL_FLAG_NON_PAGED 0x40ULL
#define POOL_FLAG_PAGED 0x100ULL
PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);
";

/// Puts a changed copy where a link to mingw's header was.
fn repair(header: &Path, edit: impl Fn(&str) -> Option<String>) -> Outcome<()> {
    let changed = edit(&files::read(header)?).ok_or_else(|| {
        Trouble::new(format!(
            "mingw's {} is not the one that is known",
            header.display()
        ))
        .next("adapt crates/xtask/src/kit/wdk.rs, or name a real WDK by WDKContentRoot")
    })?;
    std::fs::remove_file(header).map_err(|e| Trouble::file("remove", header, &e))?;
    files::write(header, changed)
}

fn link_folder(from: &Path, to: &Path) -> Outcome<()> {
    files::make_folder(to)?;
    for name in files::names(from)? {
        let source = from.join(&name);
        if source.is_dir() {
            link_folder(&source, &to.join(&name))?;
        } else {
            files::link(&source, &to.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_lacks_something_is_refused_by_name() {
        let root = std::env::temp_dir().join(format!("xtask-wdk-{}", std::process::id()));
        std::fs::remove_dir_all(&root).ok();
        let lacking = |part: &str| {
            let error = find(Path::new("/nowhere"), Some(&root))
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        lacking("Include/10.*");
        let include = root.join("Include/10.0.26100.0");
        std::fs::create_dir_all(include.join("km/crt")).unwrap();
        lacking("km/ntifs.h");
        std::fs::write(include.join("km/ntifs.h"), "").unwrap();
        std::fs::create_dir_all(include.join("shared")).unwrap();
        std::fs::write(include.join("shared/ntdef.h"), "").unwrap();
        lacking("Lib/10.*");
        let libraries = root.join("Lib/10.0.26100.0/km/x64");
        std::fs::create_dir_all(&libraries).unwrap();
        lacking("ntoskrnl.lib");
        std::fs::write(libraries.join("ntoskrnl.lib"), "").unwrap();
        std::fs::write(libraries.join("hal.lib"), "").unwrap();
        let found = find(Path::new("/nowhere"), Some(&root)).unwrap();
        assert_eq!(found.libraries, libraries);
        std::fs::remove_dir_all(&root).ok();
    }
}
