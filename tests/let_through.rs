//! Opens that go through without a verdict, or against one, because they can neither wait nor be
//! taken back: an oplock break under way, and a handle that exists already. What they opened is
//! looked at when it is closed, and what is infected is denied to whoever comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use filterhost::fltmgr::{NativeFilter, Pre, native};
use filterhost::layout::{FLT_CALLBACK_DATA, FO_HANDLE_CREATED, IRP_MJ_CREATE};
use filterhost::status::{NtStatus, STATUS_OPLOCK_BREAK_IN_PROGRESS};
use filterhost::user::{FileHandle, OpenOptions, Process, cache};
use filterhost::volume::Request;
use filterhost::volume::fs::control::FSCTL_REQUEST_BATCH_OPLOCK;
use filterhost::{Machine, wcifs::EcpVariant};
use siloscan_core::reason::{AllowReason, Counted, DenyReason, Event, Failure};
use siloscan_core::trace::TraceId;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::opens;
use siloscan_worlds::scene::{INFECTED, containers, layer, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};

const CLEAN: &str = r"C:\clean.bin";
const EVIL: &str = r"C:\evil.com";
/// Infected, and not seen by any scan before its one open.
const OTHER: &str = r"C:\other.com";

/// A host whose service is started by the scenario.
fn host(parameters: &[(&str, u32)]) -> WorldOptions {
    // The counters travel with the polls.
    let parameters = [("HeartbeatMs", 500)]
        .iter()
        .chain(parameters)
        .map(|(name, value)| ((*name).to_owned(), *value));
    WorldOptions {
        engine: None,
        parameters: parameters.collect(),
        ..options()
    }
}

/// Files that nobody has scanned, since there is no service yet; that they were written is
/// forgotten with their streams' contexts.
fn files(user: &Process) {
    user.run(|p| {
        p.write_file(CLEAN, b"clean").expect("a new file");
        for evil in [EVIL, OTHER] {
            p.write_file(evil, &eicar_test_file()).expect("a new file");
        }
        cache::settle(p.machine());
    });
}

fn read(p: &Process, path: &str) -> Result<FileHandle, NtStatus> {
    p.open(&OpenOptions::new(path).read())
}

/// Waits until `reason` has been counted so often.
fn await_count(world: &World, reason: impl Counted, times: u64) {
    let there = |counts: &Counts| counts.get(reason) >= times;
    let found = (0..10).find_map(|_| Some(world.counts()).filter(there));
    let counts = found.unwrap_or_else(|| world.counts());
    assert_eq!(counts.get(reason), times, "{:?}", counts.named());
}

/// What an open gets after another one of the same file went through during an oplock break.
fn after_an_oplock_break(
    world: &World,
    user: &Process,
    path: &'static str,
) -> Result<(), NtStatus> {
    const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x100;
    let holder = user.run(move |p| {
        let file = read(p, path).expect("before the service");
        file.control(FSCTL_REQUEST_BATCH_OPLOCK, &[], 0)
            .expect("nobody else has it open");
        file
    });
    world.start_service(Gate::opened(), 2);
    let opened = user.run(move |p| {
        let options = OpenOptions::new(path).read();
        p.open(&options.options(FILE_COMPLETE_IF_OPLOCKED))
            .expect("it cannot wait, and the policy lets it through")
    });
    assert_eq!(opened.status(), STATUS_OPLOCK_BREAK_IN_PROGRESS);
    let counts = world.counts();
    assert_eq!(counts.get(Failure::Oplock), 1, "{:?}", counts.named());
    assert_eq!(counts.get(AllowReason::EvasionAllowed), 1);
    assert_eq!((counts.get(Event::CloseScan), world.scans()), (0, 0));
    user.run(move |_| opened.close().expect("an open handle"));
    await_count(world, Event::VerdictStored, 1);
    assert_eq!(world.count(Event::CloseScan), 1);
    assert_eq!(world.scans(), 1, "while it could not be waited for");
    user.run(move |_| holder.close().expect("an open handle"));
    let next = user.run(move |p| read(p, path)?.close());
    assert_eq!(world.scans(), 1, "its verdict was kept");
    next
}

#[test]
fn what_an_oplock_break_let_through_is_looked_at_when_it_is_closed() {
    for (path, expected) in [(CLEAN, Ok(())), (EVIL, Err(INFECTED))] {
        // The host's own policy about what cannot be scanned.
        everywhere(&host(&[("OnEvasion", 1)]), move |world| {
            let user = world.process("user");
            files(&user);
            assert_eq!(after_an_oplock_break(world, &user, path), expected);
            let denied = world.count(DenyReason::CachedInfected);
            assert_eq!(denied, u64::from(expected.is_err()));
        });
    }
}

/// A filter above us that lets a handle exist before an open is over.
#[derive(Default)]
struct EarlyHandles(AtomicBool);

impl NativeFilter for EarlyHandles {
    fn altitude(&self) -> &'static str {
        "328010"
    }

    fn name(&self) -> &'static str {
        "handles that come early"
    }

    fn pre(&self, _m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        if request.major() == IRP_MJ_CREATE
            && self.0.load(Ordering::SeqCst)
            && let Ok(file) = request.file()
        {
            file.set_flags(FO_HANDLE_CREATED);
        }
        Pre::NoCallback
    }
}

/// One open that has its handle too early. It goes through, and is told with `failure`.
fn early(
    world: &World,
    user: &Process,
    filter: &EarlyHandles,
    path: &'static str,
    failure: &str,
) -> FileHandle {
    let _what_came_before = events::take(world.machine());
    filter.0.store(true, Ordering::SeqCst);
    let file = user.run(move |p| read(p, path).expect("it cannot be taken back"));
    filter.0.store(false, Ordering::SeqCst);
    let told = events::take_of(world.machine(), TraceId::Policy);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].text("Decision"), "handle-exists");
    assert_eq!(told[0].text("Failure"), failure);
    file
}

fn close(user: &Process, file: FileHandle) {
    user.run(move |_| file.close().expect("an open handle"));
}

/// What is told of opens whose handles came too early, and what becomes of their files.
/// `kept`: how many verdicts a scan at close leaves, where a volume may show layer bytes none.
fn handles_that_came_early(world: &World, user: &Process, filter: &EarlyHandles, kept: u64) {
    let denied = |path: &'static str| {
        let next = user.run(move |p| read(p, path).map(drop));
        assert_eq!(next, Err(INFECTED), "{path}: the next one can be refused");
    };
    files(user);
    opens::listen(world.machine());
    // Refused for want of a service, if that were possible.
    let file = early(world, user, filter, EVIL, "no-service");
    world.start_service(Gate::opened(), 2);
    close(user, file);
    await_count(world, Event::CloseInfected, 1);
    let scans = world.scans();
    denied(EVIL);
    assert_eq!(world.scans(), scans + 1 - kept, "the close has told");
    // Known to be infected: it is looked at once more, so that somebody is told what it is.
    let file = early(world, user, filter, EVIL, "");
    close(user, file);
    await_count(world, Event::CloseInfected, 2);
    denied(EVIL);
    // Found to be infected by its own scan.
    let file = early(world, user, filter, OTHER, "");
    let counts = world.counts();
    assert_eq!(counts.get(AllowReason::HandleExists), 3);
    assert_eq!(counts.get(DenyReason::ScannedInfected), 1 - kept);
    let scans = world.scans();
    close(user, file);
    denied(OTHER);
    assert_eq!(world.scans(), scans, "its verdict was kept");
    assert_eq!(world.count(DenyReason::CachedInfected), 2 + kept);
}

#[test]
fn i1_an_infected_open_that_has_its_handle_already_is_told_and_the_next_is_denied() {
    everywhere(&host(&[("OnFailure", 1)]), |world| {
        let filter = Arc::new(EarlyHandles::default());
        native::attach(world.machine(), world.system(), Arc::clone(&filter) as _);
        handles_that_came_early(world, &world.process("user"), &filter, 1);
    });
}

#[test]
fn i1_so_it_is_in_a_container() {
    everywhere(&host(&[("OnFailure", 1)]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let filter = Arc::new(EarlyHandles::default());
        let scratch = containers[0].scratch();
        native::attach(world.machine(), scratch, Arc::clone(&filter) as _);
        let user = containers[0].process("app");
        handles_that_came_early(world, &user, &filter, 0);
        containers[0].destroy();
    });
}
