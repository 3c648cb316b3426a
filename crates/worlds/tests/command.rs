//! What the demo says to input that makes no sense: the cause, the next step, and exit code 2.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Runs the demo with `arguments` and an image that does not matter; gives what it said.
fn refused(arguments: &[&OsStr]) -> String {
    let image = Path::new("nowhere/siloscan.sys");
    let program = Path::new(env!("CARGO_BIN_EXE_demo"));
    let done = Command::new(program)
        .args(arguments)
        .env("SILOSCAN_IMAGE", image)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the demo starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn refused_words(arguments: &[&str]) -> String {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    refused(&arguments)
}

#[test]
fn a_number_of_containers_out_of_bounds_is_refused() {
    for number in ["0", "1001", "1000000", "-1", "many", ""] {
        let said = refused_words(&[&format!("--containers={number}")]);
        assert!(said.contains("--containers"), "{said}");
    }
    assert!(refused_words(&["--containers=0"]).contains("1..=1000"));
}

#[test]
fn a_layer_that_cannot_be_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("empty")).expect("a folder");
    std::fs::write(path("file"), b"x").expect("a file");
    std::fs::create_dir(path("odd")).expect("a folder");
    std::fs::write(path("odd").join(OsStr::from_bytes(b"a\xff")), b"x").expect("a file");
    // Not even root can read it.
    std::os::unix::fs::symlink("unreadable", path("unreadable")).expect("a link");
    let cases = [
        ("unreadable", "symbolic links"),
        ("missing", "No such file"),
        ("empty", "holds no file"),
        ("file", "Not a directory"),
        ("odd", "not UTF-8"),
    ];
    for (name, cause) in cases {
        let layer = path(name);
        let said = refused(&[OsStr::new("--layer"), layer.as_os_str()]);
        assert!(said.contains(cause) && said.contains(name), "{said}");
    }
}

#[test]
fn a_driver_that_is_missing_or_damaged_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let layer = folder.path().join("layer");
    std::fs::create_dir(&layer).expect("a folder");
    std::fs::write(layer.join("tool.exe"), b"MZ a program").expect("a file");
    let damaged = folder.path().join("damaged.sys");
    std::fs::write(&damaged, b"MZ cut off").expect("a file");
    for image in [folder.path().join("absent.sys"), damaged] {
        let said = refused(&[
            OsStr::new("--containers=1"),
            OsStr::new("--layer"),
            layer.as_os_str(),
            OsStr::new("--image"),
            image.as_os_str(),
        ]);
        let name = image.file_name().expect("a name").to_string_lossy();
        assert!(said.contains(&*name), "{said}");
    }
}
