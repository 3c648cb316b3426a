//! Debian packages: which are missing, and installing them where that is allowed.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::command;
use crate::say::{self, Say};
use crate::trouble::{Outcome, Trouble};

/// The compiler with the source of its library.
pub const COMPILER: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];
/// Linker, libclang for bindgen, headers and import libraries, the resource compiler, and a C
/// linker for build scripts.
pub const BUILD: &[&str] = &[
    "lld-19",
    "libclang-19-dev",
    "mingw-w64-common",
    "mingw-w64-x86-64-dev",
    "binutils-mingw-w64-x86-64",
    "gcc",
    "libc6-dev",
];
/// The lints for the driver's own target.
pub const LINT: &[&str] = &["rust-web-clippy"];
/// Independent sources of layouts: Wine's headers and a C compiler for Windows targets.
pub const LAYOUTS: &[&str] = &["clang-19", "libwine-dev"];
/// Wine, to load the driver in its own driver host.
pub const WINE: &[&str] = &["wine", "wine64", "libwine"];
/// Real Windows binaries for the demo's base layer.
pub const LAYER: &[&str] = &["libwine"];
/// The C compiler that the service's dependencies need when they are checked for Windows.
pub const SERVICE: &[&str] = &["gcc-mingw-w64-x86-64-win32"];
/// ClamAV's daemon, which the service can ask: its test brings signatures of its own.
pub const CLAMD: &[&str] = &["clamav-daemon"];
/// Redis, in which a fleet shares its verdicts: its tests start a server of their own.
pub const REDIS: &[&str] = &["redis-server"];
/// Prometheus and its `promtool`, which judge the service's metrics; no smaller package has the
/// tool. The tests start one of their own, whatever Debian's service does.
pub const PROMETHEUS: &[&str] = &["prometheus"];
/// Python, for the linters of what runs on Windows.
pub const PYTHON: &[&str] = &["python3", "python3-venv"];
/// Signs images, and makes the certificate for it.
pub const SIGN: &[&str] = &["osslsigncode", "openssl"];
/// The C compiler and linker that build the filter host's own small minifilters.
pub const CONFORMANCE: &[&str] = &["clang-19", "lld-19", "llvm-19"];
/// Makers of real container images and disks, for the tests of scans at rest.
pub const AT_REST: &[&str] = &["umoci", "skopeo", "qemu-utils", "ntfs-3g"];
/// The C++ compiler that builds LLVM's fuzzer from its source.
pub const FUZZ: &[&str] = &["g++"];

/// Those of `wanted` that are not installed.
pub fn missing<'a>(wanted: &[&'a str]) -> Vec<&'a str> {
    let mut query = command::clean("dpkg-query");
    query
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(wanted);
    // It fails when one of them is unknown, and still lists the others.
    let listed = query
        .output()
        .map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
    let listed = listed.unwrap_or_default();
    let there = |name: &str| {
        listed
            .lines()
            .any(|line| line == format!("{name} installed"))
    };
    wanted.iter().copied().filter(|name| !there(name)).collect()
}

/// The command that a person would type to install these.
pub fn apt_line(names: &[&str]) -> String {
    format!(
        "sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    )
}

/// Makes sure that `wanted` are installed: installs them as root, else tells how.
pub fn need(say: &mut Say, why: &str, wanted: &[&str]) -> Outcome<()> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    if !command::exists("apt-get") {
        return Err(Trouble::new(format!("{why} needs {}", missing.join(", ")))
            .next("this machine has no apt-get: use Debian 12, or install the like of them"));
    }
    if !is_root() {
        return Err(
            Trouble::new(format!("{why} needs packages that are not installed"))
                .next(apt_line(&missing)),
        );
    }
    install(say, &missing)
}

fn install(say: &mut Say, names: &[&str]) -> Outcome<()> {
    // Stages run beside each other, and apt-get does not.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    say.moving("packages", "updating the list of Debian's packages");
    // A stale list is better than none: the install below says what it could not find.
    apt(&["update", "-qq"]).output().ok();
    say.moving("packages", &format!("installing {}", names.join(" ")));
    let mut apt = apt(&["install", "-y", "-qq", "--no-install-recommends"]);
    command::output(apt.args(names)).map_err(|error| {
        Trouble::new(format!("Debian's packages could not be installed: {error}"))
            .next(apt_line(names))
    })?;
    let text = format!(
        "installed {} ({})",
        names.join(" "),
        say::time(start.elapsed())
    );
    say.step("packages", &text);
    Ok(())
}

fn apt(arguments: &[&str]) -> Command {
    let mut apt = command::clean("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    apt
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
