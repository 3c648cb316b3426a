//! An operator's file of exclusions, as the service's own keeper reads it, and Docker's store as
//! Docker writes it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use filterhost::layout::GUID;
use parking_lot::Mutex;
use serde_json::{Value, json};
use siloscan_core::trace::TraceId;
use siloscan_service::exclusions::{Exclusion, ExclusionKeeper};
use siloscan_service::runtime::{LISTING_FILE, Store};
use tempfile::TempDir;

use crate::events;
use crate::world::World;

/// A file of exclusions beside a store.
pub struct Operator {
    folder: TempDir,
    keeper: Mutex<ExclusionKeeper>,
    systems: Mutex<Vec<Value>>,
}

impl Default for Operator {
    fn default() -> Self {
        Self::new()
    }
}

impl Operator {
    /// Nothing is excluded, and no container is known.
    ///
    /// # Panics
    /// Where no folder can be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder of its own");
        let store = Store::new(folder.path());
        let keeper = ExclusionKeeper::new(&folder.path().join("exclusions.txt"));
        let operator = Self {
            keeper: Mutex::new(keeper.with_store(Some(store))),
            folder,
            systems: Mutex::default(),
        };
        operator.write("exclusions.txt", "");
        operator.write(LISTING_FILE, "[]");
        operator
    }

    /// The store, for whoever else asks it.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(self.folder.path())
    }

    /// Writes a file below the folder.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        fs::create_dir_all(parent).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// The runtime knows a container: as Docker writes it down, and as the host compute service
    /// lists it. `number` makes its id.
    pub fn started(&self, guid: &GUID, number: u8, image: &str) {
        let base = r"C:\ProgramData\docker\windowsfilter\base".to_owned();
        self.started_over(guid, number, image, &[base]);
    }

    /// The same, over these layers, topmost first.
    pub fn started_over(&self, guid: &GUID, number: u8, image: &str, layers: &[String]) {
        let id = format!("{number:02x}").repeat(32);
        let configuration = json!({ "ID": id, "Image": image, "Driver": "windowsfilter" });
        let path = format!("containers/{id}/config.v2.json");
        self.write(&path, &configuration.to_string());
        let chain = json!(layers);
        let path = format!("windowsfilter/{id}/layerchain.json");
        self.write(&path, &chain.to_string());
        let guid = guid.to_string();
        let guid = guid.trim_matches(['{', '}']);
        let mut systems = self.systems.lock();
        systems.push(json!({
            "Id": id, "SystemType": "Container", "Owner": "docker", "RuntimeId": guid,
            "State": "Running",
        }));
        let listing = Value::Array(systems.clone());
        self.write(LISTING_FILE, &listing.to_string());
    }

    /// The keeper looks, as it does every second.
    ///
    /// # Panics
    /// Without a service.
    pub fn look(&self, world: &World) {
        let service = world.service().expect("it runs");
        self.keeper.lock().check(&service);
    }

    /// Writes the file of exclusions, has it read, and waits until the driver has another list.
    ///
    /// # Panics
    /// When it takes none.
    pub fn exclude(&self, world: &World, text: &str) {
        self.write("exclusions.txt", text);
        let _what_came_before = events::take(world.machine());
        self.look(world);
        await_list(world);
    }
}

/// Waits until the driver has taken another list, and gives what it tells of it: containers and
/// layers.
///
/// # Panics
/// When it takes none.
pub fn await_list(world: &World) -> (u64, u64) {
    let told = (0..600).find_map(|_| {
        let told = events::take_of(world.machine(), TraceId::ExclusionsChanged).pop();
        if told.is_none() {
            let pause = Duration::from_millis(50);
            world.machine().sched().sleep(pause);
        }
        told
    });
    let told = told.expect("the driver takes the list");
    (told.number("Containers"), told.number("Layers"))
}

/// The hits of each exclusion, once the driver has told everything until now.
///
/// # Panics
/// Without a service.
#[must_use]
pub fn hits(world: &World) -> Vec<(Exclusion, u64)> {
    let _settled = world.counts();
    let service = world.service().expect("it runs");
    let hits = service.hits().into_iter();
    hits.map(|hits| (hits.exclusion, hits.hits)).collect()
}
