//! Processes that start: an image that no open shows any more is scanned where it can be, and
//! refused in a silo where it cannot. Ghosting: the file is deleted before the process is there.
//! Herpaderping: it is overwritten after it was mapped.

use std::sync::Arc;

use filterhost::Machine;
use filterhost::container::Container;
use filterhost::layout::{
    FILE_DELETE_ON_CLOSE, PAGE_READONLY, PAGE_READWRITE, SEC_COMMIT, SEC_IMAGE,
};
use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED};
use filterhost::user::{FileHandle, NotifyAt, OpenOptions, Process, Section, cache, notify_at};
use filterhost::volume::Volume;
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, Counted, DenyReason, Event, Failure};
use siloscan_core::trace::TraceId;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events;
use siloscan_worlds::everywhere::{everywhere, in_every_order};
use siloscan_worlds::gate::{Gate, HOLD};
use siloscan_worlds::opens;
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const IMAGE: &str = r"C:\payload.exe";
const CLEAN: &[u8] = b"MZ a clean program of the very same length as the malware has, no less.";
const MOMENTS: [NotifyAt; 2] = [NotifyAt::FirstThread, NotifyAt::Object];

fn with(parameters: &[(&str, u32)]) -> WorldOptions {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    WorldOptions {
        parameters: parameters.collect(),
        ..options()
    }
}

/// A file that this handle may write, run and delete, as malware makes one.
fn payload(p: &Process, options: u32, bytes: &[u8]) -> FileHandle {
    let how = OpenOptions::new(IMAGE).read().write().execute().delete();
    let file = p
        .open(&how.create_always().options(options))
        .expect("a new file");
    file.write_at(0, bytes).expect("writing is allowed");
    file
}

fn image(file: &FileHandle) -> Section {
    file.create_section(PAGE_READONLY, SEC_IMAGE)
        .expect("an image section")
}

/// Makes a process of an image section and ends it; what came of it.
fn run(section: &Section) -> Result<(), NtStatus> {
    section.new_process("payload")?.start()?.end();
    Ok(())
}

/// A process in a container, and one on the host.
fn places(world: &World) -> (Arc<Vec<Container>>, Process, Process) {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let inside = containers[0].process("attacker");
    let outside = world.process("attacker");
    (containers, inside, outside)
}

/// How the file goes before the process is there.
#[derive(Clone, Copy, Debug)]
enum Ghost {
    /// Its own handle says so, first of all.
    Disposition,
    /// It was opened so.
    OnClose,
    /// Another handle says so, and is closed.
    Other,
}

fn ghost(p: &Process, how: Ghost) -> Result<(), NtStatus> {
    let options = match how {
        Ghost::OnClose => FILE_DELETE_ON_CLOSE,
        _ => 0,
    };
    let file = payload(p, options, b"MZ");
    if matches!(how, Ghost::Disposition) {
        file.delete().expect("a deletion that waits");
    }
    file.write_at(0, &eicar_test_file()).expect("still open");
    if matches!(how, Ghost::Other) {
        let other = p
            .open(&OpenOptions::new(IMAGE).delete())
            .expect("shared to be deleted");
        other.delete().expect("a deletion that waits");
        let section = image(&file);
        other.close().expect("an open handle");
        file.close().expect("an open handle");
        return run(&section);
    }
    let section = image(&file);
    file.close().expect("an open handle");
    run(&section)
}

#[test]
fn i1_a_ghost_does_not_start_in_a_container() {
    for how in [Ghost::Disposition, Ghost::OnClose] {
        for moment in MOMENTS {
            everywhere(&options(), move |world| {
                notify_at(world.machine(), moment);
                opens::listen(world.machine());
                let (containers, inside, outside) = places(world);
                let started = inside.run(move |p| ghost(p, how));
                assert_eq!(started, Err(STATUS_ACCESS_DENIED), "{how:?}");
                let counts = world.counts();
                assert_eq!(counts.get(Event::StartRefused), 1, "{:?}", counts.named());
                assert_eq!(counts.get(Failure::Deleted), 1, "{:?}", counts.named());
                let told = events::take_of(world.machine(), TraceId::ProcessStart);
                assert_eq!(told.len(), 1, "{told:?}");
                let denied = DenyReason::EvasionDenied.name();
                assert_eq!(told[0].text("Decision"), denied);
                assert_eq!(told[0].text("Failure"), "deleted");
                assert!(told[0].text("Image").ends_with("payload.exe"));
                assert_ne!(told[0].guid("Container"), [0; 16]);
                // Elsewhere the policy lets it through, and tells.
                assert_eq!(outside.run(move |p| ghost(p, how)), Ok(()), "{how:?}");
                let told = events::take_of(world.machine(), TraceId::ProcessStart);
                assert_eq!(told.len(), 1, "{told:?}");
                let allowed = AllowReason::EvasionAllowed.name();
                assert_eq!(told[0].text("Decision"), allowed);
                containers[0].destroy();
            });
        }
    }
}

/// The handle that wrote it is closed like any other, so the scan at close may be there first.
#[test]
fn i1_a_ghost_that_another_handle_deletes_does_not_start_in_a_container() {
    everywhere(&options(), |world| {
        let (containers, inside, _) = places(world);
        let started = inside.run(|p| ghost(p, Ghost::Other));
        let refused = [Err(STATUS_ACCESS_DENIED), Err(INFECTED)];
        assert!(refused.contains(&started), "{started:?}");
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartRefused), 1, "{:?}", counts.named());
        containers[0].destroy();
    });
}

/// What stands in the file instead of the malware when the process is there.
fn overwritten(p: &Process, after_object: bool, closed: bool) -> Result<(), NtStatus> {
    let file = payload(p, 0, &eicar_test_file());
    let section = image(&file);
    let cover = |file: &FileHandle| {
        file.write_at(0, CLEAN)
            .expect("through the handle of before");
        if closed {
            file.close().expect("an open handle");
        }
    };
    if after_object {
        let made = section.new_process("payload")?;
        cover(&file);
        made.start()?.end();
    } else {
        cover(&file);
        section.new_process("payload")?.start()?.end();
    }
    Ok(())
}

#[test]
fn i1_an_overwritten_image_does_not_start_in_a_container() {
    for (after_object, closed) in [(false, false), (false, true), (true, false), (true, true)] {
        for moment in MOMENTS {
            everywhere(&options(), move |world| {
                notify_at(world.machine(), moment);
                let (containers, inside, _) = places(world);
                let started = inside.run(move |p| overwritten(p, after_object, closed));
                // Asked before the cover is written, the file still shows the malware.
                let shown = after_object && moment == NotifyAt::Object;
                let wanted = if shown {
                    INFECTED
                } else {
                    STATUS_ACCESS_DENIED
                };
                assert_eq!(started, Err(wanted));
                let counts = world.counts();
                assert_eq!(counts.get(Event::StartRefused), 1, "{:?}", counts.named());
                let unknowable = u64::from(!shown);
                let count = counts.get(Failure::Overwritten);
                assert_eq!(count, unknowable, "{:?}", counts.named());
                containers[0].destroy();
            });
        }
    }
}

#[test]
fn what_cannot_be_known_of_an_image_follows_the_policy() {
    for (policy, inside_starts, outside_starts) in
        [(0, false, true), (1, true, true), (2, false, false)]
    {
        everywhere(&with(&[("OnEvasion", policy)]), move |world| {
            let (containers, inside, outside) = places(world);
            for (process, starts) in [(inside, inside_starts), (outside, outside_starts)] {
                let wanted = if starts {
                    Ok(())
                } else {
                    Err(STATUS_ACCESS_DENIED)
                };
                let started = process.run(|p| overwritten(p, false, true));
                assert_eq!(started, wanted, "policy {policy}");
                assert_eq!(process.run(|p| ghost(p, Ghost::Disposition)), wanted);
            }
            containers[0].destroy();
        });
    }
}

#[test]
fn i1_an_image_that_is_still_being_written_is_scanned() {
    everywhere(&options(), |world| {
        let (containers, inside, outside) = places(world);
        for process in [inside, outside] {
            let started = process.run(|p| {
                let file = payload(p, 0, &eicar_test_file());
                let infected = run(&image(&file));
                file.write_at(0, CLEAN).expect("the image is gone");
                (infected, run(&image(&file)))
            });
            assert_eq!(started, (Err(INFECTED), Ok(())));
        }
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartScanned), 4, "{:?}", counts.named());
        assert_eq!(counts.get(Event::StartRefused), 2, "{:?}", counts.named());
        containers[0].destroy();
    });
}

#[test]
fn i1_what_a_scan_at_close_found_is_remembered_of_an_image() {
    everywhere(&options(), |world| {
        let (containers, inside, _) = places(world);
        inside.run(|p| {
            let file = payload(p, 0, b"MZ");
            let other = p
                .open(&OpenOptions::new(IMAGE).write())
                .expect("nothing is found yet");
            other
                .write_at(0, &eicar_test_file())
                .expect("writing is allowed");
            other.close().expect("an open handle");
            assert!(
                p.read_file(IMAGE).is_err(),
                "by now the scan at close is over"
            );
            assert_eq!(run(&image(&file)), Err(INFECTED));
        });
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartRefused), 1, "{:?}", counts.named());
        assert_eq!(counts.get(Event::StartScanned), 0, "{:?}", counts.named());
        containers[0].destroy();
    });
}

#[test]
fn a_program_that_an_open_let_through_starts_without_a_scan() {
    everywhere(&options(), |world| {
        let (containers, inside, outside) = places(world);
        let start = |process: &Process, path: &'static str| {
            process.run(move |p| p.start_program(path).map(|program| program.end()))
        };
        outside.run(|p| p.write_file(IMAGE, CLEAN).expect("a new file"));
        assert_eq!(start(&inside, TOOL), Ok(()));
        assert_eq!(start(&outside, IMAGE), Ok(()));
        let before = world.scans();
        for _ in 0..3 {
            assert_eq!(start(&inside, TOOL), Ok(()));
            assert_eq!(start(&outside, IMAGE), Ok(()));
        }
        assert_eq!(world.scans(), before);
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartKnown), 8, "{:?}", counts.named());
        assert_eq!(counts.get(Event::StartRefused), 0, "{:?}", counts.named());
        containers[0].destroy();
    });
}

/// What changes the names of a program changes no byte of it.
#[test]
fn a_program_that_was_moved_or_linked_while_it_ran_starts() {
    everywhere(&options(), |world| {
        let (containers, inside, _) = places(world);
        inside.run(|p| {
            p.write_file(IMAGE, CLEAN).expect("a new file");
            p.write_file(r"C:\old.exe", b"MZ").expect("a new file");
            let running = p.start_program(IMAGE).expect("clean");
            let how = OpenOptions::new(IMAGE).delete();
            let file = p.open(&how).expect("shared to be deleted");
            file.hard_link(r"C:\link.exe", false).expect("a new name");
            file.rename(r"C:\old.exe", true).expect("over another one");
            file.close().expect("an open handle");
            let again = p.start_program(r"C:\old.exe").expect("as clean as before");
            again.end();
            running.end();
        });
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartRefused), 0, "{:?}", counts.named());
        containers[0].destroy();
    });
}

/// A linker writes its output through a mapping, closes everything, and the program is run: the
/// lazy writer may bring the bytes to the disk at any time.
#[test]
fn a_program_that_was_linked_a_moment_ago_starts() {
    for settled in [0, 1, 2] {
        everywhere(&options(), move |world| {
            let (containers, inside, _) = places(world);
            let started = inside.run(move |p| {
                let m = Arc::clone(p.machine());
                let how = OpenOptions::new(IMAGE).read().write();
                let file = p.open(&how.create_always()).expect("a new file");
                file.set_end_of_file(CLEAN.len() as u64).expect("empty");
                let section = file
                    .create_section(PAGE_READWRITE, SEC_COMMIT)
                    .expect("a section");
                let view = section.map().expect("a view");
                view.write(0, CLEAN).expect("a writable view");
                drop(view);
                section.close().expect("an open handle");
                file.close().expect("an open handle");
                if settled == 0 {
                    cache::settle(&m);
                }
                let program = p.open(&OpenOptions::new(IMAGE).execute())?;
                let section = image(&program);
                if settled == 1 {
                    cache::settle(&m);
                }
                let started = run(&section);
                program.close().expect("an open handle");
                started
            });
            assert_eq!(started, Ok(()), "{:?}", world.counts().named());
            containers[0].destroy();
        });
    }
}

/// Whoever keeps the file mapped while it is mapped as an image can change it unseen.
#[test]
fn i1_an_image_of_a_file_that_somebody_has_mapped_does_not_start_in_a_container() {
    everywhere(&options(), |world| {
        let (containers, inside, _) = places(world);
        let started = inside.run(|p| {
            let file = payload(p, 0, &eicar_test_file());
            let writable = file
                .create_section(PAGE_READWRITE, SEC_COMMIT)
                .expect("a section");
            let view = writable.map().expect("a view");
            let section = image(&file);
            let cover = CLEAN.get(..eicar_test_file().len()).unwrap_or(CLEAN);
            view.write(0, cover).expect("a writable view");
            run(&section)
        });
        assert_eq!(started, Err(STATUS_ACCESS_DENIED));
        containers[0].destroy();
    });
}

#[test]
fn audit_only_lets_every_process_start_and_tells() {
    everywhere(&with(&[("AuditOnly", 1)]), |world| {
        opens::listen(world.machine());
        let (containers, inside, _) = places(world);
        let started = inside.run(|p| {
            let file = payload(p, 0, &eicar_test_file());
            let infected = run(&image(&file));
            file.close().expect("an open handle");
            [infected, ghost(p, Ghost::Disposition)]
        });
        assert_eq!(started, [Ok(()); 2]);
        let told = events::take_of(world.machine(), TraceId::ProcessStart);
        let decisions: Vec<_> = told.iter().map(|told| told.text("Decision")).collect();
        assert_eq!(decisions, ["audit-only"; 2]);
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartRefused), 0, "{:?}", counts.named());
        containers[0].destroy();
    });
}

#[test]
fn i3_without_a_service_a_process_that_wants_a_scan_follows_the_policy() {
    for (policy, wanted) in [(0, Ok(())), (1, Err(STATUS_ACCESS_DENIED))] {
        let options = WorldOptions {
            engine: None,
            ..with(&[("OnFailure", policy)])
        };
        everywhere(&options, move |world| {
            let (containers, inside, _) = places(world);
            let started = inside.run(|p| {
                let file = payload(p, 0, CLEAN);
                run(&image(&file))
            });
            assert_eq!(started, wanted, "policy {policy}");
            containers[0].destroy();
        });
    }
}

/// A scenario that loads or unloads the driver itself.
fn on_a_machine(scenario: fn(&Arc<Machine>)) {
    in_every_order(|mode| {
        let run = Machine::builder().scheduler(mode).run(scenario);
        run.unwrap_or_else(|report| panic!("{mode:?}\n{report}"))
            .trace_hash
    });
}

#[test]
fn i4_the_driver_unloads_while_a_process_waits_for_its_scan() {
    on_a_machine(|m| {
        let gate = Gate::choosing();
        let options = WorldOptions {
            engine: Some(gate.clone()),
            ..options()
        };
        let world = World::boot(m, &options).expect("it loads");
        gate.close();
        let outside = world.process("starter");
        let task = outside.spawn("starter", |p| {
            let file = payload(p, 0, &[HOLD, CLEAN].concat());
            run(&image(&file))
        });
        gate.await_held(1);
        let driver = world.driver().clone();
        let unloading = world
            .process("unloader")
            .spawn("unload", move |_| driver.unload());
        assert_eq!(task.join(), Ok(()), "a failure of the driver's own allows");
        gate.open();
        assert_eq!(unloading.join(), Ok(()));
        world.stop_service();
    });
}

#[test]
fn without_the_notification_files_are_guarded_all_the_same() {
    on_a_machine(|m| {
        m.faults().fail_call("PsSetCreateProcessNotifyRoutineEx", 1);
        let world = World::boot(m, &options()).expect("it loads");
        world.process("user").run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
            assert_eq!(ghost(p, Ghost::Disposition), Ok(()));
        });
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartUnasked), 1, "{:?}", counts.named());
        assert_eq!(counts.get(Failure::Deleted), 0, "{:?}", counts.named());
        world.shut_down();
    });
}

/// A volume without an instance of ours: nothing is known, and nothing is asked.
#[test]
fn an_image_on_a_volume_that_is_not_attached_is_counted() {
    everywhere(&options(), |world| {
        let share = Volume::mount_kind(world.machine(), filterhost::volume::FsKind::Lanman);
        let user = world.process("user");
        user.set_drive('N', &share);
        user.run(|p| {
            p.write_file(r"N:\tool.exe", CLEAN).expect("a new file");
            let started = p.start_program(r"N:\tool.exe");
            started.expect("nobody refuses").end();
        });
        let counts = world.counts();
        assert_eq!(counts.get(Event::StartUnwatched), 1, "{:?}", counts.named());
    });
}
