//! Builds the driver: the kit, the compiler, the linker. Everything that can build or lint it goes
//! through `Driver`, so that each uses the same flags and shares the work of the others.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command;
use crate::compiling::Compiling;
use crate::files;
use crate::kit::wdk::{self, Wdk};
use crate::kit::{Kit, lock, wdk_build};
use crate::link::{self, Linked};
use crate::packages;
use crate::say::Say;
use crate::toolchain::{self, TARGET, Toolchain, Wish};
use crate::trouble::{Outcome, Trouble};
use crate::wrapper;

/// Where a tree is and where its results go, both absolute.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of the root Cargo.toml.
    pub root: String,
    /// The target folder.
    pub target: String,
}

/// What is to be built and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The tree; it may be a copy of this one.
    pub root: PathBuf,
    /// Its target folder.
    pub target: PathBuf,
    /// Which compiler.
    pub wish: Wish,
    /// The real WDK, where the environment names one.
    pub wdk: Option<PathBuf>,
}

/// The results of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The driver.
    pub image: PathBuf,
    /// Its debug information.
    pub pdb: PathBuf,
    /// How many crates were compiled; 0 = everything was there.
    pub compiled: usize,
    /// The linker ran.
    pub linked: bool,
    /// What the compiler warned of, one text each.
    pub warnings: Vec<String>,
}

/// A tree that is ready to be compiled. Holds the lock on its kit while it lives.
pub struct Driver {
    place: Place,
    kit: Kit,
    toolchain: Toolchain,
    wdk: Wdk,
    committed: Vec<u8>,
    _held: File,
}

impl Request {
    /// The tree at `root` with its usual target folder and what the environment says.
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            target: root.join("target"),
            wish: Wish::Auto,
            wdk: std::env::var_os("WDKContentRoot").map(PathBuf::from),
        }
    }

    /// Packages, toolchain and kit: everything before the compiler.
    pub fn prepare(&self, say: &mut Say) -> Outcome<Driver> {
        packages::need(say, "building the driver", packages::BUILD)?;
        let toolchain = toolchain::find(say, self.wish)?;
        let root = absolute(&self.root)?;
        files::make_folder(&self.target)?;
        let target = absolute(&self.target)?;
        let kit = Kit::of(Path::new(&root));
        files::make_folder(&kit.folder)?;
        let held = hold(say, &kit.folder.join("lock"))?;
        let wdk = wdk::find(&kit.folder, self.wdk.as_deref())?;
        let committed = files::bytes(&Path::new(&root).join("Cargo.lock"))?;
        let source = locked_wdk_build(say, &toolchain, &root)?;
        wdk_build::prepare(&source, &kit.wdk_build())?;
        let lock_text = lock::with_local_wdk_build(&String::from_utf8_lossy(&committed))?;
        files::write(&kit.lock(), lock_text)?;
        files::link(Path::new(&target), &kit.out())?;
        let place = Place { root, target };
        Ok(Driver {
            place,
            kit,
            toolchain,
            wdk,
            committed,
            _held: held,
        })
    }
}

impl Driver {
    /// One line on compiler and headers.
    pub fn about(&self) -> String {
        let library = match self.toolchain.build_std {
            true => "library built from source",
            false => "library of the toolchain",
        };
        format!(
            "{} ({library}), WDK {}",
            self.toolchain.version, self.wdk.about
        )
    }

    /// The folder with the compiled library, image and PDB.
    pub fn release(&self) -> PathBuf {
        Path::new(&self.place.target).join(TARGET).join("release")
    }

    /// Cargo with a subcommand, set up for the driver's target.
    pub fn cargo(&self, subcommand: &str) -> Outcome<Command> {
        let mut cargo = self.toolchain.cargo();
        cargo.current_dir(&self.place.root).arg(subcommand);
        cargo.args([
            "--locked",
            "--release",
            "--target",
            TARGET,
            "-Zlockfile-path",
        ]);
        if self.toolchain.build_std {
            cargo.arg("-Zbuild-std=core,alloc");
        }
        let settings = [
            format!("resolver.lockfile-path='{}'", self.kit.lock().display()),
            format!(
                "patch.crates-io.wdk-build.path='{}'",
                self.kit.wdk_build().display()
            ),
            "future-incompat-report.frequency='never'".to_owned(),
        ];
        for setting in settings {
            cargo.args(["--config", &setting]);
        }
        cargo.arg("--target-dir").arg(&self.place.target);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\x1f"));
        self.bindings(&mut cargo)?;
        Ok(cargo)
    }

    /// What bindgen, run by wdk-sys, is told.
    fn bindings(&self, cargo: &mut Command) -> Outcome<()> {
        let clang = Path::new("/usr/lib/llvm-19/lib");
        let version = files::names(&clang.join("clang"))?
            .pop()
            .unwrap_or_default();
        let builtin = clang.join("clang").join(version).join("include");
        cargo
            .env("WDKContentRoot", &self.wdk.root)
            .env("LIBCLANG_PATH", clang);
        let arguments = format!("-Wno-everything -idirafter {}", builtin.display());
        cargo.env("BINDGEN_EXTRA_CLANG_ARGS", arguments);
        Ok(())
    }

    /// Flags for crates of the target: the machine's own paths stay out of the debug information.
    fn flags(&self) -> Vec<String> {
        let home = std::env::var("CARGO_HOME")
            .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
            .unwrap_or_default();
        let source = self.toolchain.sysroot.join("lib/rustlib/src/rust");
        let remap = |from: &str, to: &str| format!("--remap-path-prefix={from}={to}");
        let mut flags = vec![
            remap(&self.place.root, "."),
            remap(&self.place.target, "./target"),
            remap(&source.to_string_lossy(), "/rustc"),
        ];
        let registry = Path::new(&home).join("registry/src");
        for name in files::names(&registry).unwrap_or_default() {
            flags.push(remap(&registry.join(name).to_string_lossy(), "/registry"));
        }
        flags
    }

    /// Compiles and links, only what is not up to date.
    pub fn build(&self, say: &mut Say) -> Outcome<Built> {
        let (compiling, warnings) = self.compile(say)?;
        self.check_lock()?;
        let compiled = compiling.end(say);
        let linked = link::link(&Linked {
            root: Path::new(&self.place.root),
            release: &self.release(),
            libraries: &self.wdk.libraries,
            linker: &self.toolchain.linker()?,
        })?;
        let image = self.release().join("siloscan.sys");
        let pdb = self.release().join("siloscan.pdb");
        Ok(Built {
            image,
            pdb,
            compiled,
            linked,
            warnings,
        })
    }

    /// What was compiled, and what the compiler warned of.
    fn compile(&self, say: &mut Say) -> Outcome<(Compiling, Vec<String>)> {
        let mut cargo = self.cargo("rustc")?;
        cargo.args([
            "--package",
            "siloscan",
            "--lib",
            "--crate-type",
            "staticlib",
            "--quiet",
        ]);
        cargo.arg("--message-format=json");
        let own = self.kit.compiler();
        place_self(&own)?;
        cargo
            .env("RUSTC", own)
            .env(wrapper::COMPILER, &self.toolchain.rustc);
        cargo
            .env(wrapper::ROOT, &self.place.root)
            .env(wrapper::TARGET_DIR, &self.place.target);
        let mut compiling = Compiling::begin("compile");
        let mut warnings = Vec::new();
        say.moving("compile", "resolving");
        let done = command::lines(&mut cargo, |line| {
            if !compiling.see(line, say)
                && let Some(text) = diagnostic(line)
            {
                say.clear();
                eprint!("{text}");
                warnings.push(text);
            }
        })?;
        say.clear();
        match done {
            true => Ok((compiling, warnings)),
            false => Err(Trouble::new("the driver does not compile")
                .next("see what the compiler says above")),
        }
    }

    /// The committed lock file is what a Windows user gets: it must be as it was.
    fn check_lock(&self) -> Outcome<()> {
        let now = files::bytes(&Path::new(&self.place.root).join("Cargo.lock"))?;
        match now == self.committed {
            true => Ok(()),
            false => Err(Trouble::new("the build changed the committed Cargo.lock")
                .next("git diff Cargo.lock tells what; this is a defect of the build")),
        }
    }
}

/// What the compiler says in a message of Cargo, as it would print it.
fn diagnostic(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    let text = message.get("message")?.get("rendered")?.as_str()?;
    Some(text.to_owned())
}

/// The folder of the wdk-build that the committed lock file names, fetched if need be.
fn locked_wdk_build(say: &mut Say, toolchain: &Toolchain, root: &str) -> Outcome<PathBuf> {
    say.moving("sources", "fetching the locked crates");
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(root)
        .args(["metadata", "--locked", "--format-version", "1"]);
    cargo.args(["--filter-platform", TARGET]);
    let text = command::output(&mut cargo).map_err(|error| {
        Trouble::new(format!("Cargo cannot resolve the locked crates: {error}"))
            .next("if Cargo.toml changed, `cargo check` brings Cargo.lock up to date")
    })?;
    say.clear();
    let unknown = || Trouble::new("Cargo.lock names no wdk-build").next("git checkout Cargo.lock");
    let metadata: Value = serde_json::from_str(&text).map_err(|_| unknown())?;
    let packages = metadata["packages"].as_array().ok_or_else(unknown)?;
    let package = packages
        .iter()
        .find(|p| p["name"] == "wdk-build")
        .ok_or_else(unknown)?;
    let manifest = Path::new(package["manifest_path"].as_str().ok_or_else(unknown)?);
    manifest.parent().map(Path::to_owned).ok_or_else(unknown)
}

/// Puts this program where Cargo will run it as the compiler. The file that it was started from
/// may be built anew while it runs, by a stage of the test for one.
fn place_self(to: &Path) -> Outcome<()> {
    let own = files::bytes(Path::new("/proc/self/exe"))?;
    if std::fs::read(to).is_ok_and(|old| old == own) {
        return Ok(());
    }
    let new = to.with_extension("new");
    files::write(&new, own)?;
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&new, runs).map_err(|e| Trouble::file("mark", &new, &e))?;
    std::fs::rename(&new, to).map_err(|e| Trouble::file("move", &new, &e))
}

/// One build at a time works on a kit; a second one waits and says so.
fn hold(say: &mut Say, path: &Path) -> Outcome<File> {
    let file = File::create(path).map_err(|e| Trouble::file("write", path, &e))?;
    while file.try_lock().is_err() {
        say.moving("waiting", "another build of this tree is running");
        std::thread::sleep(Duration::from_millis(200));
    }
    say.clear();
    Ok(file)
}

fn absolute(path: &Path) -> Outcome<String> {
    let full = path
        .canonicalize()
        .map_err(|e| Trouble::file("find", path, &e))?;
    full.into_os_string().into_string().map_err(|name| {
        Trouble::new(format!("the path {} is not UTF-8", name.to_string_lossy()))
            .next("use a folder whose name is")
    })
}
