//! Where layers are found: in stores as the runtimes lay them out, good and damaged ones.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use siloscan_service::proactive::layers::{Found, Sources};
use tempfile::TempDir;

fn id(number: usize) -> String {
    format!("{number:064x}")
}

/// Docker's and containerd's folders, both with nothing in them.
struct Stores {
    dir: TempDir,
    sources: Sources,
}

impl Stores {
    fn new() -> Self {
        let dir = TempDir::new().expect("a folder of its own");
        let root = |name: &str| Some(dir.path().join(name));
        let sources = Sources {
            docker: root("docker"),
            containerd: root("containerd"),
            folders: Vec::new(),
        };
        let stores = Self { dir, sources };
        fs::create_dir_all(stores.docker()).expect("a new folder");
        fs::create_dir_all(stores.containerd()).expect("a new folder");
        stores
    }

    fn docker(&self) -> PathBuf {
        self.dir.path().join("docker/windowsfilter")
    }

    fn containerd(&self) -> PathBuf {
        let snapshotter = "containerd/io.containerd.snapshotter.v1.windows/snapshots";
        self.dir.path().join(snapshotter)
    }

    /// A folder of Docker's, over these; with package files or as a container's own space.
    fn docker_folder(&self, number: usize, is_layer: bool, over: &[usize]) -> PathBuf {
        let folder = self.docker().join(id(number));
        let files = folder.join("Files");
        fs::create_dir_all(if is_layer { &files } else { &folder }).expect("a new folder");
        let over: Vec<String> = over
            .iter()
            .map(|below| format!(r"C:\ProgramData\docker\windowsfilter\{}", id(*below)))
            .collect();
        if !over.is_empty() {
            let chain = serde_json::to_vec(&over).expect("texts are JSON");
            fs::write(folder.join("layerchain.json"), chain).expect("a new file");
        }
        files
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        let files = self.containerd().join(name).join("Files");
        fs::create_dir_all(&files).expect("a new folder");
        files
    }

    fn find(&self) -> Found {
        self.sources.find()
    }
}

#[test]
fn what_containers_are_over_is_hotter_than_what_layers_are_over() {
    let stores = Stores::new();
    let base = stores.docker_folder(1, true, &[]);
    let idle = stores.docker_folder(2, true, &[1]);
    let used = stores.docker_folder(3, true, &[1]);
    let idle_top = stores.docker_folder(4, true, &[2, 1]);
    stores.docker_folder(5, false, &[3, 1]);
    // Folders that are no layers: a container's own space with an id that is none, a stray file.
    fs::create_dir_all(stores.docker().join("rm-1/Files")).expect("a new folder");
    fs::write(stores.docker().join("notes"), b"x").expect("a new file");
    let found = stores.find();
    assert!(found.complete && found.problems.is_empty(), "{found:?}");
    assert_eq!(found.folders, [base, used, idle, idle_top]);
}

#[test]
fn numbered_snapshots_with_package_files_are_layers_newest_first() {
    let mut stores = Stores::new();
    let [two, nine, ten] = ["2", "9", "10"].map(|name| stores.snapshot(name));
    stores.snapshot("rm-3");
    fs::create_dir_all(stores.containerd().join("11")).expect("a container's own space");
    let named = stores.dir.path().join("named");
    stores.sources.folders = vec![named.clone(), ten.clone()];
    let found = stores.find();
    assert!(found.complete, "{found:?}");
    assert_eq!(found.folders, [named, ten, nine, two], "each once");
}

#[test]
fn a_damaged_chain_costs_heat_alone_and_is_named() {
    let stores = Stores::new();
    let (one, two) = (
        stores.docker_folder(1, true, &[]),
        stores.docker_folder(2, true, &[]),
    );
    for (number, text) in [(3, "[\"x\""), (4, "{}"), (5, "[1]")] {
        stores.docker_folder(number, false, &[]);
        let chain = stores.docker().join(id(number)).join("layerchain.json");
        fs::write(chain, text).expect("a new file");
    }
    stores.docker_folder(6, false, &[2]);
    let chain = stores.docker().join(id(7)).join("layerchain.json");
    stores.docker_folder(7, false, &[]);
    symlink("/etc/passwd", chain).expect("a new link");
    let found = stores.find();
    assert!(found.complete, "{found:?}");
    assert_eq!(found.folders, [two, one]);
    assert_eq!(found.problems.len(), 4, "{found:?}");
    for (problem, number) in found.problems.iter().zip([3, 4, 5, 7]) {
        assert!(problem.contains(&id(number)), "{problem}");
    }
}

/// Something that may hide layers: they cannot be said to be all.
fn hides(stores: &Stores, where_: &Path) {
    let found = stores.find();
    assert!(!found.complete, "{found:?}");
    let named = where_.display().to_string();
    assert!(found.problems[0].contains(&named), "{found:?}");
}

#[test]
fn links_are_not_followed_and_say_that_something_may_be_missing() {
    let stores = Stores::new();
    let elsewhere = stores.dir.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("Files")).expect("a new folder");
    let good = stores.docker_folder(1, true, &[]);
    let link = stores.docker().join(id(2));
    symlink(&elsewhere, &link).expect("a new link");
    assert_eq!(stores.find().folders, [good]);
    hides(&stores, &link);
    fs::remove_file(&link).expect("the link");
    assert!(stores.find().complete);
    let files = stores.containerd().join("7");
    fs::create_dir(&files).expect("a new folder");
    symlink(elsewhere.join("Files"), files.join("Files")).expect("a new link");
    hides(&stores, &files.join("Files"));
}

#[test]
fn a_store_that_is_not_there_is_named() {
    let stores = Stores::new();
    fs::remove_dir(stores.docker()).expect("it is empty");
    hides(&stores, &stores.docker());
    symlink("/", stores.docker()).expect("a new link");
    hides(&stores, &stores.docker());
}

#[test]
fn thousands_of_layers_are_found() {
    let stores = Stores::new();
    for number in 0..3_000 {
        stores.docker_folder(number, number % 3 > 0, &[number / 2, 1]);
    }
    let found = stores.find();
    assert!(found.complete && found.problems.is_empty());
    assert_eq!(found.folders.len(), 2_000);
    assert!(found.folders[0].to_string_lossy().contains(&id(1)));
}
