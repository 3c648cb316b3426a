//! The command `siloscan warm IMAGE` as a user runs it: what it says, and how it ends.
#![cfg(unix)]

mod docker_store;
#[expect(dead_code, reason = "what this test needs of it is a part")]
mod shell;

use std::fs;
use std::path::Path;
use std::process::Command;

use docker_store::{Docker, chains, digest, digits, entry, folder};
use serde_json::{Value, json};
use shell::ends;
use siloscan_service::runtime::Store;
use siloscan_service::runtime::reference::Reference;
use siloscan_service::warm::{HostTree, warm_all};

/// Runs it in the store's folder, without a word about where the store is.
fn run(docker: &Docker, arguments: &[&str], code: i32) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .current_dir(docker.root())
        .args(["warm", "--quiet"])
        .args(arguments)
        .output()
        .expect("it starts");
    ends(&output, code)
}

/// The same, with the store that it is in.
fn warm(docker: &Docker, arguments: &[&str], code: i32) -> (String, String) {
    let root = docker.root().to_str().expect("a plain name");
    run(
        docker,
        &[&["--runtime-store", root], arguments].concat(),
        code,
    )
}

/// It says all of these words and warms nothing.
fn refused(docker: &Docker, arguments: &[&str], words: &[&str]) {
    let (out, errors) = run(docker, arguments, 2);
    assert_eq!(out, "");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

#[test]
fn all_layers_of_an_image_are_warmed_and_told_in_one_summary() {
    let (docker, id) = Docker::with(&["a", "b", "c"]);
    docker.image(&["d"]);
    docker.call(&[("app:1", &id)]);
    let expected = format!("image {id}, layers: 3\n6 warm, 0 infected, 0 went away, 0 failed\n");
    for image in ["app:1", id.as_str(), &digits(&id)[..12]] {
        assert_eq!(warm(&docker, &[image], 0).0, expected);
    }
}

#[test]
fn json_tells_the_image_and_each_layer_from_the_base_up() {
    let (docker, id) = Docker::with(&["a", "b"]);
    docker.write(&format!("{}/Files/more", folder(&digest("a"))), "more");
    let (out, _) = warm(&docker, &["--json", &id], 0);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let chains = chains(&["a", "b"].map(digest));
    let layer = |number: usize, digit: &str, files: u64| {
        json!({
            "digest": digest(digit), "chain": chains[number], "files": files,
            "folder": docker.files(&chains[number]).display().to_string(),
            "result": { "warm": files, "gone": 0, "infected": 0, "failed": 0 },
        })
    };
    let expected = json!({
        "image": id, "warm": 5, "gone": 0, "infected": [], "failed": [],
        "layers": [layer(0, "a", 3), layer(1, "b", 2)],
    });
    assert_eq!(told, expected);
    // Of a folder there is no image to tell.
    let layer = docker.files(&chains[1]);
    let (out, _) = run(
        &docker,
        &["--json", layer.to_str().expect("a plain name")],
        0,
    );
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let expected = json!({ "warm": 2, "gone": 0, "infected": [], "failed": [] });
    assert_eq!(told, expected);
}

#[test]
fn a_folder_that_two_layers_name_is_warmed_once_and_told_for_both() {
    let (docker, id) = Docker::with(&["a", "b"]);
    let chains = chains(&["a", "b"].map(digest));
    let cache_id = docker_store::cache_id(&chains[0]);
    docker.write(&format!("{}/cache-id", entry(&chains[1])), cache_id);
    let (out, _) = warm(&docker, &["--json", &id], 0);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["warm"], 2);
    assert_eq!(told["layers"][0]["files"], 2);
    assert_eq!(told["layers"][1]["folder"], told["layers"][0]["folder"]);
    assert_eq!(told["layers"][1]["result"]["warm"], 2);
}

#[test]
fn progress_counts_the_files_of_all_layers_and_the_base_goes_first() {
    let (docker, id) = Docker::with(&["b", "a"]);
    let asked = Reference::parse(&id).expect("a digest");
    let image = Store::new(docker.root())
        .image(&asked)
        .expect("it is whole");
    let mut told = Vec::new();
    let warmed = warm_all(&HostTree, &image.folders(), |done, all| {
        told.push((done, all))
    });
    let warmed = warmed.expect("they are there");
    assert_eq!(told, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]);
    assert_eq!(warmed.iter().map(|it| it.files).collect::<Vec<_>>(), [2, 2]);
    // A layer that goes meanwhile is an error before any file is opened.
    fs::remove_dir_all(&image.folders()[1]).expect("it is there");
    let mut opened = 0;
    let gone = warm_all(&HostTree, &image.folders(), |done, _| opened = done);
    let cause = gone.expect_err("one is gone").to_string();
    assert!(cause.contains("no such folder"), "{cause}");
    assert_eq!(opened, 0);
}

#[test]
fn a_folder_goes_before_an_image_and_a_digest_is_never_a_folder() {
    let (docker, id) = Docker::with(&["a"]);
    docker.call(&[("app:latest", &id)]);
    docker.write("app/one", "1");
    docker.write(&format!("{id}/one"), "1");
    let folder = "1 warm, 0 infected, 0 went away, 0 failed\n";
    assert_eq!(warm(&docker, &["app"], 0).0, folder);
    assert!(warm(&docker, &["app:latest"], 0).0.contains("2 warm"));
    assert!(
        warm(&docker, &[&id], 0)
            .0
            .starts_with(&format!("image {id}"))
    );
    // A file of that name is no folder.
    docker.write("app:latest", "1");
    assert!(warm(&docker, &["app:latest"], 0).0.contains("2 warm"));
    // What can be neither is said to be no folder.
    refused(
        &docker,
        &["./app:latest"],
        &["cannot read the folder ./app:latest"],
    );
    refused(&docker, &["No/Image"], &["cannot read the folder No/Image"]);
    for digest in ["sha256:12", "sha256:xyz", "sha256:../../../etc"] {
        refused(&docker, &[digest], &[digest, "is no image", "64 digits"]);
    }
}

#[test]
fn dockers_folder_is_named_on_the_line_or_in_the_configuration() {
    let (docker, id) = Docker::with(&["a"]);
    docker.call(&[("app:latest", &id)]);
    let nowhere = [
        "no folder is named app",
        "--runtime-store",
        "runtime.docker",
    ];
    refused(&docker, &["app"], &nowhere);
    let root = docker.root().display();
    docker.write("own.toml", format!("[runtime]\ndocker = '{root}'\n"));
    let (out, _) = run(&docker, &["--config", "own.toml", "app"], 0);
    assert!(out.starts_with(&format!("image {id}")), "{out}");
    // The line goes before the configuration.
    let other = Docker::new();
    let line = [
        "--runtime-store",
        other.root().to_str().expect("a plain name"),
    ];
    let asked = [&line[..], &["--config", "own.toml", "app"]].concat();
    refused(
        &docker,
        &asked,
        &["has no image app", "no folder is named app, and"],
    );
    docker.write("own.toml", "[runtime]\ndocker = 5\n");
    refused(
        &docker,
        &["--config", "own.toml", "app"],
        &["own.toml", "docker"],
    );
    refused(&docker, &["--config", "none.toml", "app"], &["none.toml"]);
}

#[test]
fn what_is_wrong_in_the_store_ends_with_2_and_nothing_is_opened() {
    let (docker, id) = Docker::with(&["a", "b"]);
    docker.call(&[("app:1", &id)]);
    let root = docker.root().to_str().expect("a plain name").to_owned();
    let line = ["--json", "--runtime-store", &root];
    refused(
        &docker,
        &[&line[..], &["app:2"]].concat(),
        &["is it app:1?"],
    );
    let chain = &chains(&["a", "b"].map(digest))[1];
    let name = format!("{}/cache-id", entry(chain));
    docker.write(&name, "\u{1b}]0;owned\u{7}\n../x");
    let line = [&line[..], &["app:1"]].concat();
    refused(
        &docker,
        &line,
        &["cache-id", "is no folder of a layer", "pull it again"],
    );
    fs::remove_file(docker.path(&name)).expect("it is there");
    refused(&docker, &line, &["layer 2 of 2", "pull it again"]);
    docker.write("image/windowsfilter/repositories.json", "{\u{1b}");
    refused(&docker, &line, &["repositories.json", "is damaged"]);
    fs::remove_dir_all(docker.path("image")).expect("it is there");
    refused(
        &docker,
        &line,
        &["Docker has no images in", "Docker Root Dir"],
    );
}

#[test]
fn layers_without_any_file_are_no_success() {
    let (docker, id) = Docker::with(&["a"]);
    let files = docker.files(&digest("a"));
    fs::remove_dir_all(&files).expect("it is there");
    fs::create_dir_all(files.join("Windows")).expect("a new folder");
    let (out, errors) = warm(&docker, &[&id], 2);
    assert_eq!(out, "");
    assert!(
        errors.contains("hold no file") && errors.contains(&id),
        "{errors}"
    );
}

#[test]
fn where_containerd_has_layers_the_error_says_what_to_name() {
    let (docker, id) = Docker::with(&["a"]);
    docker.call(&[("app:1", &id)]);
    let snapshots = "io.containerd.snapshotter.v1.windows/snapshots";
    let hinted = |configured: bool, asked: &str| {
        let root = docker.root().display();
        let containerd = docker.path("other").display().to_string();
        let more = format!("[proactive]\ncontainerd = '{containerd}'\n");
        let more = if configured { more.as_str() } else { "" };
        docker.write("own.toml", format!("[runtime]\ndocker = '{root}'\n{more}"));
        let (_, errors) = run(&docker, &["--config", "own.toml", asked], 2);
        let said = errors.contains("give the folder of each layer");
        let place = |root: &Path| {
            root.join(snapshots)
                .join("NUMBER/Files")
                .display()
                .to_string()
        };
        let of = ["other", "containerd/daemon"];
        of.into_iter()
            .find(|name| said && errors.contains(&place(&docker.path(name))))
    };
    assert_eq!(hinted(true, "app:2"), None, "there is no containerd");
    fs::create_dir_all(docker.path("other").join(snapshots)).expect("a new folder");
    assert_eq!(hinted(true, "app:2"), Some("other"));
    assert_eq!(hinted(false, "app:2"), None, "nobody named it");
    let within = docker.path("containerd/daemon").join(snapshots);
    fs::create_dir_all(within).expect("a new folder");
    assert_eq!(hinted(false, "app:2"), Some("containerd/daemon"));
    assert_eq!(hinted(false, &digest("9")), Some("containerd/daemon"));
    // What Docker has and is damaged, containerd does not have.
    fs::remove_dir_all(docker.path("windowsfilter")).expect("it is there");
    assert_eq!(hinted(false, "app:1"), None);
    fs::remove_dir_all(docker.path("image")).expect("it is there");
    assert_eq!(hinted(true, "app:1"), Some("other"));
}
