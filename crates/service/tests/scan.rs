//! The command `siloscan scan`: what it says in each form, and how it ends.

use std::fs;
use std::path::Path;
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
