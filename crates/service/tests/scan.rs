//! The command `siloscan scan`: what it says in each form, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use siloscan_service::engine::{EICAR_RULE, eicar_test_file};

fn scan(path: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .args(["scan", "--quiet"])
        .args(options)
        .arg(path)
        .output()
        .expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(path: &Path, options: &[&str]) -> (Value, Option<i32>) {
    let output = scan(path, options);
    let text = said(&output);
    let value = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"));
    (value, output.status.code())
}

/// A folder with a clean file, an infected one below, and one with a name that is no friend of
/// terminals.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("below/more")).unwrap();
    fs::write(dir.path().join("clean.txt"), b"clean").unwrap();
    fs::write(dir.path().join("below/more/bad 1.com"), eicar_test_file()).unwrap();
    dir
}

#[test]
fn a_clean_folder_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("clean.txt"), b"clean").unwrap();
    let output = scan(dir.path(), &[]);
    assert_eq!(
        said(&output),
        "1 files scanned, 5 bytes: 0 found, 0 problems\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_found_ends_with_1_and_stands_in_the_table() {
    let dir = folder();
    let output = scan(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    let row = text.lines().find(|line| line.contains(EICAR_RULE)).unwrap();
    assert!(row.contains("below/more/bad 1.com"), "{text}");
}

#[test]
fn what_cannot_be_scanned_ends_with_2_and_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("large"), [b'x'; 101]).unwrap();
    fs::write(dir.path().join("small"), [b'x'; 100]).unwrap();
    let (report, code) = json(dir.path(), &["--json", "--max-file", "100"]);
    assert_eq!(code, Some(2));
    assert_eq!(report["files"], 1);
    assert_eq!(report["problems"][0]["kind"], "too-large");
    assert_eq!(report["problems"][0]["path"], "large");

    let (report, code) = json(&dir.path().join("nowhere"), &["--json"]);
    assert_eq!(code, Some(2));
    assert_eq!(report["problems"][0]["kind"], "missing");
}

#[test]
fn a_finding_outweighs_a_problem() {
    let dir = folder();
    fs::write(dir.path().join("large"), [b'x'; 101]).unwrap();
    let (report, code) = json(dir.path(), &["--json", "--max-file", "100"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["findings"][0]["rule"], EICAR_RULE);
    assert_eq!(report["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn rules_of_a_folder_are_used_and_broken_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let rule = r#"rule Own { strings: $a = "own word" condition: $a }"#;
    fs::write(rules.join("own.yar"), rule).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"an own word").unwrap();
    let options = ["--json", "--rules", rules.to_str().unwrap()];
    let (report, code) = json(&file, &options);
    assert_eq!(code, Some(1));
    assert_eq!(report["findings"][0]["rule"], "Own");
    assert_eq!(report["findings"][0]["origin"], "own.yar");
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);

    fs::write(rules.join("broken.yar"), "rule {").unwrap();
    fs::write(&file, b"nothing").unwrap();
    let (report, code) = json(&file, &options);
    assert_eq!(code, Some(2));
    assert_eq!(report["problems"][0]["kind"], "rules");
    let text = report["problems"][0]["text"].as_str().unwrap();
    assert!(text.contains("broken.yar:1"), "{text}");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_and_names_do_not_steer_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let outside = folder();
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(outside.path(), inside.join("link")).unwrap();
    let file = outside.path().join("below/more/bad 1.com");
    std::os::unix::fs::symlink(file, inside.join("file")).unwrap();
    assert_eq!(scan(&inside, &[]).status.code(), Some(0));

    fs::write(inside.join("\u{1b}[2Jbad\u{202e}"), eicar_test_file()).unwrap();
    let output = scan(&inside, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
    assert!(text.contains(r"\u{1b}[2Jbad"), "{text}");
}

/// The properties that the schema of SARIF 2.1.0 requires, on what is used of it.
#[test]
fn sarif_has_what_its_schema_requires() {
    let dir = folder();
    fs::write(dir.path().join("large"), [b'x'; 101]).unwrap();
    let (log, code) = json(dir.path(), &["--sarif", "--max-file", "100"]);
    assert_eq!(code, Some(1));
    assert_eq!(log["version"], "2.1.0");
    let runs = log["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "siloscan");
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], EICAR_RULE);
    assert_eq!(result["level"], "error");
    assert!(result["message"]["text"].is_string());
    let rule = result["ruleIndex"].as_u64().unwrap() as usize;
    assert_eq!(driver["rules"][rule]["id"], result["ruleId"]);
    let place = &result["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(place["uri"], "below/more/bad%201.com");
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let note = &invocation["toolExecutionNotifications"][0];
    assert_eq!(note["descriptor"]["id"], "too-large");
    assert!(note["message"]["text"].is_string());
    let known = ["$schema", "version", "runs"];
    assert!(
        log.as_object()
            .unwrap()
            .keys()
            .all(|key| known.contains(&key.as_str()))
    );
}

fn umoci(arguments: &[&str]) {
    let output = Command::new("umoci").args(arguments).output();
    let output = output.expect("sudo apt-get install --no-install-recommends umoci");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
}

#[test]
fn an_image_is_scanned_with_the_services_rules() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let image = format!("{}:one", layout.display());
    let file = dir.path().join("file");
    fs::write(&file, eicar_test_file()).unwrap();
    umoci(&["init", "--layout", layout.to_str().unwrap()]);
    umoci(&["new", "--image", &image]);
    let file = file.to_str().unwrap();
    umoci(&["insert", "--image", &image, file, "/Files/bad.com"]);
    umoci(&["insert", "--image", &image, "--whiteout", "/Files/bad.com"]);
    let (report, code) = json(&layout, &["--json"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["kind"], "oci-layout");
    let finding = &report["findings"][0];
    assert_eq!(finding["path"], "Files/bad.com");
    assert_eq!(finding["hidden"], true);
    assert_eq!(finding["images"][0], "one");
    let layer = finding["within"].as_str().unwrap();
    assert!(layer.starts_with("sha256:") && layer.len() == 71, "{layer}");
    let text = said(&scan(&layout, &[]));
    assert!(text.contains("hidden"), "{text}");
    let (log, _) = json(&layout, &["--sarif"]);
    let place = &log["runs"][0]["results"][0]["locations"][0]["logicalLocations"][0];
    assert_eq!(
        place["fullyQualifiedName"],
        format!("{layer}/Files/bad.com")
    );
}

fn tool(program: &str, package: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|cause| {
        panic!("{program}: {cause}; sudo apt-get install --no-install-recommends {package}")
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

/// A stopped container's disk with one file, whose bytes are `bad.com` of layer
/// `02020202-0202-0202-0202-020202020202`.
fn disk(dir: &Path) -> PathBuf {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (volume, disk) = (path("volume"), path("sandbox.vhdx"));
    let file = fs::File::create(&volume).unwrap();
    file.set_len(4 << 20).unwrap();
    let mut data = vec![1, 0, 0, 0, 0, 0, 0, 0];
    data.extend([2; 16]);
    let name: Vec<u8> = "bad.com".bytes().flat_map(|byte| [byte, 0]).collect();
    data.extend([name.len() as u8, 0]);
    data.extend(name);
    let point = [
        &[0x18, 0x10, 0x00, 0x90, data.len() as u8, 0, 0, 0],
        data.as_slice(),
    ]
    .concat();
    fs::write(path("empty"), b"").unwrap();
    fs::write(path("point"), point).unwrap();
    let geometry = ["-s", "512", "-p", "0", "-H", "255", "-S", "63"];
    let make = [&["-F", "-Q", "-q"], geometry.as_slice(), &[&volume]].concat();
    tool("mkntfs", "ntfs-3g", &make);
    tool(
        "ntfscp",
        "ntfs-3g",
        &["-q", &volume, &path("empty"), "a.com"],
    );
    let set = ["-q", "-a", "0xC0", &volume, &path("point"), "a.com"];
    tool("ntfscp", "ntfs-3g", &set);
    let convert = ["convert", "-f", "raw", "-O", "vhdx", &volume, &disk];
    tool("qemu-img", "qemu-utils", &convert);
    disk.into()
}

#[test]
fn a_placeholder_is_scanned_in_the_layer_that_is_given_for_it() {
    const LAYER: &str = "02020202-0202-0202-0202-020202020202";
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path());
    let store = dir.path().join("store");
    let file = store.join("id/Files/bad.com");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, eicar_test_file()).unwrap();
    let chain = dir.path().join("layerchain.json");
    fs::write(&chain, br#"["C:\\windowsfilter\\id"]"#).unwrap();
    let (chain, store) = (chain.to_str().unwrap(), store.to_str().unwrap());

    let (report, code) = json(&disk, &["--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(report["placeholders"][0]["layer"], LAYER);
    assert_eq!(report["placeholders"][0]["bytes"], "folder-unknown");
    let text = said(&scan(&disk, &[]));
    assert!(text.contains(LAYER), "{text}");

    let given = format!("{{{LAYER}}}={store}/id");
    let chained = ["--layerchain", chain, "--store", store];
    // Whose the file is the option says, or the chain.
    let (layer, folder) = (format!("layer {LAYER}"), format!("{store}/id"));
    for (where_, within) in [(&["--layer", &given][..], &layer), (&chained[..], &folder)] {
        let (report, code) = json(&disk, &[&["--json"], where_].concat());
        assert_eq!(code, Some(0));
        let at = file.to_str().unwrap();
        assert_eq!(report["placeholders"][0]["bytes"]["at"], at);
        let options = [&["--json", "--with-layers"], where_].concat();
        let (report, code) = json(&disk, &options);
        assert_eq!(code, Some(1));
        assert_eq!(report["findings"][0]["path"], at);
        assert_eq!(report["findings"][0]["within"], *within);
    }
}

#[test]
fn layers_that_are_given_wrong_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let guid = "02020202-0202-0202-0202-020202020202";
    let without = format!("{guid}=");
    for (options, told) in [
        (["--layer", "folder"], "GUID=FOLDER"),
        (["--layer", &without], "GUID=FOLDER"),
        (["--layer", "layer=folder"], "no GUID"),
        (["--store", "folder"], "--layerchain"),
    ] {
        let output = scan(dir.path(), &options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(told), "{options:?}: {error}");
    }
}
