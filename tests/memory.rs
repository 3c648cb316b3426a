//! Memory that cannot be had, at every single allocation of the driver's whole life, and every
//! single call that can fail for want of resources: a load is undone or goes on, nothing infected
//! is let through but by the policy and counted, and nothing is left after the unload (I1, I4).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use filterhost::container::Container;
use filterhost::fltmgr::transaction;
use filterhost::layout::{PAGE_READONLY, PAGE_READWRITE, SEC_IMAGE};
use filterhost::registry::Value;
use filterhost::status::NtStatus;
use filterhost::user::{OpenOptions, Process, cache};
use filterhost::wcifs::EcpVariant;
use filterhost::{LoadError, Machine, Mode};
use siloscan_core::reason::{AllowReason, Counted, Event};
use siloscan_service::engine::Engine;
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};

const EVIL: &str = r"C:\evil.com";
const FILE: &str = r"C:\file.bin";
const INFECTED: &[u8] = b"MARKED, as the engine of this host finds it";

/// What happens in each life, beside opens.
const HAPPENS: [Event; 8] = [
    Event::EcpAttached,
    Event::FlightStarted,
    Event::CloseScan,
    Event::StaleRescan,
    Event::TransactionCommitted,
    Event::StartRefused,
    Event::ParameterChanged,
    Event::KeyDropped,
];

/// What is to fail in one life.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The allocation of this number.
    Allocation(u64),
    /// The call of this number of a function.
    Call(&'static str, u64),
}

/// How a life went.
#[derive(Default)]
struct Lived {
    /// Why the driver did not load.
    refused: Option<NtStatus>,
    /// Opens that showed infected bytes, each by what it was.
    passed: Vec<&'static str>,
    /// The driver's counters at the end.
    counts: Counts,
    allocations: u64,
    calls: BTreeMap<&'static str, u64>,
}

/// A host with a service; what cannot be scanned is refused or let through.
fn host(deny: bool) -> WorldOptions {
    let values = [
        ("OnFailure", u32::from(deny)),
        ("OnEvasion", if deny { 2 } else { 1 }),
        ("ScanThreads", 2),
        ("CacheEntries", 1_024),
        ("OpenDeadlineMs", 2_000),
        ("OnStale", 1),
    ];
    WorldOptions {
        engine: None,
        parameters: values.map(|(name, value)| (name.to_owned(), value)).into(),
        ..options()
    }
}

/// One life of the driver, with one fault. The checkers end the run where something is left.
fn live(options: &WorldOptions, engines: &[Arc<dyn Engine>; 2], fault: Fault) -> Lived {
    let lived = Arc::new(Mutex::new(Lived::default()));
    let slot = Arc::clone(&lived);
    let (options, engines) = (options.clone(), engines.clone());
    let machine = Machine::builder().scheduler(Mode::Seeded(0));
    let run = machine.run(move |m| {
        let faults = m.faults();
        match fault {
            Fault::None => {}
            Fault::Allocation(nth) => faults.fail_allocation(nth),
            Fault::Call(name, nth) => faults.fail_call(name, nth),
        }
        let mut lived = slot.lock().expect("nobody panics with it");
        match World::boot(m, &options) {
            Ok(world) => {
                act(&world, &engines, &mut lived);
                world.shut_down();
            }
            Err(LoadError::Entry { status, .. }) => lived.refused = Some(status),
            Err(other) => panic!("{other}"),
        }
        lived.allocations = faults.allocations();
        lived.calls = faults.calls();
    });
    if let Err(report) = run {
        panic!("{fault:?}\n{report}");
    }
    std::mem::take(&mut *lived.lock().expect("nobody panics with it"))
}

/// Everything that a host does with the driver. Any step may fail; infected bytes must not pass.
fn act(world: &World, engines: &[Arc<dyn Engine>; 2], lived: &mut Lived) {
    world.start_service(Arc::clone(&engines[0]), 1);
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let (inside, outside) = (containers[0].process("app"), world.process("user"));
    for process in [&outside, &inside] {
        change(process, &mut lived.passed);
        start(process, &mut lived.passed);
    }
    in_a_transaction(world, &outside, &mut lived.passed);
    let seen = inside.run(|p| p.read_file(TOOL).map(drop));
    // New rules: what was clean is stale, and is scanned while nobody waits.
    world.use_engine(Arc::clone(&engines[1]));
    let again = inside.run(|p| p.read_file(TOOL).map(drop));
    settle(world, &containers, lived);
    assert!(seen.is_ok() || again.is_ok(), "one fault is not felt twice");
    let host = world.process("host");
    host.set_drive('C', &layer.volume);
    let _may_be_refused = host.run(|p| p.write_file(TOOL, INFECTED));
    note(
        &mut lived.passed,
        "layer",
        inside.run(|p| p.read_file(TOOL)),
    );
    layer.volume.dismount(world.machine());
    containers[0].destroy();
}

/// The registry changes, the service excludes a container, and the counters are told.
fn settle(world: &World, containers: &[Container], lived: &mut Lived) {
    let parameters = world.service_key().create("Parameters");
    parameters.set("OpenDeadlineMs", Value::dword(1_500));
    let service = world.service().expect("it runs");
    service.exclude_containers(vec![[7; 16]]);
    world.machine().sched().sleep(Duration::from_millis(2_500));
    let other = |p: &Process| p.read_file(OTHER).map(drop);
    let _either_way = containers[0].process("late").run(other);
    lived.counts = world.counts();
}

/// Notes an open of infected bytes that went through.
fn note(passed: &mut Vec<&'static str>, what: &'static str, opened: Result<Vec<u8>, NtStatus>) {
    if opened.is_ok_and(|bytes| bytes.starts_with(MARKER)) {
        passed.push(what);
    }
}

/// Files are made, changed in every way, closed and deleted.
fn change(process: &Process, passed: &mut Vec<&'static str>) {
    type Change = fn(&Process) -> Result<(), NtStatus>;
    let changes: [(&'static str, &'static str, Change); 6] = [
        ("made", EVIL, |p| p.write_file(EVIL, INFECTED)),
        ("named stream", r"C:\evil.com:s", |p| {
            p.write_file(r"C:\evil.com:s", INFECTED)
        }),
        ("overwritten", FILE, overwrite),
        ("cut", r"C:\cut.bin", cut),
        ("mapped", r"C:\mapped.bin", mapped),
        ("renamed", r"C:\new.bin", |p| {
            p.rename_file(EVIL, r"C:\new.bin", true)
        }),
    ];
    for (what, path, change) in changes {
        let _may_be_refused = process.run(change);
        note(passed, what, process.run(move |p| p.read_file(path)));
    }
    let _may_be_refused = process.run(|p| p.delete_file(r"C:\cut.bin"));
}

fn opened(p: &Process, path: &str, bytes: &[u8]) -> Result<filterhost::user::FileHandle, NtStatus> {
    p.write_file(path, bytes)?;
    p.read_file(path)?;
    p.open(&OpenOptions::new(path).read().write())
}

fn overwrite(p: &Process) -> Result<(), NtStatus> {
    let file = opened(p, FILE, &[b'x'; 68])?;
    file.write_at(0, INFECTED)?;
    file.close()
}

fn cut(p: &Process) -> Result<(), NtStatus> {
    let file = opened(p, r"C:\cut.bin", b"clean")?;
    file.set_end_of_file(0)?;
    file.append(INFECTED)?;
    file.close()
}

fn mapped(p: &Process) -> Result<(), NtStatus> {
    let file = opened(p, r"C:\mapped.bin", &[b'x'; 68])?;
    let section = file.create_section(PAGE_READWRITE, 0)?;
    let view = section.map()?;
    file.close()?;
    view.write(0, INFECTED)?;
    cache::settle(p.machine());
    drop(view);
    section.close()
}

/// A process is made of an infected image.
fn start(process: &Process, passed: &mut Vec<&'static str>) {
    const IMAGE: &str = r"C:\payload.exe";
    let started = process.run(|p| {
        let how = OpenOptions::new(IMAGE).read().write().execute();
        let file = p.open(&how.create_always())?;
        file.write_at(0, INFECTED)?;
        let section = file.create_section(PAGE_READONLY, SEC_IMAGE)?;
        file.close()?;
        section.new_process("payload")?.start()?.end();
        Ok::<(), NtStatus>(())
    });
    if started.is_ok() {
        passed.push("process");
    }
}

fn in_a_transaction(world: &World, process: &Process, passed: &mut Vec<&'static str>) {
    const NOTES: &str = r"C:\notes.txt";
    let within = transaction::begin(world.machine());
    let changed = process.run(move |p| {
        p.write_file(NOTES, &[b'x'; 68])?;
        p.read_file(NOTES)?;
        let options = OpenOptions::new(NOTES).read().write().transacted(within);
        let file = p.open(&options)?;
        file.write_at(0, INFECTED)?;
        file.close()
    });
    transaction::end(world.machine(), within, true);
    if changed.is_ok() {
        note(passed, "committed", process.run(|p| p.read_file(NOTES)));
    }
}

/// One life with each allocation failing and, if `calls`, with each call failing that can; judges
/// each.
fn every_fault(options: &WorldOptions, calls: bool, judge: impl Fn(Fault, &Lived)) {
    let engines: [Arc<dyn Engine>; 2] = [1, 2].map(|number| Marked::new(number).finding().engine());
    let whole = live(options, &engines, Fault::None);
    assert_eq!(whole.refused, None);
    assert_eq!(whole.passed, [""; 0], "{:?}", whole.counts.named());
    let allocations = (1..=whole.allocations).map(Fault::Allocation);
    let calls = whole.calls.iter().filter(|_| calls);
    let calls = calls.flat_map(|(name, count)| (1..=*count).map(|nth| Fault::Call(name, nth)));
    // A life in which something did not happen would not show what its faults do.
    for event in HAPPENS {
        assert!(whole.counts.get(event) > 0, "{}", event.name());
    }
    assert!(
        whole.allocations >= 200,
        "{} allocations",
        whole.allocations
    );
    // To take a routine back fails only where there is none.
    let takes_back =
        |fault: &Fault| matches!(fault, Fault::Call("PsSetCreateProcessNotifyRoutineEx", 2));
    for fault in allocations.chain(calls).filter(|fault| !takes_back(fault)) {
        judge(fault, &live(options, &engines, fault));
    }
}

#[test]
fn i1_nothing_infected_passes_whichever_allocation_or_call_fails() {
    every_fault(&host(true), true, |fault, lived| {
        let mut passed = lived.passed.clone();
        if lived.counts.get(Event::StartUnasked) > 0 {
            // The system refused the routine: files are guarded, processes are not looked at.
            passed.retain(|what| *what != "process");
        }
        assert_eq!(passed, [""; 0], "{fault:?}: {:?}", lived.counts.named());
    });
}

#[test]
fn i1_what_passes_by_the_policy_is_counted() {
    every_fault(&host(false), false, |fault, lived| {
        let counts = &lived.counts;
        let allowed = [AllowReason::FailureAllowed, AllowReason::EvasionAllowed];
        let allowed: u64 = allowed.iter().map(|reason| counts.get(*reason)).sum();
        let known = allowed + counts.get(Event::StartUnasked);
        let passed = lived.passed.len() as u64;
        assert!(
            passed <= known,
            "{fault:?}: {:?}, {:?}",
            lived.passed,
            counts.named()
        );
    });
}
