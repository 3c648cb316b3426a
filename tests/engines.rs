//! The service's worker processes behind the built driver: a file is held for no engine, also where
//! one hangs, and the connection lives on.
#![cfg(unix)]

#[path = "../crates/service/tests/own_worker/mod.rs"]
mod own_worker;
#[path = "../crates/service/tests/unruly/mod.rs"]
mod unruly;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use filterhost::Mode;
use filterhost::fltmgr::port::security;
use filterhost::remote::{Server, ServerOptions};
use filterhost::status::NtStatus;
use filterhost::user::{FileHandle, OpenOptions};
use siloscan_core::reason::{Counted, Event};
use siloscan_service::platform::{BridgePlatform, ConnectError};
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;
use siloscan_service::stats::Figures;
use siloscan_worlds::everywhere::once;
use siloscan_worlds::scene::options;
use siloscan_worlds::world::{Counts, Events, SERVICE_SID, World, WorldOptions};

const ENTRY: &str = "this_program_is_its_own_worker";
const FILE: &str = r"C:\notes.txt";
/// How long an opener waits where every scan hangs, in milliseconds.
const SHORT_MS: u32 = 1_000;
/// How long where others are to be scanned meanwhile: workers are started all the time.
const LONG_MS: u32 = 10_000;

#[test]
fn this_program_is_its_own_worker() {
    own_worker::be_a_worker(&unruly::Unruly);
}

/// The service as threads of this process, beside the machine: its port lies behind the bridge,
/// its sections are descriptors, its workers are processes.
struct Beside {
    service: Arc<Service<BridgePlatform>>,
    events: Events,
    thread: JoinHandle<Result<(), ConnectError>>,
    server: Server,
}

impl Beside {
    fn start(world: &World, folder: &Path) -> Self {
        let path = folder.join("port");
        let user_sid = Some(security::sid(5, &SERVICE_SID));
        let options = ServerOptions {
            path: path.clone(),
            user_sid,
        };
        let server = Server::start(world.machine(), options).expect("the bridge listens");
        let settings = Settings {
            threads: 2,
            ..Settings::default()
        };
        let events = Events::default();
        let service = Service::new(
            BridgePlatform::new(&path),
            settings,
            unruly::start(ENTRY, 2),
            Box::new(events.clone()),
        );
        let service = service.expect("the settings are within their bounds");
        let own = Arc::clone(&service);
        let thread = thread::spawn(move || own.run());
        let beside = Self {
            service,
            events,
            thread,
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
        panic!("{what} does not come: {:?}", self.events.all());
    }

    /// The driver's counters, after it has told them anew.
    fn count(&self, world: &World, reason: impl Counted) -> u64 {
        // It tells them after a poll in which any moved.
        world.machine().sched().sleep(Duration::from_millis(1_200));
        Counts::from_values(self.service.driver_counts()).get(reason)
    }

    fn finish(self, world: &World) -> Figures {
        let kept = self.count(world, Event::SectionKept);
        assert_eq!(kept, 0, "no section is kept beyond its scan");
        let figures = self.service.figures();
        assert_eq!(figures.connections, 1, "the driver never hung up");
        self.service.stop();
        self.wait(world, "the end", || self.thread.is_finished());
        self.thread.join().expect("no panic").expect("it connected");
        self.server.stop();
        figures
    }
}

fn host(deadline_ms: u32) -> WorldOptions {
    let mut options = options();
    options.engine = None;
    let deadline = ("OpenDeadlineMs".to_owned(), deadline_ms);
    options.parameters.push(deadline);
    options
}

/// What somebody does to a file whose scan hangs.
type Conflict = fn(&FileHandle) -> Result<(), NtStatus>;

const CONFLICTS: [(&str, Conflict); 5] = [
    ("truncated", |file| file.set_end_of_file(0)),
    ("allocation", |file| file.set_allocation(0)),
    ("renamed", |file| file.rename("renamed.txt", true)),
    ("deleted", FileHandle::delete),
    ("deleted at once", FileHandle::delete_posix),
];

/// Runs freely: only the free scheduler can wait for another process.
fn scenario(deadline_ms: u32, play: impl Fn(&World, &Beside) + Send + Sync + 'static) {
    let run = move |world: &World| {
        let folder = tempfile::tempdir().expect("a folder");
        let beside = Beside::start(world, folder.path());
        play(world, &beside);
        beside.finish(world);
    };
    if let Err(report) = once(Mode::Free, &host(deadline_ms), Arc::new(run)) {
        panic!("{report}");
    }
}

fn clean_up(world: &World) {
    world.process("setup").run(|p| {
        for name in [FILE, r"C:\renamed.txt"] {
            let _gone = p.delete_file(name);
        }
    });
}

/// What the worker processes have mapped, one text each.
fn maps_of_workers() -> Vec<String> {
    let own = format!("PPid:\t{}\n", std::process::id());
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    processes
        .map(|process| process.path())
        .filter(|process| read(process.join("status")).contains(&own))
        .map(|process| read(process.join("maps")))
        .collect()
}

#[test]
fn a_file_whose_scan_hangs_gives_way_at_once_before_and_after_its_deadline() {
    scenario(SHORT_MS, |world, beside| {
        let user = world.process("user");
        let mut copies = 0;
        for after_the_deadline in [false, true] {
            for (number, (what, conflict)) in CONFLICTS.into_iter().enumerate() {
                // Each content is another one, so that none is known to hang.
                let text = format!("HANG {number} {after_the_deadline}");
                let file = user.run(|p| {
                    let options = OpenOptions::new(FILE).write().delete().create();
                    p.open(&options).expect("a new file")
                });
                let file = user.run(move |_| {
                    file.write_at(0, text.as_bytes()).expect("written");
                    file
                });
                let before = beside.service.figures().workers_hung;
                let scans = beside.service.figures().scan_requests;
                let opener = user.spawn("opener", |p| {
                    p.open(&OpenOptions::new(FILE).read())?.close()
                });
                beside.wait(world, "the scan", || {
                    beside.service.figures().scan_requests > scans
                });
                for maps in maps_of_workers() {
                    // The filter host's sections are memfds of this name.
                    assert!(!maps.contains("memfd:stream"), "{maps}");
                    copies += usize::from(maps.contains("memfd:siloscan-kept"));
                }
                if after_the_deadline {
                    let _as_the_policy_says = opener.join();
                    beside.wait(world, "the worker's end", || {
                        beside.service.figures().workers_hung > before
                    });
                    let done = user.run(move |_| {
                        let done = conflict(&file);
                        file.close().expect("an open handle");
                        done
                    });
                    assert_eq!(done, Ok(()), "{what} after the deadline");
                } else {
                    let done = user.run(move |_| {
                        let done = conflict(&file);
                        file.close().expect("an open handle");
                        done
                    });
                    assert_eq!(done, Ok(()), "{what} while the engine hangs");
                    let _either = opener.join();
                }
                clean_up(world);
            }
        }
        assert!(copies > 0, "workers have copies, and nothing else");
    });
}

#[test]
fn other_files_are_scanned_while_one_hangs_and_after_a_crash() {
    scenario(LONG_MS, |world, beside| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(r"C:\hangs.txt", b"HANG").expect("a new file");
            p.write_file(r"C:\crashes.txt", b"CRASH")
                .expect("a new file");
        });
        for number in 0..20 {
            let hangs = user.spawn("hangs", |p| p.read_file(r"C:\hangs.txt"));
            let crashes = user.spawn("crashes", |p| p.read_file(r"C:\crashes.txt"));
            let path = format!(r"C:\{number}.txt");
            let read = user.run(move |p| {
                p.write_file(&path, b"good").expect("a new file");
                p.read_file(&path)
            });
            assert_eq!(read.expect("clean"), b"good");
            let _as_the_policy_says = (hangs.join(), crashes.join());
        }
        let figures = beside.service.figures();
        assert_eq!(figures.workers_crashed, 2, "then it is known: {figures:?}");
        assert!(figures.killers_refused > 0, "{figures:?}");
        assert!(figures.clean >= 20, "{figures:?}");
    });
}
