//! Nothing that is not ours is changed or held (I8): no handle, share mode, oplock or reference
//! outlives a scan, sections give way, writers and volumes never wait for an engine.

use std::sync::Arc;
use std::time::Duration;

use filterhost::sched::Time;
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED};
use filterhost::user::{FileHandle, OpenOptions, Process, cache};
use filterhost::volume::share::DELETE;
use filterhost::volume::{FsKind, Volume};
use filterhost::wcifs::{EcpVariant, Layer};
use filterhost::{Machine, Mode};
use siloscan_core::reason::{AllowReason, Event, Failure};
use siloscan_worlds::everywhere::{SEEDS, everywhere, in_every_order, once};
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::scene::{TOOL, containers, layer, layer_with, options};
use siloscan_worlds::world::{World, WorldOptions};

const FILE: &str = r"C:\notes.txt";

/// A host whose service is started by the scenario.
fn without_service() -> WorldOptions {
    WorldOptions {
        engine: None,
        ..options()
    }
}

/// Starts the service behind a gate.
fn gated(world: &World) -> Arc<Gate> {
    let gate = Gate::choosing();
    world.start_service(gate.clone(), 2);
    gate
}

/// Clean bytes whose scan a gate holds.
fn held_bytes() -> Vec<u8> {
    let mut bytes = HOLD.to_vec();
    bytes.resize(200, b'x');
    bytes
}

/// What somebody does to a file whose scan is held, through a handle that could not wait for it.
type Conflict = fn(&FileHandle) -> Result<(), NtStatus>;

const CONFLICTS: [Conflict; 5] = [
    |file| file.set_end_of_file(0),
    |file| file.set_allocation(0),
    |file| file.rename("renamed.txt", true),
    FileHandle::delete,
    FileHandle::delete_posix,
];

/// A file with held bytes, open for whoever is to conflict with its scan. It is known to nobody,
/// whatever the close of its first writer led to: who comes next has it scanned.
fn unknown(process: &Process, path: &'static str) -> FileHandle {
    process.run(move |p| p.write_file(path, &held_bytes()).expect("new bytes"));
    process.run(move |p| {
        let options = OpenOptions::new(path).write().delete();
        let file = p.open(&options).expect("clean");
        file.write_at(0, &held_bytes()).expect("written");
        file
    })
}

/// Takes away what a conflict left.
fn tidy(process: &Process) {
    process.run(|p| {
        for name in [FILE, r"C:\renamed.txt"] {
            let _gone = p.delete_file(name);
        }
    });
}

#[test]
fn w11_w14_conflicts_get_their_way_during_a_scan_at_open() {
    everywhere(&without_service(), |world| {
        let user = world.process("user");
        let gate = gated(world);
        for conflict in CONFLICTS {
            let file = unknown(&user, FILE);
            gate.close();
            let opener = user.spawn("opener", |p| p.read_file(FILE));
            gate.await_held(1);
            let done = user.run(move |_| {
                let done = conflict(&file);
                file.close().expect("an open handle");
                done
            });
            assert_eq!(done, Ok(()), "while the engine stands still");
            gate.empty();
            // It read the old bytes, or found them gone.
            let _either = opener.join();
            tidy(&user);
        }
    });
}

#[test]
fn i8_a_file_whose_scan_was_too_slow_is_free_though_the_engine_still_hangs() {
    let mut options = without_service();
    // In a free run the clean opens have to make the deadline, too.
    options.parameters = vec![
        ("OpenDeadlineMs".into(), 2_000),
        ("OnEvasion".into(), 2),
        ("SectionGraceMs".into(), 10_000),
    ];
    everywhere(&options, |world| {
        let user = world.process("user");
        let gate = gated(world);
        for conflict in CONFLICTS {
            let file = unknown(&user, FILE);
            gate.close();
            let read = user.run(|p| p.read_file(FILE));
            assert_eq!(read, Err(STATUS_ACCESS_DENIED), "too slow");
            gate.await_held(1);
            let since = world.machine().sched().now();
            let done = user.run(move |_| {
                let done = conflict(&file);
                file.close().expect("an open handle");
                done
            });
            assert_eq!(done, Ok(()), "while the engine stands still");
            soon(world, since);
            gate.empty();
            tidy(&user);
        }
        assert_eq!(world.count(Failure::TooSlow), CONFLICTS.len() as u64);
        assert_eq!(world.count(Event::SectionKept), 0, "the service is kept");
    });
}

#[test]
fn w14_conflicts_get_their_way_during_a_scan_at_close() {
    everywhere(&without_service(), |world| {
        let user = world.process("user");
        let gate = gated(world);
        for (at, conflict) in CONFLICTS.into_iter().enumerate() {
            let file = user.run(|p| {
                let options = OpenOptions::new(FILE).write().delete().create();
                p.open(&options).expect("a new file")
            });
            gate.close();
            // Another handle closes after a change: the engine hangs in its scan.
            user.run(|p| {
                p.write_file(FILE, &held_bytes())
                    .expect("closing does not wait")
            });
            let held = gate.holds(1);
            assert!(held, "conflict {at}: {:?}", world.counts().named());
            let done = user.run(move |_| {
                let done = conflict(&file);
                file.close().expect("closing does not wait");
                done
            });
            assert_eq!(done, Ok(()), "while the engine stands still");
            gate.empty();
            tidy(&user);
        }
    });
}

#[test]
fn w14_a_layer_tree_is_renamed_and_deleted_while_it_is_scanned() {
    everywhere(&without_service(), |world| {
        let layer = layer(world);
        let host = world.process("host");
        host.set_drive('C', &layer.volume);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let gate = gated(world);
        gate.close();
        host.run(|p| {
            for name in [r"C:\app\one.dll", r"C:\app\two.dll", r"C:\app\three.dll"] {
                p.write_file(name, &held_bytes()).expect("a new file");
            }
        });
        gate.await_held(2);
        host.run(|p| {
            p.rename_file(r"C:\app", r"C:\gone", false)
                .expect("the whole tree");
            for name in ["one.dll", "two.dll", "three.dll", "tool.exe", "other.dll"] {
                p.delete_file(&format!(r"C:\gone\{name}"))
                    .expect("a file of it");
            }
            let tree = p.open(&OpenOptions::new(r"C:\gone").delete().directory());
            let tree = tree.expect("the empty directory");
            tree.delete().expect("nothing is left in it");
            tree.close().expect("an open handle");
            assert_eq!(p.list_directory(r"C:\").expect("the root").len(), 0);
        });
        gate.empty();
        containers[0].destroy();
    });
}

/// Where a section over a container's placeholder counts; no page says it.
const COUNTED_ON: [EcpVariant; 2] = [EcpVariant::empty(), EcpVariant::SECTIONS_OF_LAYER];

/// A layer with three files in `app` whose scans a gate holds.
fn held_layer(world: &World) -> Layer {
    layer_with(world, |p| {
        p.create_directory(r"C:\app").expect("a new directory");
        for name in PACKAGE {
            p.write_file(name, &held_bytes()).expect("a new file");
        }
    })
}

const PACKAGE: [&str; 3] = [r"C:\app\one.dll", r"C:\app\two.dll", r"C:\app\three.dll"];

#[test]
fn w14_a_layer_tree_goes_while_a_containers_opens_of_it_are_scanned() {
    for variant in COUNTED_ON {
        everywhere(&without_service(), move |world| {
            let layer = held_layer(world);
            let host = world.process("host");
            host.set_drive('C', &layer.volume);
            let containers = containers(world, &layer, 1, variant);
            let gate = gated(world);
            gate.close();
            let app = containers[0].process("app");
            let opens = PACKAGE.map(|name| app.spawn("opener", move |p| p.read_file(name)));
            gate.await_held(2);
            assert_eq!(world.count(Event::CloseScan), 0, "both for the opens");
            let since = world.machine().sched().now();
            host.run(move |p| {
                p.rename_file(r"C:\app", r"C:\gone", false)
                    .expect("the whole tree");
                for name in ["one.dll", "two.dll", "three.dll"] {
                    p.delete_file(&format!(r"C:\gone\{name}"))
                        .unwrap_or_else(|status| panic!("{variant:?}: {name}: {status}"));
                }
                p.delete_file(r"C:\gone").expect("nothing is left in it");
                assert_eq!(p.list_directory(r"C:\").expect("the root").len(), 0);
            });
            soon(world, since);
            gate.empty();
            for open in opens {
                // It read the bytes, or found that they went.
                let _either = open.join();
            }
            containers[0].destroy();
        });
    }
}

/// Of a seeded machine, whose clock stands still while nobody waits.
fn soon(world: &World, since: Time) {
    let sched = world.machine().sched();
    let took = sched.now().since(since);
    if sched.is_seeded() {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn w14_conflicts_with_a_containers_scan_of_a_package_file_get_their_way() {
    for variant in COUNTED_ON {
        everywhere(&without_service(), move |world| {
            let gate = gated(world);
            for (at, conflict) in CONFLICTS.into_iter().enumerate() {
                // A file that is deleted keeps its name until the last reference to it goes.
                let layer = held_layer(world);
                let host = world.process("host");
                host.set_drive('C', &layer.volume);
                let file = unknown(&host, PACKAGE[0]);
                let containers = containers(world, &layer, 1, variant);
                let app = containers[0].process("app");
                gate.close();
                let opener = app.spawn("opener", |p| p.read_file(PACKAGE[0]));
                gate.await_held(1);
                let since = world.machine().sched().now();
                let done = host.run(move |_| {
                    let done = conflict(&file);
                    file.close().expect("closing does not wait");
                    done
                });
                assert_eq!(done, Ok(()), "conflict {at}, {variant:?}");
                soon(world, since);
                gate.empty();
                let _either = opener.join();
                containers[0].destroy();
            }
        });
    }
}

#[test]
fn w10_a_scratch_volume_goes_away_with_scans_in_flight() {
    everywhere(&without_service(), |world| {
        let layer = held_layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        let gate = gated(world);
        gate.close();
        let app = containers[0].process("app");
        app.run(|p| {
            p.write_file(FILE, &held_bytes())
                .expect("closing does not wait")
        });
        gate.await_held(1);
        let opener = app.spawn("opener", |p| p.read_file(FILE));
        let package = app.spawn("opener", |p| p.read_file(PACKAGE[0]));
        gate.await_held(2);
        let since = world.machine().sched().now();
        containers[0].destroy();
        // Whatever they got: they do not hang.
        let _either = (opener.join(), package.join());
        soon(world, since);
        gate.empty();
        let other = containers[1].process("app");
        let read = other.run(|p| p.read_file(PACKAGE[0]));
        assert_eq!(read, Ok(held_bytes()), "the others go on");
        containers[1].destroy();
    });
}

#[test]
fn paging_writes_and_closing_writers_never_wait_for_an_engine() {
    everywhere(&without_service(), |world| {
        let user = world.process("user");
        let gate = gated(world);
        gate.close();
        for name in [r"C:\one.txt", r"C:\two.txt", r"C:\three.txt"] {
            user.run(move |p| p.write_file(name, &held_bytes()).expect("at once"));
        }
        gate.await_held(2);
        let m = Arc::clone(world.machine());
        user.run(move |_| cache::settle(&m));
        user.run(|p| {
            let file = p.open(&OpenOptions::new(r"C:\one.txt").exact_access(DELETE));
            file.expect("nothing is shared against it")
                .close()
                .expect("an open handle");
        });
        gate.empty();
    });
}

#[test]
fn w15_a_hit_asks_no_name_and_opens_nothing() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            assert!(p.read_file(FILE).is_ok());
        });
        // Held, so that the stream keeps its context.
        let held = user.run(|p| p.open(&OpenOptions::new(FILE).read()).expect("clean"));
        let started = world.count(Event::FlightStarted);
        let before = asked(world);
        user.run(|p| {
            for _ in 0..10 {
                p.open(&OpenOptions::new(FILE).read())
                    .expect("clean")
                    .close()
                    .expect("an open handle");
            }
        });
        let after = asked(world);
        assert_eq!(before, after);
        assert_eq!(world.count(Event::FlightStarted), started);
        user.run(move |_| held.close().expect("an open handle"));
    });
}

#[test]
fn w12_pool_and_contexts_are_nonpaged() {
    everywhere(&without_service(), |world| {
        let gate = gated(world);
        let user = world.process("user");
        gate.close();
        user.run(|p| p.write_file(FILE, &held_bytes()).expect("a new file"));
        let reader = user.spawn("reader", |p| p.read_file(FILE));
        // Threads, flights, contexts and a section are there now.
        gate.await_held(1);
        let blocks = world.machine().pool().in_use();
        let ours = |tag: u32| tag.to_le_bytes().starts_with(b"Ss");
        let ours: Vec<_> = blocks.iter().filter(|it| ours(it.request.tag)).collect();
        assert!(ours.len() > 10, "{} blocks of the driver", ours.len());
        let paged = ours.iter().find(|it| it.request.paged);
        assert!(paged.is_none(), "{paged:?}");
        gate.empty();
        assert!(reader.join().is_ok());
    });
}

/// How often the driver has asked for a name, or opened or read anything.
fn asked(world: &World) -> [(&'static str, u64); 5] {
    let calls = world.machine().faults().calls();
    let names = [
        "FltGetFileNameInformation",
        "FltQueryInformationFile",
        "FltCreateSectionForDataScan",
        "FltReadFile",
        "ZwCreateFile",
    ];
    names.map(|name| (name, calls.get(name).copied().unwrap_or(0)))
}

/// What an open of `path` asks for, and whether it was a hit.
fn asks(world: &World, of: &Process, path: &'static str) -> (Vec<(&'static str, u64)>, u64) {
    let (before, hits) = (asked(world), world.count(AllowReason::CachedClean));
    of.run(move |p| {
        let file = p.open(&OpenOptions::new(path).execute()).expect("clean");
        file.close().expect("an open handle");
    });
    let (after, hits) = (asked(world), world.count(AllowReason::CachedClean) - hits);
    let more = after
        .iter()
        .zip(before)
        .map(|(now, old)| (now.0, now.1 - old.1));
    (more.filter(|(_, more)| *more > 0).collect(), hits)
}

#[test]
fn w15_the_first_open_in_another_container_asks_no_name() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        let first = containers[0].process("app");
        first.run(|p| {
            p.read_file(TOOL).expect("clean");
        });
        // Never opened here: its stream has no context, and its verdict was earned elsewhere. The
        // one question is for the id of the opened file, without which its changes are not seen.
        let id = ("FltQueryInformationFile", 1);
        // The files that were just made are scanned as they are closed, which asks, too.
        world.machine().sched().sleep(Duration::from_millis(200));
        let second = containers[1].process("app");
        assert_eq!(asks(world, &second, TOOL), (vec![id], 1), "layer");
        // What the container wrote itself, and a file of the host.
        let host = world.process("host");
        for user in [&first, &host] {
            user.run(|p| {
                p.write_file(FILE, b"clean").expect("a new file");
                p.read_file(FILE).expect("clean");
            });
            assert_eq!(asks(world, user, FILE), (vec![id], 1), "own key");
            let held = user.run(|p| p.open(&OpenOptions::new(FILE).read()).expect("clean"));
            assert_eq!(asks(world, user, FILE), (vec![], 1), "known stream");
            user.run(move |_| held.close().expect("an open handle"));
        }
        for container in containers.iter() {
            container.destroy();
        }
    });
}

/// A small generator of choices: the same for both machines.
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % count
    }
}

/// One operation of the sequence, and what came of it.
fn step(p: &Process, choices: &mut Choices, open: &mut Vec<FileHandle>) -> String {
    const NAMES: [&str; 4] = [r"C:\a", r"C:\b", r"C:\c", r"C:\a:stream"];
    let options = |choices: &mut Choices| {
        let options = OpenOptions::new(NAMES[choices.below(4)])
            .share([0, 1, 3, 5, 7, 7][choices.below(6)])
            .disposition(u32::try_from(choices.below(6)).expect("small"));
        match choices.below(4) {
            0 => options.read(),
            1 => options.write(),
            2 => options.read().write().delete(),
            _ => options,
        }
    };
    if open.is_empty() || choices.below(4) == 0 {
        return match p.open(&options(choices)) {
            Ok(file) => {
                let came = format!("open {:?} {}", file.status(), file.information());
                open.push(file);
                came
            }
            Err(status) => format!("open {status:?}"),
        };
    }
    let at = choices.below(open.len());
    let number = choices.below(300) as u64;
    let file = &open[at];
    match choices.below(13) {
        0 => format!("write {:?}", file.write_at(number, b"some bytes")),
        1 => format!("read {:?}", file.read_at(number, 50)),
        2 => format!("eof {:?}", file.set_end_of_file(number)),
        3 => format!("allocation {:?}", file.set_allocation(number)),
        4 => format!("rename {:?}", file.rename("b", number.is_multiple_of(2))),
        5 => format!("link {:?}", file.hard_link("c", number.is_multiple_of(2))),
        6 => format!("delete {:?}", file.delete()),
        7 => format!("lock {:?}", file.lock(number, 10, number.is_multiple_of(2))),
        8 => format!("flush {:?}", file.flush()),
        9 => format!(
            "control {:?}",
            file.control(
                0x9_aaf0 + (u32::try_from(number).expect("small") << 2),
                &[1; 16],
                64
            )
        ),
        10 => format!(
            "set {:?}",
            file.set(100 + i32::try_from(number).expect("small"), &[1; 16])
        ),
        11 => format!("look {:?}", file.info()),
        _ => {
            let file = open.remove(at);
            format!("close {:?}", file.close())
        }
    }
}

/// A sequence of a user's operations, and what came of each.
fn day(p: &Process, seed: u64) -> Vec<String> {
    let mut choices = Choices(seed);
    let mut open = Vec::new();
    let mut came: Vec<_> = (0..120).map(|_| step(p, &mut choices, &mut open)).collect();
    open.into_iter()
        .for_each(|file| came.push(format!("close {:?}", file.close())));
    for name in [r"C:\a", r"C:\b", r"C:\c", r"C:\a:stream"] {
        came.push(format!("{:?}", p.read_file(name)));
    }
    came
}

/// The same sequence with and without the driver; gives the trace hash of the run with it.
fn compare(mode: Mode, seed: u64) -> u64 {
    let without = Machine::builder().scheduler(mode).run(move |m| {
        let volume = Volume::mount_kind(m, FsKind::Ntfs);
        Process::create(m, "user", &volume, None).run(move |p| day(p, seed))
    });
    let without = without.unwrap_or_else(|report| panic!("{report}")).value;
    let scenario = Arc::new(move |world: &World| {
        let with = world.process("user").run(move |p| day(p, seed));
        for (at, (with, without)) in with.iter().zip(&without).enumerate() {
            assert_eq!(with, without, "operation {at} of seed {seed}");
        }
        assert_eq!(with.len(), without.len());
    });
    match once(mode, &options(), scenario) {
        Ok(outcome) => outcome.trace_hash,
        Err(report) => panic!("{mode:?}\n{report}"),
    }
}

#[test]
fn i8_a_user_sees_the_same_with_and_without_the_driver() {
    in_every_order(|mode| match mode {
        Mode::Free => compare(mode, 0),
        Mode::Seeded(seed) => compare(mode, seed),
    });
    for seed in SEEDS..40 {
        compare(Mode::Seeded(seed), seed);
    }
}

#[test]
fn i8_a_scan_changes_no_time_and_no_size() {
    const BASIC_INFORMATION: i32 = 4;
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            p.write_file(FILE, &held_bytes()).expect("a new file");
            let file = p.open(&OpenOptions::new(FILE)).expect("attributes only");
            let look = || (file.query(BASIC_INFORMATION, 40), file.info());
            let before = look();
            // Asks for a scan, or finds the verdict of the one at close.
            p.open(&OpenOptions::new(FILE).read())
                .expect("clean")
                .close()
                .expect("an open handle");
            assert_eq!(look(), before);
        });
    });
}
