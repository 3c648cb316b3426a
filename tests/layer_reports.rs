//! What is told of a detection in a layer: which layer, of which images, used by which containers,
//! as far as the runtime's store knows. The layer itself is never touched.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use filterhost::container::{Container, ContainerOptions};
use filterhost::layout::GUID;
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Volume, random_guid};
use filterhost::wcifs::Layer;
use siloscan_service::engine::eicar_test_file;
use siloscan_service::events::Event;
use siloscan_service::remedy::{FoundInLayer, RemedyKeeper};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::exclusions::Operator;
use siloscan_worlds::scene::{INFECTED, options};
use siloscan_worlds::world::World;
use tempfile::TempDir;

const BAD: &str = r"C:\bad.dll";
const TOOL: &str = r"C:\tool.exe";

/// Three images on one base, in which a file is infected: two share a layer above it, in which
/// another one is.
struct Scene {
    volume: Arc<Volume>,
    containers: Vec<(Container, GUID)>,
    operator: Operator,
    _folder: TempDir,
}

fn image(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

impl Scene {
    fn new(world: &World) -> Self {
        let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
        let folder = TempDir::new().expect("a folder of its own");
        let eicar = eicar_test_file();
        for (name, bytes) in [
            ("base/bad.dll", &eicar[..]),
            ("one/tool.exe", &eicar),
            ("two/tool.exe", b"MZ"),
            ("first.txt", b"read by the host"),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
            fs::write(path, bytes).expect("a new file");
        }
        volume
            .import_folder(r"\", folder.path())
            .expect("what was just written");
        // The driver learns a volume's GUID by its first open.
        let host = world.process("host");
        host.set_drive('C', &volume);
        host.run(|p| p.read_file(r"C:\first.txt")).expect("clean");
        let below = |root: &str| Layer {
            volume: Arc::clone(&volume),
            root: root.to_owned(),
            registered: false,
            remote: false,
        };
        let container = |top: &str| {
            let id = random_guid(world.machine());
            let options = ContainerOptions {
                layers: vec![below(top), below(r"\base")],
                container_id: Some(id),
                ..ContainerOptions::default()
            };
            (world.machine().create_container(&options), id)
        };
        let containers: Vec<_> = [r"\one", r"\one", r"\two"].map(container).into();
        let operator = Operator::new();
        let named = |root: &str| format!("{}{root}", volume.device_name());
        for ((container, top), digit) in containers
            .iter()
            .zip([r"\one", r"\one", r"\two"])
            .zip("abc".chars())
        {
            let (number, layers) = (digit as u8, [named(top), named(r"\base")]);
            operator.started_over(&container.1, number, &image(&digit.to_string()), &layers);
        }
        Self {
            volume,
            containers,
            operator,
            _folder: folder,
        }
    }

    /// The GUIDs of some containers, as events show them.
    fn guids(&self, which: &[usize]) -> Vec<String> {
        let guid = |at: &usize| {
            let guid = self.containers[*at].1.to_string();
            guid.trim_matches(['{', '}']).to_lowercase()
        };
        let mut guids: Vec<String> = which.iter().map(guid).collect();
        guids.sort();
        guids
    }

    fn layer(&self, root: &str) -> Option<String> {
        Some(format!("{}{root}", self.volume.device_name()))
    }

    fn open(&self, at: usize, path: &'static str) {
        let app = self.containers[at].0.process("app");
        let read = app.run(move |p| p.read_file(path).map(drop));
        assert_eq!(read, Err(INFECTED));
    }

    fn end(self) {
        for (container, _) in self.containers {
            container.destroy();
        }
    }
}

/// Follows up what was found until so many reports are told: the opener goes on before the thread
/// that answered it has noted what is to be done.
fn reports(world: &World, keeper: &mut RemedyKeeper, count: usize) -> Vec<FoundInLayer> {
    let service = world.service().expect("it runs");
    for _ in 0..600 {
        keeper.check(&service);
        let told = world.events().all().into_iter();
        let told = told.filter_map(|event| match event {
            Event::LayerDetection { found, .. } => Some(found),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        if told.len() >= count {
            return told;
        }
        world.machine().sched().sleep(Duration::from_millis(50));
    }
    panic!("no {count} reports: {:?}", world.events().all());
}

#[test]
fn a_report_names_layer_images_and_containers() {
    everywhere(&options(), |world| {
        let scene = Scene::new(world);
        let mut keeper = RemedyKeeper::new(None, Some(scene.operator.store()));
        scene.open(2, BAD);
        scene.open(0, BAD);
        reports(world, &mut keeper, 1);
        scene.open(1, TOOL);
        let found = reports(world, &mut keeper, 2);
        let [base, top] = found.as_slice() else {
            panic!("two files: {found:?}");
        };
        assert_eq!(base.layer, scene.layer(r"\base"));
        assert_eq!(base.images, ["a", "b", "c"].map(image));
        assert_eq!(base.containers, scene.guids(&[0, 1, 2]));
        assert_eq!(base.file, scene.layer(r"\base\bad.dll"));
        assert_eq!(top.layer, scene.layer(r"\one"));
        assert_eq!(top.images, ["a", "b"].map(image));
        assert_eq!(top.containers, scene.guids(&[0, 1]));
        let host = world.process("host");
        host.set_drive('C', &scene.volume);
        for path in [r"C:\base\bad.dll", r"C:\one\tool.exe"] {
            let there = host.run(move |p| p.open(&OpenOptions::new(path))?.close());
            assert_eq!(there, Ok(()), "{path}");
        }
        scene.end();
    });
}

#[test]
fn what_the_store_does_not_tell_is_absent() {
    everywhere(&options(), |world| {
        let scene = Scene::new(world);
        // The layer's folder is none that the store names: what is left is who opened the file.
        let elsewhere = [r"\Device\Nowhere\base".to_owned()];
        let opener = &scene.containers[0].1;
        let operator = Operator::new();
        operator.started_over(opener, 1, &image("a"), &elsewhere);
        scene.open(0, BAD);
        let mut keeper = RemedyKeeper::new(None, Some(operator.store()));
        reports(world, &mut keeper, 1);
        operator.write(siloscan_service::runtime::LISTING_FILE, "no listing");
        scene.open(0, TOOL);
        let found = reports(world, &mut keeper, 2);
        let [unknown, damaged] = found.as_slice() else {
            panic!("two files: {found:?}");
        };
        assert_eq!((unknown.layer.as_ref(), &unknown.unknown), (None, &None));
        assert_eq!(unknown.images, [image("a")]);
        assert_eq!(unknown.containers, scene.guids(&[0]));
        assert_eq!((damaged.layer.as_ref(), damaged.images.len()), (None, 0));
        assert_eq!(damaged.containers, scene.guids(&[0]));
        let why = damaged.unknown.as_deref().expect("the listing is damaged");
        assert!(why.contains("damaged"), "{why}");
        scene.end();
    });
}
