//! Unload under load, in every order of teardown: containers run, files are open, scans are in
//! flight, and the scan service works, hangs, dies or comes just then. After it nothing is left,
//! or the machine's checkers end the run (I4).

use std::sync::Arc;
use std::time::Duration;

use filterhost::container::{Container, ContainerOptions};
use filterhost::fltmgr::{FilterManager, instance, volume};
use filterhost::object::Kind;
use filterhost::sched::SimThread;
use filterhost::user::{OpenOptions, Process, Task};
use filterhost::wcifs::EcpVariant;
use filterhost::{Machine, Mode};
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::puppet::{Asked, Puppet, hello, service_process};
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{SERVICE, World, WorldOptions};

const FILE: &str = r"C:\file.bin";
/// Seeds of each order: a thousand in all.
const SEEDS: u64 = 200;
/// Runs of each order in which threads really run at once.
const FREE: u64 = 5;

/// What the scan service does when the driver is unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanner {
    Absent,
    Works,
    /// Its engine never comes back.
    Hangs,
    /// Its process is killed at that moment.
    Dies,
    /// It connects, leaves and connects again.
    ComesAndGoes,
}

const SCANNERS: [Scanner; 5] = [
    Scanner::Absent,
    Scanner::Works,
    Scanner::Hangs,
    Scanner::Dies,
    Scanner::ComesAndGoes,
];

/// What goes away before the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Nothing,
    Service,
    Container,
    /// Every instance of the driver, by hand.
    Instances,
    /// The volume of the layer.
    Layer,
}

/// What was under way at the moment when the first thing went away.
#[derive(Clone, Copy, Debug, Default)]
struct UnderWay {
    /// The service scanned.
    scans: bool,
    /// Openers waited for a verdict.
    openers: bool,
    /// There were sections for scans.
    sections: bool,
    /// A scan was queued that nobody waited for, its section made.
    queued: bool,
    /// A container started.
    starting: bool,
}

impl UnderWay {
    /// A container starts, and what is under way beside it.
    fn begin(world: &World, stage: &Stage, layer: &filterhost::wcifs::Layer) -> (Task<()>, Self) {
        let starting = start(world, layer);
        pause(world.machine());
        let now = Self::now(world.machine(), stage, !starting.is_finished());
        (starting, now)
    }

    fn now(m: &Machine, stage: &Stage, starting: bool) -> Self {
        let scans = match (&stage.gate, &stage.puppet) {
            (Some(gate), _) => gate.running(),
            (_, Some(puppet)) => puppet.scans().len(),
            _ => 0,
        };
        let sections = m.objects().all(Kind::Section).len();
        let threads = m.objects().all(Kind::Thread);
        let waits = |thread: &Arc<SimThread>| {
            let mut calls = thread.calls().into_iter();
            calls.any(|call| call.name == "FltCancellableWaitForSingleObject")
        };
        let threads = threads
            .iter()
            .filter_map(|thread| thread.host::<SimThread>());
        Self {
            scans: scans > 0,
            openers: threads.into_iter().any(|thread| waits(&thread)),
            sections: sections > 0,
            queued: sections > scans,
            starting,
        }
    }

    fn all(self) -> [bool; 5] {
        [
            self.scans,
            self.openers,
            self.sections,
            self.queued,
            self.starting,
        ]
    }
}

/// What runs when teardown begins.
struct Stage {
    gate: Option<Arc<Gate>>,
    puppet: Option<Arc<Puppet>>,
    tasks: Vec<Task<()>>,
}

fn pause(m: &Machine) {
    let time = m.sched().random() % 4_000;
    m.sched().sleep(Duration::from_micros(time));
}

/// A program that opens, changes and makes files. What it is told does not matter here: volume,
/// driver or service may be gone.
fn busy(process: &Process) -> Task<()> {
    process.spawn("busy", |p| {
        for round in 0..3_u8 {
            let _known_to_all = p.read_file(TOOL);
            let _own = p.read_file(FILE);
            let _new = p.write_file(r"C:\new.bin", &[round; 100]);
            let _again = p.read_file(r"C:\new.bin");
            let _other = p.open(&OpenOptions::new(OTHER).execute());
        }
    })
}

/// Starts the service in the state that it is to be in.
fn scanner(world: &World, what: Scanner, stage: &mut Stage) {
    match what {
        Scanner::Absent => {}
        Scanner::Works => {
            let gate = Gate::taking(Duration::from_millis(1));
            world.start_service(gate.clone(), 2);
            stage.gate = Some(gate);
        }
        Scanner::Hangs => {
            let gate = Gate::closed();
            world.start_service(gate.clone(), 2);
            stage.gate = Some(gate);
        }
        Scanner::Dies => {
            let puppet = Puppet::start(world, 2, |puppet, message| {
                if !matches!(message.asked, Asked::Scan(_)) {
                    puppet.behave(message, WireVerdict::CLEAN);
                }
            });
            stage.puppet = Some(puppet.expect("the driver accepts it"));
        }
        Scanner::ComesAndGoes => {
            let coming = service_process(world).spawn("come", |p| {
                for _ in 0..10 {
                    if let Ok(port) = p.connect_port(r"\SiloscanPort", &hello()) {
                        let _asked = port.get_message(4096, Some(Duration::from_millis(1)));
                        port.close();
                    }
                    pause(p.machine());
                }
                p.machine().sched().sleep(Duration::from_millis(1));
            });
            stage.tasks.push(coming);
        }
    }
}

fn goes(world: &World, first: First, containers: &[Container], layer: &filterhost::wcifs::Layer) {
    match first {
        First::Nothing => {}
        First::Service => world.stop_service(),
        First::Container => containers[0].destroy(),
        First::Layer => layer.volume.dismount(world.machine()),
        First::Instances => {
            let m = world.machine();
            let filters = FilterManager::of(m).filters();
            let ours = filters.iter().find(|filter| filter.name() == SERVICE);
            let ours = ours.expect("the driver has registered a filter");
            let scratch = containers.iter().map(Container::scratch);
            for disk in scratch.chain([world.system(), &layer.volume]) {
                let attached = volume::attached(m, disk);
                instance::detach_by_hand(m, ours, &attached, None).expect("it is never refused");
            }
        }
    }
}

/// One host, brought up, loaded and taken down.
fn run(mode: Mode, what: Scanner, first: First) -> (u64, UnderWay) {
    let options = WorldOptions {
        engine: None,
        parameters: vec![("OpenDeadlineMs".to_owned(), 1_000)],
        ..options()
    };
    let run = Machine::builder().scheduler(mode).run(move |m| {
        let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
        let layer = layer(&world);
        let containers = containers(&world, &layer, 2, EcpVariant::default());
        let user = world.process("user");
        let mut processes: Vec<_> = containers.iter().map(|it| it.process("app")).collect();
        processes.push(user.clone());
        for process in &processes {
            process.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
        }
        let kept = user.run(|p| {
            p.open(&OpenOptions::new(FILE).read().write())
                .expect("no service")
        });
        let mut stage = Stage {
            gate: None,
            puppet: None,
            tasks: Vec::new(),
        };
        scanner(&world, what, &mut stage);
        stage.tasks.extend(processes.iter().map(busy));
        pause(m);
        let writer = user.spawn("write", move |_| {
            for round in 0..4_u8 {
                let _it_may_be_gone = kept.write_at(0, &[round; 50]);
                pause(kept.process().machine());
            }
            kept.close().expect("an open handle");
        });
        let (starting, under_way) = UnderWay::begin(&world, &stage, &layer);
        if first == First::Service
            && let Some(gate) = &stage.gate
        {
            gate.open();
        }
        if let Some(puppet) = stage.puppet.clone() {
            let killer = world.process("killer");
            stage
                .tasks
                .push(killer.spawn("kill", move |_| puppet.kill()));
        }
        goes(&world, first, &containers, &layer);
        world.driver().unload().expect("it is never refused");
        if let Some(gate) = &stage.gate {
            gate.open();
        }
        for task in stage.tasks {
            task.join();
        }
        writer.join();
        starting.join();
        world.stop_service();
        for (index, container) in containers.iter().enumerate() {
            if index > 0 || first != First::Container {
                container.destroy();
            }
        }
        under_way
    });
    match run {
        Ok(outcome) => (outcome.trace_hash, outcome.value),
        Err(report) => panic!("{mode:?}, scanner {what:?}, {first:?} first\n{report}"),
    }
}

fn in_every_state(first: First) {
    for what in SCANNERS {
        for _ in 0..FREE {
            run(Mode::Free, what, first);
        }
        let (history, under_way) = run(Mode::Seeded(0), what, first);
        assert_eq!(history, run(Mode::Seeded(0), what, first).0, "one history");
        let seeds = 1..SEEDS / SCANNERS.len() as u64;
        let others = seeds.map(|seed| run(Mode::Seeded(seed), what, first).1);
        let mut counts = [0; 5];
        for under_way in others.chain([under_way]) {
            let all = counts.iter_mut().zip(under_way.all());
            all.for_each(|(count, is)| *count += u32::from(is));
        }
        println!("{what:?}, {first:?} first: {counts:?}");
        let least = least(what);
        let enough = counts
            .iter()
            .zip(least)
            .all(|(count, least)| *count >= least);
        assert!(
            enough,
            "{what:?}, {first:?} first: {counts:?} of 40, not {least:?}"
        );
    }
}

/// In how many of forty seeds what is in [`UnderWay`] has to be so when teardown begins.
fn least(what: Scanner) -> [u32; 5] {
    match what {
        // Nobody scans, and nobody waits.
        Scanner::Absent | Scanner::ComesAndGoes => [0, 0, 0, 0, 0],
        Scanner::Works | Scanner::Hangs => [35, 35, 35, 30, 25],
        Scanner::Dies => [35, 35, 35, 0, 25],
    }
}

/// A container that starts meanwhile, and what it reads.
fn start(world: &World, layer: &filterhost::wcifs::Layer) -> Task<()> {
    let options = ContainerOptions {
        layers: vec![layer.clone()],
        ..ContainerOptions::default()
    };
    world.process("starter").spawn("start", move |p| {
        let container = p.machine().create_container(&options);
        container.process("app").run(|p| {
            for path in [TOOL, OTHER, FILE] {
                let _known_or_not = p.read_file(path);
            }
        });
        container.destroy();
    })
}

#[test]
fn i4_nothing_is_left_when_the_driver_goes_first() {
    in_every_state(First::Nothing);
}

#[test]
fn i4_nothing_is_left_when_the_service_goes_first() {
    in_every_state(First::Service);
}

#[test]
fn i4_nothing_is_left_when_a_container_goes_first() {
    in_every_state(First::Container);
}

#[test]
fn i4_nothing_is_left_when_the_instances_go_first() {
    in_every_state(First::Instances);
}

#[test]
fn i4_nothing_is_left_when_the_layer_goes_first() {
    in_every_state(First::Layer);
}
