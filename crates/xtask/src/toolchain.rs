//! Which compiler builds the driver: Debian's with the library's source, or one of rustup's that
//! has the Windows target installed. Stable either way; where the library is built from source,
//! and for a lock file of our own, Cargo is told to accept its unfinished options.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::command;
use crate::packages;
use crate::say::Say;
use crate::trouble::{Outcome, Trouble};

/// The target of the driver.
pub const TARGET: &str = "x86_64-pc-windows-msvc";
/// The oldest compiler that the workspace accepts: `rust-version` in Cargo.toml.
const OLDEST: (u32, u32) = (1, 95);

/// The user's wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Wish {
    /// Whichever is there, Debian's first.
    #[default]
    Auto,
    /// Debian's rustc-web, library built from source.
    Debian,
    /// A rustup toolchain with the target installed.
    Rustup,
}

/// A compiler and its Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The Cargo to run.
    pub cargo: PathBuf,
    /// The compiler it is to run.
    pub rustc: PathBuf,
    /// `core` and `alloc` are built from source.
    pub build_std: bool,
    /// `rustc 1.96.0`, for people.
    pub version: String,
    /// Where its own files are.
    pub sysroot: PathBuf,
}

/// Finds the toolchain, installing Debian's if there is none and that is allowed.
pub fn find(say: &mut Say, wish: Wish) -> Outcome<Toolchain> {
    if let Some(found) = look(wish, Path::new("/usr"), rustup_home().as_deref()) {
        return Ok(found);
    }
    if wish == Wish::Rustup {
        return Err(nothing_in_rustup());
    }
    packages::need(say, "the driver's compiler", packages::COMPILER).map_err(|error| {
        let text = format!("no compiler here has the target {TARGET}.\n  {error}");
        Trouble::new(text).next(format!(
            "the line above, or `rustup target add {TARGET}` where rustup can reach its server"
        ))
    })?;
    look(Wish::Debian, Path::new("/usr"), None).ok_or_else(|| {
        Trouble::new("Debian's rustc-web is installed, but /usr/bin/rustc is another compiler")
            .next("see `dpkg -S /usr/bin/rustc`, remove that package, and try again")
    })
}

/// What there is under `debian` (a /usr) and `rustup` (a RUSTUP_HOME), without installing.
pub fn look(wish: Wish, debian: &Path, rustup: Option<&Path>) -> Option<Toolchain> {
    let from_debian = || of_debian(debian);
    let from_rustup = || rustup.and_then(of_rustup);
    match wish {
        Wish::Auto => from_debian().or_else(from_rustup),
        Wish::Debian => from_debian(),
        Wish::Rustup => from_rustup(),
    }
}

fn of_debian(usr: &Path) -> Option<Toolchain> {
    let found = describe(&usr.join("bin/cargo"), &usr.join("bin/rustc"), true)?;
    found
        .sysroot
        .join("lib/rustlib/src/rust/library/Cargo.toml")
        .is_file()
        .then_some(found)
}

fn of_rustup(home: &Path) -> Option<Toolchain> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(home.join("toolchains"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("lib/rustlib").join(TARGET).join("lib").is_dir())
        .collect();
    // `stable…` sorts after `nightly…` and numbered ones: it is tried first.
    folders.sort();
    folders
        .iter()
        .rev()
        .find_map(|folder| describe(&folder.join("bin/cargo"), &folder.join("bin/rustc"), false))
}

fn describe(cargo: &Path, rustc: &Path, build_std: bool) -> Option<Toolchain> {
    if !cargo.is_file() || !rustc.is_file() {
        return None;
    }
    let version = command::output(command::clean(rustc).arg("--version")).ok()?;
    let version: Vec<&str> = version.split_whitespace().take(2).collect();
    let sysroot = command::output(command::clean(rustc).args(["--print", "sysroot"])).ok()?;
    recent(version.get(1)?).then(|| Toolchain {
        cargo: cargo.to_owned(),
        rustc: rustc.to_owned(),
        build_std,
        version: version.join(" "),
        sysroot: PathBuf::from(sysroot.trim()),
    })
}

/// Is a version such as `1.96.0` new enough?
fn recent(version: &str) -> bool {
    let mut parts = version
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

fn rustup_home() -> Option<PathBuf> {
    std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")))
}

fn nothing_in_rustup() -> Trouble {
    Trouble::new(format!("no toolchain of rustup has the target {TARGET}"))
        .next(format!("rustup target add {TARGET}"))
}

impl Toolchain {
    /// Its Cargo with a clean environment, ready for a subcommand.
    pub fn cargo(&self) -> Command {
        let mut cargo = command::clean(&self.cargo);
        let own = self
            .cargo
            .parent()
            .unwrap_or(Path::new("/usr/bin"))
            .to_owned();
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&rest)));
        cargo.env("PATH", path.unwrap_or(rest));
        cargo.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        cargo
    }

    /// The PE linker: LLVM's of Debian, or the one in this toolchain.
    pub fn linker(&self) -> Outcome<Vec<PathBuf>> {
        let debian = PathBuf::from("/usr/bin/lld-link-19");
        if debian.is_file() {
            return Ok(vec![debian]);
        }
        let inside = self
            .sysroot
            .join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        if inside.is_file() {
            return Ok(vec![inside, "-flavor".into(), "link".into()]);
        }
        Err(Trouble::new("there is no linker for Windows images")
            .next(packages::apt_line(&["lld-19"])))
    }
}

#[cfg(test)]
mod tests {
    //! A machine is a folder here: its compilers are scripts that answer as the real ones do.
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(path: &Path, version: &str, sysroot: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'rustc {version} (x)' || echo {}\n",
            sysroot.display()
        );
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn compiler(root: &Path, version: &str, extra: &str) {
        script(&root.join("bin/rustc"), version, root);
        script(&root.join("bin/cargo"), version, root);
        std::fs::create_dir_all(root.join(extra)).unwrap();
        std::fs::write(root.join(extra).join("Cargo.toml"), "").unwrap();
    }

    const SOURCE: &str = "lib/rustlib/src/rust/library";
    const LIBRARY: &str = "lib/rustlib/x86_64-pc-windows-msvc/lib";

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn takes_debian_first_and_rustup_where_there_is_no_debian() {
        let root = folder("both");
        let (usr, home) = (root.join("usr"), root.join("rustup"));
        assert_eq!(look(Wish::Auto, &usr, Some(&home)), None);
        compiler(&home.join("toolchains/stable-x"), "1.95.0", LIBRARY);
        let found = look(Wish::Auto, &usr, Some(&home)).unwrap();
        assert!(!found.build_std && found.rustc.starts_with(&home));
        compiler(&usr, "1.96.0", SOURCE);
        let found = look(Wish::Auto, &usr, Some(&home)).unwrap();
        assert!(found.build_std && found.rustc.starts_with(&usr));
        assert!(!look(Wish::Rustup, &usr, Some(&home)).unwrap().build_std);
        std::fs::remove_dir_all(root).ok();
    }

    #[test]
    fn an_old_compiler_or_one_without_sources_or_target_does_not_count() {
        let root = folder("old");
        let (usr, home) = (root.join("usr"), root.join("rustup"));
        compiler(&usr, "1.63.0", SOURCE);
        compiler(
            &home.join("toolchains/stable-x"),
            "1.95.0",
            "lib/rustlib/other/lib",
        );
        assert_eq!(look(Wish::Auto, &usr, Some(&home)), None);
        compiler(&root.join("usr2"), "1.96.0", "lib");
        assert_eq!(look(Wish::Auto, &root.join("usr2"), None), None);
        std::fs::remove_dir_all(root).ok();
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(recent("1.95.0") && recent("1.100.0") && recent("2.0.0"));
        assert!(!recent("1.94.9") && !recent("1.9.0") && !recent("nonsense"));
    }
}
