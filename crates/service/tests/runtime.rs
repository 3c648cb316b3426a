//! The reader of Docker's store, on real folders in Docker's format, good and damaged ones.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use siloscan_service::runtime::{ImageDigest, LISTING_FILE, Store, StoreError};
use tempfile::TempDir;

const GUID: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f";

fn id(digits: &str) -> String {
    digits.repeat(32)
}

fn digest(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

struct Folder(TempDir);

impl Folder {
    /// A container in a store, whole.
    fn new() -> Self {
        let folder = Self(TempDir::new().expect("a folder of its own"));
        let listing = format!(
            r#"[{{"Id":"{0}","SystemType":"Container","Owner":"docker","RuntimeId":"{GUID}",
                 "State":"Running"}},
                {{"Id":"a utility VM","SystemType":"VirtualMachine","RuntimeId":"{GUID}"}},
                {{"Id":"{1}","SystemType":"Container"}}]"#,
            id("ab"),
            id("cd"),
        );
        folder.write(LISTING_FILE, listing.as_bytes());
        let configuration = format!(
            r#"{{"StreamConfig":{{}},"State":{{"Running":true,"Pid":4}},"ID":"{}",
                "Config":{{"Image":"site/app:1"}},"Image":"{}","Driver":"windowsfilter"}}"#,
            id("ab"),
            digest("1"),
        );
        folder.write(&folder.configuration(), configuration.as_bytes());
        let chain = br#"["C:\\docker\\windowsfilter\\top","C:\\docker\\windowsfilter\\base"]"#;
        folder.write(&folder.chain(), chain);
        folder
    }

    fn configuration(&self) -> String {
        format!("containers/{}/config.v2.json", id("ab"))
    }

    fn chain(&self) -> String {
        format!("windowsfilter/{}/layerchain.json", id("ab"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    fn store(&self) -> Store {
        Store::new(self.0.path())
    }

    /// What is said of the container when one file holds these bytes.
    fn with(name: fn(&Self) -> String, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = Self::new();
        folder.write(&name(&folder), bytes);
        folder.store().container(&id("ab")).map(drop)
    }
}

/// The error's words, which must name the file.
fn complaint<T: std::fmt::Debug>(found: Result<T, StoreError>, name: &str) -> String {
    let text = found.expect_err("it is refused").to_string();
    assert!(text.contains(name), "{text}");
    text
}

#[test]
fn a_container_is_found_by_its_guid_with_image_and_layers() {
    let folder = Folder::new();
    let store = folder.store();
    let containers = store.containers().expect("a good listing");
    assert_eq!(containers.len(), 1, "{containers:?}");
    let guid: [u8; 16] = std::array::from_fn(|at| at as u8);
    assert_eq!(containers.get(&guid), Some(&id("ab")));
    let container = store.container(&id("ab")).expect("it is whole");
    assert_eq!(container.image.to_string(), digest("1"));
    let layers = [
        r"C:\docker\windowsfilter\top",
        r"C:\docker\windowsfilter\base",
    ];
    assert_eq!(container.layers, layers);
    // A base layer of its own has no chain.
    folder.write(&folder.chain(), b"null");
    let container = store.container(&id("ab")).expect("it is whole");
    assert!(container.layers.is_empty());
    let layer = store.layer_folder(&id("ef")).expect("an id");
    assert_eq!(layer, folder.path("windowsfilter").join(id("ef")));
}

#[test]
fn nothing_that_is_no_id_becomes_a_path() {
    let folder = Folder::new();
    folder.write("config.v2.json", b"{}");
    let long = format!("{}0", id("ab"));
    let upper = id("AB");
    for id in ["", "..", "../..", r"..\..", "ab", &long, &upper] {
        assert_eq!(folder.store().layer_folder(id), None, "{id}");
        let text = complaint(folder.store().container(id), "config.v2.json");
        assert!(text.contains("no container's id"), "{text}");
    }
}

#[test]
fn damaged_configurations_are_refused_with_their_cause() {
    let whole = |name: &str, image: &str| format!(r#"{{"ID":"{name}","Image":"{image}"}}"#);
    let deep = format!("{}{}", r#"{"ID":"#.repeat(200_000), "}".repeat(200_000));
    let image = "is no image";
    let damaged: [(Vec<u8>, &str); 13] = [
        (Vec::new(), "EOF"),
        (b"null".to_vec(), "it is null"),
        (b"[]".to_vec(), "is damaged"),
        (b"{}".to_vec(), "missing field `ID`"),
        (br#"{"ID":"#.to_vec(), "EOF"),
        (br#"{"ID":5,"Image":"x"}"#.to_vec(), "invalid type"),
        (br#"{"ID":"x"}"#.to_vec(), "missing field `Image`"),
        (vec![0xff; 4096], "is damaged"),
        (deep.into_bytes(), "is damaged"),
        (
            whole(&id("cd"), &digest("1")).into_bytes(),
            "another container's",
        ),
        (whole(&id("ab"), "site/app:1").into_bytes(), image),
        (whole(&id("ab"), &digest("A")).into_bytes(), image),
        (whole(&id("ab"), "sha256:\u{e4}").into_bytes(), image),
    ];
    for (bytes, cause) in damaged {
        let found = Folder::with(Folder::configuration, &bytes);
        let text = complaint(found, "config.v2.json");
        assert!(text.contains(cause), "{text}");
    }
}

#[test]
fn damaged_chains_and_listings_are_refused() {
    let many = format!("[{}\"x\"]", "\"x\",".repeat(300));
    for bytes in [b"{}".as_slice(), b"[1]", b"[", b"\"x\"", many.as_bytes()] {
        complaint(Folder::with(Folder::chain, bytes), "layerchain.json");
    }
    let entry = |id: &str| format!(r#"{{"Id":"{id}","RuntimeId":"{GUID}"}}"#);
    let twice = format!("[{},{}]", entry(&id("ab")), entry(&id("cd")));
    let many = format!("[{}{}]", "{\"Id\":\"x\"},".repeat(20_000), entry(&id("ab")));
    for bytes in ["{}", "[", "[{}]", r#"[{"Id":1}]"#, &twice, &many] {
        let folder = Folder::new();
        folder.write(LISTING_FILE, bytes.as_bytes());
        complaint(folder.store().containers(), LISTING_FILE);
    }
    for bytes in ["null", "[]", r#"[{"Id":"x","RuntimeId":"no GUID"}]"#] {
        let folder = Folder::new();
        folder.write(LISTING_FILE, bytes.as_bytes());
        let containers = folder.store().containers().expect("nobody is listed");
        assert!(containers.is_empty());
    }
}

#[test]
fn huge_files_are_not_read_to_their_end() {
    let folder = Folder::new();
    let file = fs::File::create(folder.path(&folder.configuration())).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let found = folder.store().container(&id("ab"));
    assert!(
        matches!(found, Err(StoreError::TooLarge { .. })),
        "{found:?}"
    );
}

#[test]
fn links_loops_and_devices_are_not_followed() {
    type Change = fn(&Folder);
    let changes: [Change; 5] = [
        |folder| {
            let path = folder.path(&folder.configuration());
            let elsewhere = folder.path("elsewhere.json");
            fs::rename(&path, &elsewhere).expect("a new name");
            symlink(elsewhere, path).expect("a link");
        },
        |folder| {
            let path = folder.path(&folder.configuration());
            fs::remove_file(&path).expect("it is there");
            symlink("config.v2.json", path).expect("a loop");
        },
        |folder| {
            let (path, other) = (folder.path("containers"), folder.path("other"));
            fs::rename(&path, &other).expect("a new name");
            symlink(other, path).expect("a link");
        },
        |folder| {
            let path = folder.path(&folder.configuration());
            fs::remove_file(&path).expect("it is there");
            fs::create_dir(path).expect("a folder");
        },
        |folder| {
            let path = folder.path(&folder.configuration());
            fs::remove_file(&path).expect("it is there");
            symlink("/dev/zero", path).expect("a link to a device");
        },
    ];
    for change in changes {
        let folder = Folder::new();
        change(&folder);
        let found = folder.store().container(&id("ab"));
        assert!(
            matches!(found, Err(StoreError::NotPlain { .. })),
            "{found:?}"
        );
    }
    let folder = Folder::new();
    fs::remove_dir_all(folder.path("containers")).expect("it is there");
    let found = folder.store().container(&id("ab"));
    assert!(
        matches!(found, Err(StoreError::Unreadable { .. })),
        "{found:?}"
    );
}

#[test]
fn an_image_is_found_by_the_manifest_that_it_was_pulled_by() {
    let folder = Folder::new();
    assert!(
        folder
            .store()
            .manifests()
            .expect("no file is no name")
            .is_empty()
    );
    let names = "image/windowsfilter/repositories.json";
    let text = format!(
        r#"{{"Repositories":{{"app":{{"app:1":"{0}","app@{1}":"{0}","app@nonsense":"{0}",
            "app@{2}":"nonsense"}}}}}}"#,
        digest("1"),
        digest("2"),
        digest("3"),
    );
    folder.write(names, text.as_bytes());
    let manifests = folder.store().manifests().expect("a good file");
    let image = |digit| ImageDigest::parse(&digest(digit)).expect("a digest");
    assert_eq!(
        manifests.into_iter().collect::<Vec<_>>(),
        [(image("2"), image("1"))]
    );
    for bytes in [
        "",
        "[]",
        "{}",
        r#"{"Repositories":[]}"#,
        r#"{"Repositories":{"a":5}}"#,
    ] {
        folder.write(names, bytes.as_bytes());
        complaint(folder.store().manifests(), "repositories.json");
    }
}
