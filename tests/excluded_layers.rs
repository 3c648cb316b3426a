//! Layers that the service excludes: their files are not scanned for any container, each open so
//! let through is counted, and nothing else is let through: not what is known to be infected, not
//! an open of the host, not what a container wrote, and nothing once list or service is gone.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use filterhost::container::{Container, ContainerOptions};
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_SUCCESS};
use filterhost::user::Process;
use filterhost::volume::{FsKind, Volume, random_guid};
use filterhost::wcifs::Layer;
use siloscan_core::reason::{AllowReason, DenyReason, Event, Failure};
use siloscan_core::wire::{Kind, ScanFlags, WireVerdict};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::exclusions::{Operator, await_list, hits};
use siloscan_worlds::marked::Marked;
use siloscan_worlds::puppet::{Asked, Puppet, excluded_layers, excluded_reply, excluding_reply};
use siloscan_worlds::scene::{INFECTED, layer_with, options};
use siloscan_worlds::world::{World, WorldOptions};
use tempfile::TempDir;

/// Files of the base layer; as the containers see them, and as the host does.
const LIB: &str = r"C:\lib.dll";
const MORE: &str = r"C:\more.dll";
const BAD: &str = r"C:\bad.dll";
/// A file of the layer above.
const TOOL: &str = r"C:\tool.exe";

/// Two images on one base.
struct Scene {
    volume: Arc<Volume>,
    containers: Vec<Container>,
    /// Where the volume reads what nobody has written yet.
    _folder: TempDir,
}

impl Scene {
    /// A base layer and the layers of two images above it, side by side on one volume, and
    /// containers: two of the first image, one of the second.
    fn new(world: &World) -> Self {
        // They were there before the driver: nobody has seen them written.
        let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
        let folder = TempDir::new().expect("a folder of its own");
        let files = [
            ("base/lib.dll", &b"MZ a library"[..]),
            ("base/more.dll", b"MZ more of it"),
            ("base/bad.dll", b"MARKED by a scenario"),
            ("based/other.dll", b"MZ another one"),
            ("one/tool.exe", b"MZ a program"),
            ("two/tool.exe", b"MZ another one"),
        ];
        for (name, bytes) in files {
            let path = folder.path().join(name);
            let parent = path.parent().expect("a folder");
            fs::create_dir_all(parent).expect("a new folder");
            fs::write(path, bytes).expect("a new file");
        }
        volume
            .import_folder(r"\", folder.path())
            .expect("what was just written");
        let below = |root: &str| Layer {
            volume: Arc::clone(&volume),
            root: root.to_owned(),
            registered: false,
            remote: false,
        };
        let container = |image: &str| {
            world.machine().create_container(&ContainerOptions {
                layers: vec![below(image), below(r"\base")],
                container_id: Some(random_guid(world.machine())),
                ..ContainerOptions::default()
            })
        };
        let containers = [r"\one", r"\one", r"\two"].map(container).into();
        let scene = Self {
            volume,
            containers,
            _folder: folder,
        };
        // The driver learns a volume's GUID by its first open.
        let first = read_by(&scene.host(world), r"C:\based\other.dll");
        assert_eq!(first, Ok(()));
        scene
    }

    /// The entry of a folder of the layers' volume.
    fn entry(&self, folder: &str) -> String {
        format!("layer {}{folder}\n", self.volume.device_name())
    }

    /// A process of the host whose drive C is the layers' volume.
    fn host(&self, world: &World) -> Process {
        let host = world.process("host");
        host.set_drive('C', &self.volume);
        host
    }

    fn end(self) {
        for container in self.containers {
            container.destroy();
        }
    }
}

fn read(container: &Container, path: &'static str) -> Result<(), NtStatus> {
    read_by(&container.process("app"), path)
}

fn read_by(process: &Process, path: &'static str) -> Result<(), NtStatus> {
    process.run(move |p| p.read_file(path).map(drop))
}

fn write_by(process: &Process, path: &'static str, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    let written = process.run(move |p| p.write_file(path, &bytes));
    written.expect("writing is allowed");
}

/// The hits of the only exclusion.
fn only_hits(world: &World) -> u64 {
    match hits(world).as_slice() {
        [(_, hits)] => *hits,
        other => panic!("{other:?}"),
    }
}

/// How often the service has said that a file lies in an excluded layer.
fn said(world: &World) -> u64 {
    world.service().map_or(0, |s| s.figures().excluded)
}

fn finding(number: u8) -> WorldOptions {
    WorldOptions {
        engine: Some(Marked::new(number).finding().engine()),
        ..options()
    }
}

#[test]
fn an_excluded_layer_is_scanned_for_no_container_of_no_image() {
    everywhere(&finding(1), |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        let before = world.counts().get(AllowReason::ScannedClean);
        operator.exclude(world, &scene.entry(r"\base"));
        for container in &scene.containers {
            for path in [LIB, MORE, LIB] {
                assert_eq!(read(container, path), Ok(()));
            }
        }
        let counts = world.counts();
        assert_eq!(counts.get(AllowReason::ExcludedLayer), 9);
        assert_eq!(only_hits(world), 9);
        assert_eq!(said(world), 2, "the service is asked once a file");
        assert_eq!(counts.get(AllowReason::ScannedClean), before);
        // The layers above are not excluded, nor is one whose folder's name begins alike.
        assert_eq!(read(&scene.containers[0], TOOL), Ok(()));
        assert_eq!(read(&scene.containers[2], TOOL), Ok(()));
        assert_eq!(world.count(AllowReason::ScannedClean), before + 2);
        operator.exclude(world, &scene.entry(r"\bas"));
        assert_eq!(world.count(AllowReason::ExcludedLayer), 9);
        scene.end();
    });
}

#[test]
fn i5_an_open_of_the_host_does_not_believe_that_a_layer_is_excluded() {
    everywhere(&finding(1), |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        operator.exclude(world, &scene.entry(r"\base"));
        let [first, second, _] = scene.containers.as_slice() else {
            panic!("three containers");
        };
        assert_eq!(read(first, BAD), Ok(()), "nobody knows yet");
        assert_eq!(read(second, BAD), Ok(()), "out of the cache");
        let host = scene.host(world);
        assert_eq!(read_by(&host, r"C:\base\bad.dll"), Err(INFECTED));
        // Now it is known, and I1 comes before every exclusion.
        assert_eq!(read(first, BAD), Err(INFECTED));
        assert_eq!(read(first, LIB), Ok(()));
        assert_eq!(read_by(&host, r"C:\base\lib.dll"), Ok(()));
        assert_eq!(read(second, LIB), Ok(()), "known to be clean");
        let counts = world.counts();
        assert_eq!(counts.get(AllowReason::CachedClean), 1);
        assert_eq!(counts.get(DenyReason::CachedInfected), 1);
        assert_eq!(only_hits(world), 3);
        scene.end();
    });
}

#[test]
fn i1_what_is_known_to_be_infected_stays_denied_in_an_excluded_layer() {
    everywhere(&finding(1), |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        let container = &scene.containers[0];
        assert_eq!(read(container, BAD), Err(INFECTED));
        operator.exclude(world, &scene.entry(r"\base"));
        assert_eq!(read(container, BAD), Err(INFECTED));
        assert_eq!(world.count(DenyReason::CachedInfected), 1);
        // Of older signatures it still is known: only a scan can say otherwise.
        world.use_engine(Marked::new(2).finding().engine());
        assert_eq!(read(container, BAD), Err(INFECTED));
        assert_eq!(world.count(DenyReason::ScannedInfected), 2);
        world.use_engine(Marked::new(3).engine());
        assert_eq!(read(container, BAD), Ok(()));
        let counts = world.counts();
        // As ever, what the cache holds after that scan is what is believed.
        assert_eq!(counts.get(AllowReason::CachedClean), 1, "{counts:?}");
        assert_eq!(only_hits(world), 0);
        scene.end();
    });
}

#[test]
fn i2_a_layers_file_that_is_changed_is_asked_for_again() {
    everywhere(&finding(1), |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        operator.exclude(world, &scene.entry(r"\base"));
        let container = &scene.containers[0];
        let host = scene.host(world);
        assert_eq!(read(container, LIB), Ok(()));
        assert_eq!((only_hits(world), said(world)), (1, 1));
        // Written in place: what was said is gone, and the scan at close tells what it is now.
        write_by(&host, r"C:\base\lib.dll", b"MARKED by a scenario");
        let found = world.counts_once(|counts| counts.get(Event::CloseInfected) >= 1);
        assert!(found.is_some(), "the close is scanned");
        assert_eq!(read(container, LIB), Err(INFECTED));
        // Swapped for another file: a container that comes to it now is asked about that one.
        assert_eq!(read(container, MORE), Ok(()));
        host.run(|p| {
            p.rename_file(r"C:\base\more.dll", r"C:\based\more.dll", false)?;
            p.rename_file(r"C:\one\tool.exe", r"C:\base\more.dll", false)
        })
        .expect("the host may");
        assert_eq!((only_hits(world), said(world)), (2, 2));
        assert_eq!(read(&scene.containers[1], MORE), Ok(()));
        assert_eq!((only_hits(world), said(world)), (3, 3), "another file");
        // A change of its bytes is seen, too, where the scan at close finds nothing.
        write_by(&host, r"C:\base\more.dll", b"MZ a newer one");
        let clean = world.counts_once(|counts| counts.get(Event::VerdictStored) >= 2);
        assert!(clean.is_some(), "the close is scanned");
        assert_eq!(read(&scene.containers[1], MORE), Ok(()));
        assert_eq!(only_hits(world), 3, "known to be clean");
        scene.end();
    });
}

#[test]
fn i2_what_a_container_wrote_over_an_excluded_file_is_scanned() {
    everywhere(&options(), |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        operator.exclude(world, &scene.entry(r"\base"));
        let [first, second, _] = scene.containers.as_slice() else {
            panic!("three containers");
        };
        assert_eq!(read(first, LIB), Ok(()));
        write_by(&first.process("malware"), LIB, &eicar_test_file());
        assert_eq!(read(first, LIB), Err(INFECTED));
        assert_eq!(read(second, LIB), Ok(()));
        assert!(only_hits(world) >= 2);
        scene.end();
    });
}

#[test]
fn what_was_said_of_a_layer_dies_with_its_list_and_with_the_service() {
    let strict = WorldOptions {
        parameters: vec![("OnFailure".to_owned(), 1)],
        ..finding(1)
    };
    everywhere(&strict, |world| {
        let (scene, operator) = (Scene::new(world), Operator::new());
        let container = &scene.containers[0];
        let base = scene.entry(r"\base");
        operator.exclude(world, &base);
        assert_eq!(read(container, BAD), Ok(()));
        assert_eq!(read(container, LIB), Ok(()));
        // Another list with the same layer: asked for anew, and counted on.
        operator.exclude(world, &format!("{base}{}", scene.entry(r"\two")));
        assert_eq!(read(container, LIB), Ok(()));
        assert_eq!(said(world), 3);
        let counted = hits(world);
        let counted: Vec<u64> = counted.iter().map(|(_, hits)| *hits).collect();
        assert_eq!(counted, [3, 0]);
        operator.exclude(world, "");
        assert_eq!(read(container, BAD), Err(INFECTED));
        operator.exclude(world, &base);
        assert_eq!(read(container, MORE), Ok(()));
        assert_eq!(said(world), 4);
        world.stop_service();
        assert_eq!(read(container, MORE), Err(STATUS_ACCESS_DENIED));
        world.start_service(Marked::new(1).engine(), 2);
        assert_eq!(read(container, MORE), Ok(()));
        assert_eq!((said(world), hits(world)), (0, Vec::new()));
        scene.end();
    });
}

/// A service that lists one layer once it has a list to name, and answers every scan with
/// "excluded" and a place.
fn liar(world: &World, list: Arc<AtomicU32>, place: Arc<AtomicU32>) -> Arc<Puppet> {
    let puppet = Puppet::start(world, 2, move |puppet: &Puppet, message| {
        let reply = match &message.asked {
            Asked::Poll(sequence) => excluding_reply(*sequence, list.load(SeqCst)),
            Asked::Nonsense(asked) if asked.get(2) == Some(&(Kind::EXCLUSIONS.0 as u8)) => {
                excluded_layers(list.load(SeqCst), &[[7; 16]])
            }
            Asked::Scan(scan) => {
                puppet.let_go(scan);
                excluded_reply(scan.request, place.load(SeqCst))
            }
            _ => return puppet.behave(message, WireVerdict::CLEAN),
        };
        let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &reply);
    });
    puppet.expect("the driver accepts it")
}

#[test]
fn i7_an_answer_excluded_that_nobody_asked_for_is_no_answer() {
    let alone = WorldOptions {
        engine: None,
        parameters: vec![("OnFailure".to_owned(), 1)],
        ..options()
    };
    /// Places that the service names, each for another file; the list has one layer.
    const PLACES: [u32; 6] = [1, 63, 64, 256, u32::MAX, 0];
    everywhere(&alone, |world| {
        let base = layer_with(world, |p| {
            for number in 0..8 {
                let name = format!(r"C:\{number}.dll");
                p.write_file(&name, b"MZ a library").expect("a new file");
            }
        });
        let container = world.machine().create_container(&ContainerOptions {
            layers: vec![base.clone()],
            container_id: Some(random_guid(world.machine())),
            ..ContainerOptions::default()
        });
        let (list, place) = (Arc::default(), Arc::default());
        let (told, named): (Arc<AtomicU32>, Arc<AtomicU32>) =
            (Arc::clone(&list), Arc::clone(&place));
        let puppet = liar(world, told, named);
        let app = container.process("app");
        let host = world.process("host");
        host.set_drive('C', &base.volume);
        let open = |process: &Process, number: usize| {
            process.run(move |p| p.read_file(&format!(r"C:\{number}.dll")).map(drop))
        };
        let refused = Err(STATUS_ACCESS_DENIED);
        // No layer is excluded.
        assert_eq!(open(&app, 0), refused);
        assert_eq!(open(&host, 0), refused);
        assert!(puppet.scans().iter().all(|scan| scan.list == 0));
        list.store(9, SeqCst);
        assert_eq!(await_list(world), (0, 1));
        for (number, named) in PLACES.into_iter().enumerate() {
            place.store(named, SeqCst);
            let expected = if named == 0 { Ok(()) } else { refused };
            assert_eq!(open(&app, number), expected, "place {named}");
        }
        // A host's open, and a container's of its own bytes, did not ask.
        assert_eq!(open(&host, 5), refused);
        write_by(&app, r"C:\own.dll", b"MZ its own");
        assert_eq!(open(&app, 7), Ok(()));
        assert_eq!(read_by(&app, r"C:\own.dll"), refused);
        for scan in puppet.scans() {
            let layer = scan.flags.has(ScanFlags::LAYER);
            assert!(scan.list == 0 || (layer && scan.list == 9), "{scan:?}");
        }
        puppet.await_counts();
        assert!(puppet.count(Failure::BadReply) >= 9);
        assert_eq!(puppet.count(AllowReason::ExcludedLayer), 2);
        puppet.kill();
        container.destroy();
    });
}
