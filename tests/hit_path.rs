//! What the driver does on a hit, call by call: the kernel's functions that it calls and what they
//! allocate are those of a committed list; the look-up itself calls nothing, so it works at
//! DISPATCH_LEVEL; and it does not take longer where there are many containers.

#[path = "../crates/filterhost/tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use filterhost::Mode;
use filterhost::pool::tag_text;
use filterhost::record::{Detail, Profile, Recording, record};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::AllowReason;
use siloscan_worlds::everywhere::once;
use siloscan_worlds::scene::{OTHER, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

/// The committed list.
const LIST: &str = "tests/hit-path.txt";
const HEAD: &str = "\
# What the driver calls in the kernel on a hit, in order, and what is allocated there. The stream is
# known already. tests/hit_path.rs makes it with SILOSCAN_WRITE_DOCS=1; see docs/decisions/0090.
";

/// Opens a file until its verdict is kept, and then once more on the record.
fn hit(world: &World, process: &Process, path: &'static str, detail: Detail) -> Recording {
    let open = move |p: &Process| {
        let opened = p.open(&OpenOptions::new(path).execute());
        opened.expect("clean")
    };
    // The second open keeps the stream, and with it the driver's context.
    process.run(move |p| {
        drop(open(p));
        std::mem::forget(open(p));
    });
    let before = world.count(AllowReason::CachedClean);
    let recording = process.run(move |p| {
        let (file, recording) = record(detail, || open(p));
        drop(file);
        recording
    });
    assert_eq!(world.count(AllowReason::CachedClean) - before, 1, "a hit");
    recording
}

fn told(kind: &str, recording: &Recording) -> String {
    let mut text = format!("\n[{kind}]\n");
    for call in recording.calls() {
        let _ = writeln!(text, "{call}");
    }
    for (call, tag, size) in recording.allocations() {
        let _ = writeln!(text, "allocated in {call}: {} {size}", tag_text(tag));
    }
    text
}

/// The three kinds of hits on one host.
fn list(world: &World) -> String {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let (user, app) = (world.process("user"), containers[0].process("app"));
    let mut text = HEAD.to_owned();
    for (kind, process, path) in [
        ("host file, own key", &user, r"C:\host.bin"),
        ("container's own file, own key", &app, r"C:\own.bin"),
    ] {
        process
            .run(move |p| p.write_file(path, b"bytes"))
            .expect("a new file");
        text += &told(kind, &hit(world, process, path, Detail::Calls));
    }
    let package = hit(world, &app, OTHER, Detail::Calls);
    text += &told("package file, its layer's key", &package);
    user.exit();
    app.exit();
    containers[0].destroy();
    text
}

/// Runs `scenario` once under each of these schedulers, and gives what it made.
fn under(
    modes: &[Mode],
    scenario: impl Fn(&World) -> String + Clone + Send + Sync + 'static,
) -> Vec<String> {
    let made: Arc<Mutex<Vec<String>>> = Arc::default();
    for mode in modes {
        let (made, scenario) = (Arc::clone(&made), scenario.clone());
        let run = move |world: &World| {
            let text = scenario(world);
            made.lock().expect("no panic before").push(text);
        };
        if let Err(report) = once(*mode, &options(), Arc::new(run)) {
            panic!("{mode:?}\n{report}");
        }
    }
    let made = made.lock().expect("no panic before");
    made.clone()
}

#[test]
fn a_hit_calls_what_is_on_the_list_and_nothing_else() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    let seeds = (0..4).map(Mode::Seeded);
    let modes: Vec<Mode> = [Mode::Free].into_iter().chain(seeds).collect();
    let made = under(&modes, list);
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made[0]).expect("a writable folder");
    }
    let listed = std::fs::read_to_string(&path).expect("the committed list");
    for (mode, made) in modes.iter().zip(made) {
        let differs = made.lines().zip(listed.lines()).find(|(a, b)| a != b);
        assert!(made == listed, "{mode:?}: {differs:?}; see {LIST}\n{made}");
    }
}

#[test]
fn the_instructions_of_a_driver_are_counted_exactly() {
    let image = support::driver("empty", &["-O2"]);
    let options = WorldOptions {
        image,
        engine: None,
        ..options()
    };
    let counted = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&counted);
    let run = move |world: &World| {
        let user = world.process("user");
        let recording = user.run(|p| {
            let open = || p.open(&OpenOptions::new(r"C:\new.bin").write().create_always());
            let (file, recording) = record(Detail::Instructions, open);
            drop(file.expect("a new file"));
            recording
        });
        told.lock()
            .expect("no panic before")
            .push(recording.steps.len());
        user.exit();
    };
    for mode in [Mode::Free, Mode::Seeded(0)] {
        if let Err(report) = once(mode, &options, Arc::new(run.clone())) {
            panic!("{mode:?}\n{report}");
        }
    }
    // Each of its two callbacks clears a register and returns.
    assert_eq!(*counted.lock().expect("no panic before"), [4, 4]);
}

/// A hit of a package file where so many containers run: its instructions, those of the look-up
/// among them, and the calls into the kernel that the look-up made.
fn instructions(world: &World, count: usize) -> (usize, usize, Vec<&'static str>) {
    let layer = layer(world);
    let containers = containers(world, &layer, count, EcpVariant::default());
    // Each has opened a file, so that the driver knows its volume.
    for container in containers.iter() {
        let app = container.process("app");
        app.run(|p| drop(p.open(&OpenOptions::new(OTHER).execute())));
        app.exit();
    }
    let app = containers[count - 1].process("app");
    let recording = hit(world, &app, OTHER, Detail::Instructions);
    let profile = Profile::new(world.machine(), &recording);
    let looks_up = |functions: &[Arc<str>]| {
        functions
            .iter()
            .any(|function| function.contains("siloscan::scan::look_up"))
    };
    let within = profile.stacks().filter(|stack| looks_up(stack)).count();
    let calls = profile.calls().filter(|(_, stack)| looks_up(stack));
    let calls = calls.map(|(name, _)| name).collect();
    app.exit();
    for container in containers.iter() {
        container.destroy();
    }
    (recording.steps.len(), within, calls)
}

#[test]
fn the_look_up_of_a_hit_calls_nothing_so_it_works_at_dispatch_level() {
    let made = under(&[Mode::Seeded(0)], |world| {
        let (all, within, calls) = instructions(world, 1);
        assert!(within >= 50, "the look-up was seen: {within} of {all}");
        calls.join(" ")
    });
    assert_eq!(made, [""]);
}

#[test]
fn a_hit_takes_no_more_instructions_beside_a_hundred_containers() {
    let made = |count| {
        let made = under(&[Mode::Seeded(0)], move |world| {
            instructions(world, count).0.to_string()
        });
        made[0].parse::<f64>().expect("a number")
    };
    let (few, many) = (made(10), made(100));
    assert!(few > 500.0 && many <= few * 1.1, "{few} and {many}");
}
