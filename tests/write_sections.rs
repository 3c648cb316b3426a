//! The cache and its neighbours are written at `DISPATCH_LEVEL` and nowhere below it: whoever waits
//! for a writer spins, and must not spin on one that is preempted.

use filterhost::record::DispatchCode;
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use filterhost::{Machine, Mode};
use siloscan_worlds::scene::{OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::World;

/// Core's functions that a writer is in while others spin: of a set of the cache, of the keys that
/// change, of the volumes and epochs.
const SECTIONS: [&str; 3] = [
    "siloscan_core::cache::set::Set::write",
    "siloscan_core::change::ChangeBucket::with",
    "siloscan_core::sync::WriterLock::with",
];

/// What stores verdicts and drops them, on the host and in a container.
fn lives(world: &World) {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let (user, app) = (world.process("user"), containers[0].process("app"));
    for (process, own) in [(&user, r"C:\host.bin"), (&app, r"C:\own.bin")] {
        process.run(move |p: &Process| {
            p.write_file(own, b"bytes").expect("a new file");
            p.read_file(own).expect("clean");
            p.write_file(own, b"others").expect("an old file");
        });
    }
    for path in [TOOL, OTHER] {
        app.run(move |p: &Process| drop(p.open(&OpenOptions::new(path).execute()).expect("clean")));
    }
    user.exit();
    app.exit();
    containers[0].destroy();
}

#[test]
fn i2_no_write_section_is_entered_below_dispatch_level() {
    let options = options();
    let machine = Machine::builder()
        .scheduler(Mode::Seeded(1))
        .dispatch_code(&SECTIONS);
    let run = machine.run(move |m| {
        let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
        lives(&world);
        world.shut_down();
        DispatchCode::counts(m)
    });
    let counts = run.unwrap_or_else(|report| panic!("{report}")).value;
    println!("{counts:?}");
    assert_eq!(counts.len(), SECTIONS.len());
    let idle = counts.iter().find(|count| count.run == 0);
    assert_eq!(
        idle, None,
        "the image has no such function, or nobody ran it"
    );
}
