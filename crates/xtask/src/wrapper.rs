//! Stands between Cargo and rustc so that the image does not depend on where the tree is.
//!
//! The compiler writes its own command line into the debug information, and Cargo puts absolute
//! paths there. So Cargo is told that this program is the compiler; for crates of the workspace
//! it makes paths below the tree relative and lets `out` in the kit stand for the target folder,
//! then becomes the real compiler.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::driver::Place;

/// Names the real compiler; its presence is what makes this program the wrapper.
pub const COMPILER: &str = "SILOSCAN_COMPILER";
/// The tree that is built.
pub const ROOT: &str = "SILOSCAN_ROOT";
/// Its target folder.
pub const TARGET_DIR: &str = "SILOSCAN_TARGET_DIR";

/// If this process was started as the compiler: become it. Returns only if it was not.
pub fn run_if_asked() {
    let Some(compiler) = std::env::var_os(COMPILER) else {
        return;
    };
    let (root, target) = (text(ROOT), text(TARGET_DIR));
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let in_tree = std::env::current_dir().is_ok_and(|now| now == Path::new(&root));
    let place = Place { root, target };
    let arguments = if in_tree {
        relative(arguments, &place)
    } else {
        arguments
    };
    let error = Command::new(&compiler).args(arguments).exec();
    eprintln!("cannot run {}: {error}", compiler.to_string_lossy());
    std::process::exit(127);
}

fn text(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The arguments with paths below the target folder and the tree made relative.
fn relative(arguments: Vec<OsString>, place: &Place) -> Vec<OsString> {
    let target = format!("{}/", place.target);
    let root = format!("{}/", place.root);
    arguments
        .into_iter()
        .filter_map(|argument| {
            let text = argument.into_string().ok()?;
            if text.starts_with("--remap-path-prefix=") {
                return None;
            }
            Some(
                text.replace(&target, "target/kernel-kit/out/")
                    .replace(&root, "")
                    .into(),
            )
        })
        .chain([OsString::from("-Zremap-cwd-prefix=.")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_tree_and_target_folder_go() {
        let place = Place {
            root: "/a/tree".into(),
            target: "/b/out".into(),
        };
        let arguments = [
            "--crate-name",
            "x",
            "src/lib.rs",
            "--out-dir",
            "/b/out/deps",
            "--remap-path-prefix=/a/tree=.",
            "--extern=y=/a/tree/target/y.rlib",
        ];
        let arguments = arguments.iter().map(OsString::from).collect();
        let seen = relative(arguments, &place);
        let wanted = [
            "--crate-name",
            "x",
            "src/lib.rs",
            "--out-dir",
            "target/kernel-kit/out/deps",
            "--extern=y=target/y.rlib",
            "-Zremap-cwd-prefix=.",
        ];
        assert_eq!(seen, wanted.iter().map(OsString::from).collect::<Vec<_>>());
    }
}
