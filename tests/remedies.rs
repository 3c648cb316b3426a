//! What follows a detection, behind the built driver: a container's own file goes to the
//! quarantine and is gone, a layer's and the host's stay, and what is allowed or only audited is
//! opened again.
#![cfg(unix)]

#[path = "../crates/service/tests/own_worker/mod.rs"]
mod own_worker;
#[path = "../crates/service/tests/unruly/mod.rs"]
mod unruly;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use filterhost::Mode;
use filterhost::container::Container;
use filterhost::fltmgr::port::security;
use filterhost::remote::{Server, ServerOptions};
use filterhost::status::{NtStatus, STATUS_OBJECT_NAME_NOT_FOUND};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use sha2::{Digest as _, Sha256};
use siloscan_quarantine::{Bounds, Quarantine};
use siloscan_service::events::Event;
use siloscan_service::platform::{BridgePlatform, ConnectError};
use siloscan_service::policy::Action;
use siloscan_service::remedy::RemedyKeeper;
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;
use siloscan_worlds::everywhere::once;
use siloscan_worlds::scene::{INFECTED, containers, layer_with, options};
use siloscan_worlds::world::{Events, SERVICE_SID, World, WorldOptions};

const ENTRY: &str = "this_program_is_its_own_worker";
const DROPPED: &str = r"C:\dropped.exe";
/// A file of the layer that the engine finds, and one that it does not.
const BAD: &str = r"C:\app\bad.dll";
const GOOD: &str = r"C:\app\good.dll";
/// What the engine finds begins with `!`.
const VIRUS: &[u8] = b"! a virus";

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

/// The service as threads of this process beside the machine, and the thread that follows
/// detections up.
struct Beside {
    service: Arc<Service<BridgePlatform>>,
    events: Events,
    thread: JoinHandle<Result<(), ConnectError>>,
    keeper: JoinHandle<()>,
    /// The keeper may work.
    at_work: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    server: Server,
}

impl Beside {
    fn start(world: &World, folder: &Path, settings: Settings) -> Self {
        let path = folder.join("port");
        let user_sid = Some(security::sid(5, &SERVICE_SID));
        let options = ServerOptions {
            path: path.clone(),
            user_sid,
        };
        let server = Server::start(world.machine(), options).expect("the bridge listens");
        let events = Events::default();
        let platform = BridgePlatform::new(&path);
        let workers = unruly::start(ENTRY, 2);
        let service = Service::new(platform, settings, workers, Box::new(events.clone()));
        let service = service.expect("the settings are within their bounds");
        let own = Arc::clone(&service);
        let thread = thread::spawn(move || own.run());
        let quarantine = Quarantine::keep(&folder.join("quarantine"), Bounds::default());
        let mut keeper = RemedyKeeper::new(Some(quarantine.expect("a folder of ours")), None);
        let (at_work, over) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let (works, ends, own) = (
            Arc::clone(&at_work),
            Arc::<AtomicBool>::clone(&over),
            Arc::clone(&service),
        );
        let keeper = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                if works.load(Ordering::SeqCst) {
                    keeper.check(&own);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let beside = Self {
            service,
            events,
            thread,
            keeper,
            at_work,
            over,
            server,
        };
        beside.wait(world, "the first poll", || {
            beside.service.driver_epoch().is_some()
        });
        beside
    }

    fn wait(&self, world: &World, what: &str, ready: impl Fn() -> bool) {
        for _ in 0..6_000 {
            if ready() {
                return;
            }
            world.machine().sched().sleep(Duration::from_millis(10));
        }
        panic!("{what} does not come: {:?}", self.told());
    }

    fn told(&self) -> Vec<Event> {
        self.events.all()
    }

    /// Waits until as many events are as `which` says they should be.
    fn wait_for(&self, world: &World, what: &str, count: usize, which: fn(&Event) -> bool) {
        self.wait(world, what, || {
            self.told().iter().filter(|event| which(event)).count() >= count
        });
    }

    /// Waits until the driver knows the policy of now: it begins an epoch.
    fn wait_for_epoch(&self, world: &World, before: Option<u64>) {
        self.wait(world, "a new epoch", || {
            self.service.driver_epoch() > before
        });
    }

    fn finish(self, world: &World) {
        self.service.stop();
        self.wait(world, "the end", || self.thread.is_finished());
        self.thread.join().expect("no panic").expect("it connected");
        self.over.store(true, Ordering::SeqCst);
        self.keeper.join().expect("no panic");
        self.server.stop();
    }
}

fn moving() -> Settings {
    Settings {
        threads: 2,
        quarantine: true,
        tell_layers: true,
        ..Settings::default()
    }
}

fn host() -> WorldOptions {
    let mut options = options();
    options.engine = None;
    options
}

/// Plays with one container, freely: only the free scheduler can wait for another process.
fn scenario(
    settings: Settings,
    play: impl Fn(&World, &Beside, &Container, &Path) + Send + Sync + 'static,
) {
    let run = move |world: &World| {
        let folder = tempfile::tempdir().expect("a folder");
        let layer = layer_with(world, |p| {
            p.create_directory(r"C:\app").expect("a new directory");
            p.write_file(BAD, VIRUS).expect("a new file");
            p.write_file(GOOD, b"MZ").expect("a new file");
        });
        let beside = Beside::start(world, folder.path(), settings.clone());
        let containers = containers(world, &layer, 1, EcpVariant::default());
        play(
            world,
            &beside,
            &containers[0],
            &folder.path().join("quarantine"),
        );
        containers[0].destroy();
        beside.finish(world);
    };
    if let Err(report) = once(Mode::Free, &host(), Arc::new(run)) {
        panic!("{report}");
    }
}

fn write(process: &Process, path: &'static str, bytes: &'static [u8]) {
    let written = process.run(move |p| p.write_file(path, bytes));
    written.expect("writing is allowed");
}

fn read(process: &Process, path: &'static str) -> Result<Vec<u8>, NtStatus> {
    process.run(move |p| p.read_file(path))
}

fn is_there(process: &Process, path: &'static str) -> Result<(), NtStatus> {
    process.run(move |p| p.open(&OpenOptions::new(path))?.close())
}

fn quarantined(event: &Event) -> bool {
    matches!(event, Event::Quarantined { .. })
}

fn not_quarantined(event: &Event) -> bool {
    matches!(event, Event::NotQuarantined { .. })
}

/// The contents of the quarantine's items.
fn contents(folder: &Path) -> Vec<Vec<u8>> {
    let quarantine = Quarantine::open(folder).expect("it is there");
    let items = quarantine.list().expect("it can be read");
    let out = tempfile::tempdir().expect("a folder");
    let restore = |item: &siloscan_quarantine::Listed| {
        let to = out.path().join(item.id.to_string());
        quarantine.restore(item.id, &to).expect("it is whole");
        fs::read(to).expect("it is there")
    };
    items.iter().map(restore).collect()
}

#[test]
fn what_a_container_wrote_is_denied_then_gone_and_in_the_quarantine() {
    scenario(moving(), |world, beside, container, folder| {
        let app = container.process("app");
        write(&app, DROPPED, VIRUS);
        assert_eq!(read(&app, DROPPED), Err(INFECTED));
        beside.wait_for(world, "the move", 1, quarantined);
        assert_eq!(is_there(&app, DROPPED), Err(STATUS_OBJECT_NAME_NOT_FOUND));
        assert_eq!(contents(folder), [VIRUS]);
        let quarantine = Quarantine::open(folder).expect("it is there");
        let items = quarantine.list().expect("it can be read");
        let known = items[0].metadata.as_ref().expect("whole");
        assert_eq!(known.origin.rule, "Bang");
        assert!(known.origin.container.is_some() && known.origin.file_id.is_some());
        let path = known.origin.path.as_deref().expect("a name");
        assert!(path.ends_with(r"\dropped.exe"), "{path}");

        // A package file that it infected: its own copy goes, the layer's is seen again.
        write(&app, GOOD, b"! infected");
        assert_eq!(read(&app, GOOD), Err(INFECTED));
        beside.wait_for(world, "the move", 2, quarantined);
        assert_eq!(contents(folder).len(), 2);
        assert_eq!(beside.service.figures().quarantined, 2);
        assert_eq!(beside.service.figures().not_quarantined, 0);
    });
}

#[test]
fn a_file_of_the_host_and_one_of_a_layer_are_never_touched() {
    scenario(moving(), |world, beside, container, folder| {
        let user = world.process("user");
        write(&user, DROPPED, VIRUS);
        assert_eq!(read(&user, DROPPED), Err(INFECTED));
        let app = container.process("app");
        assert_eq!(read(&app, BAD), Err(INFECTED));
        assert_eq!(read(&app, BAD), Err(INFECTED));
        let in_layer = |event: &Event| matches!(event, Event::LayerDetection { .. });
        beside.wait_for(world, "the report", 1, in_layer);
        // Whatever would be done is done before what comes after it.
        write(&app, DROPPED, b"! another");
        assert_eq!(read(&app, DROPPED), Err(INFECTED));
        beside.wait_for(world, "the move", 1, quarantined);
        assert_eq!(contents(folder), [b"! another"]);
        assert_eq!(is_there(&user, DROPPED), Ok(()));
        assert_eq!(is_there(&app, BAD), Ok(()));
        let told = beside.told();
        let reports: Vec<_> = told.iter().filter(|event| in_layer(event)).collect();
        let [Event::LayerDetection { found, scan, .. }] = reports.as_slice() else {
            panic!("one report: {reports:?}");
        };
        assert_eq!(
            found.containers,
            [scan.container.clone().expect("a container")]
        );
        assert_eq!((found.layer.as_ref(), found.images.len()), (None, 0));
    });
}

#[test]
fn a_file_that_changed_is_gone_or_in_use_is_left_and_nothing_is_lost() {
    scenario(moving(), |world, beside, container, folder| {
        let app = container.process("app");
        beside.at_work.store(false, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        let files = [
            r"C:\changed.exe",
            r"C:\gone.exe",
            r"C:\longer.exe",
            r"C:\used.exe",
        ];
        let writers: Vec<_> = files
            .into_iter()
            .map(|path| {
                app.run(move |p| {
                    let options = OpenOptions::new(path).write().delete().create();
                    let file = p.open(&options).expect("a new file");
                    file.write_at(0, VIRUS).expect("written");
                    file
                })
            })
            .collect();
        for path in files {
            assert_eq!(read(&app, path), Err(INFECTED), "{path}");
        }
        let used = app.run(move |_| {
            let [changed, gone, longer, used] = writers.try_into().expect("four");
            changed.write_at(0, b"-").expect("written");
            gone.delete().expect("deleted");
            longer.append(b" and more").expect("written");
            for file in [changed, gone, longer] {
                file.close().expect("an open handle");
            }
            used
        });
        beside.at_work.store(true, Ordering::SeqCst);
        beside.wait_for(world, "the answers", 4, not_quarantined);
        assert_eq!(beside.service.figures().quarantined, 0);
        let told = beside.told();
        // In whatever order: the service's threads hand them over after their answers.
        for (path, word) in files
            .into_iter()
            .zip(["changed", "not there", "changed", "in use"])
        {
            let name = path.trim_start_matches("C:");
            let cause = told.iter().find_map(|event| match event {
                Event::NotQuarantined {
                    cause, item, scan, ..
                } if scan.path.ends_with(name) => {
                    assert!(item.is_some(), "the item comes first: {cause}");
                    Some(cause)
                }
                _ => None,
            });
            assert!(
                cause.is_some_and(|cause| cause.contains(word)),
                "{path}: {cause:?}"
            );
        }
        assert_eq!(read(&app, files[0]), Ok(b"- a virus".to_vec()));
        assert_eq!(is_there(&app, files[2]), Ok(()));
        app.run(move |_| used.close()).expect("an open handle");
        assert_eq!(is_there(&app, files[3]), Ok(()));
        assert_eq!(contents(folder).len(), 4);
    });
}

#[test]
fn what_is_allowed_is_opened_until_it_is_not_allowed_any_more() {
    scenario(moving(), |world, beside, container, folder| {
        let app = container.process("app");
        let digest: [u8; 32] = Sha256::digest(VIRUS).into();
        beside.at_work.store(false, Ordering::SeqCst);
        write(&app, DROPPED, VIRUS);
        assert_eq!(read(&app, DROPPED), Err(INFECTED));
        for round in 1..=2 {
            let before = beside.service.driver_epoch();
            beside.service.allow(BTreeSet::from([digest]));
            beside.wait_for_epoch(world, before);
            assert_eq!(read(&app, DROPPED), Ok(VIRUS.to_vec()), "allowed");
            assert_eq!(read(&app, DROPPED), Ok(VIRUS.to_vec()), "from the cache");
            // What was to be moved is not any more.
            beside.at_work.store(true, Ordering::SeqCst);
            beside.wait_for(world, "the keeper", round, not_quarantined);
            beside.at_work.store(false, Ordering::SeqCst);
            let before = beside.service.driver_epoch();
            beside.service.allow(BTreeSet::new());
            beside.wait_for_epoch(world, before);
            assert_eq!(read(&app, DROPPED), Err(INFECTED), "allowed no more");
        }
        assert_eq!(beside.service.figures().allowed, 2);
        let allowed = |event: &&Event| matches!(event, Event::Allowed { .. });
        assert_eq!(beside.told().iter().filter(allowed).count(), 2);
        assert!(contents(folder).is_empty());
    });
}

#[test]
fn an_audit_denies_and_moves_nothing() {
    let settings = Settings {
        audit: true,
        ..moving()
    };
    scenario(settings, |world, beside, container, folder| {
        let app = container.process("app");
        write(&app, DROPPED, VIRUS);
        assert_eq!(read(&app, DROPPED), Ok(VIRUS.to_vec()));
        assert_eq!(read(&app, BAD), Ok(VIRUS.to_vec()));
        // The file is looked at when it is closed, too. The driver has its answer before that is
        // counted and told.
        let detected = |event: &Event| matches!(event, Event::Detection { .. });
        beside.wait_for(world, "the detections", 3, detected);
        let figures = beside.service.figures();
        assert_eq!((figures.infected, figures.audited), (3, 3), "{figures:?}");
        let audited = |event: &Event| match event {
            Event::Detection { action, .. } => Some(*action),
            _ => None,
        };
        let actions: Vec<Action> = beside.told().iter().filter_map(audited).collect();
        assert_eq!(actions, [Action::Audit; 3]);

        // One after the other is moved, so whatever came before this one was not.
        let before = beside.service.driver_epoch();
        beside.service.audit(false);
        beside.wait_for_epoch(world, before);
        write(&app, GOOD, b"! infected");
        assert_eq!(read(&app, GOOD), Err(INFECTED));
        beside.wait_for(world, "the move", 1, quarantined);
        assert_eq!(contents(folder), [b"! infected"]);
    });
}
