//! What one open costs: the instructions of the driver, exactly, by single steps; and the time of
//! the whole open in the filter host, against a filter that does nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use filterhost::container::Container;
use filterhost::record::{Detail, Profile, record};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::{EcpVariant, Layer};
use filterhost::{Machine, Mode};
use siloscan_worlds::scene::{self, OTHER, TOOL};
use siloscan_worlds::world::{World, WorldOptions};

use super::parts::{self, Cost};
use super::{load, middle, table};

/// A cached open of a container should cost at most so many times the sum of its parts.
const PARTS_GOAL: f64 = 1.4;
/// What is held today, in instructions: a cheaper part must not look like a dearer open
/// (docs/decisions/0090).
const INSTRUCTIONS_MAX: u64 = 1_450;
/// Longest time without any call into the host.
const WATCHDOG: Duration = Duration::from_secs(3600);

/// `cargo xtask bench open`.
#[derive(Args)]
pub struct Options {
    /// The driver; its PDB lies beside it. `cargo xtask bench` sets it.
    #[arg(long, env = "SILOSCAN_IMAGE", value_name = "FILE")]
    image: PathBuf,
    /// A filter that does nothing, built from tests/drivers/empty.c. `cargo xtask bench` sets it.
    #[arg(long, env = "SILOSCAN_EMPTY_FILTER", value_name = "FILE")]
    empty: PathBuf,
    /// One that does the parts alone, built from tests/drivers/parts.c.
    #[arg(long, env = "SILOSCAN_PARTS_FILTER", value_name = "FILE")]
    parts: PathBuf,
    /// A tenth of the opens.
    #[arg(long)]
    quick: bool,
    /// Only the instructions, which are the same each time; fails where a
    /// cached open takes more of them than is held today.
    #[arg(long)]
    check: bool,
    /// Print the instructions of each function, too.
    #[arg(long)]
    functions: bool,
}

/// An open that is measured.
struct Route {
    process: Process,
    open: OpenOptions,
}

/// A host with everything that the routes need.
struct Scene {
    routes: [Route; ROUTES.len()],
    containers: Vec<Container>,
}

/// Names of the routes, in the order of [`Scene::routes`].
const ROUTES: [&str; 6] = [
    "ignored: attributes only",
    "host file, own key",
    "container's own file, own key",
    PACKAGE,
    "package file, first open in a container",
    "package file of a remote layer, skipped",
];
const PACKAGE: &str = "package file, its layer's key";
/// This one is measured once: its second open is another route.
const FIRST: usize = 4;

impl Scene {
    fn new(world: &World) -> Self {
        let layer = scene::layer(world);
        let remote = Layer {
            remote: true,
            ..scene::layer(world)
        };
        let mut containers = Vec::new();
        for layer in [&layer, &layer, &remote] {
            let made = scene::containers(world, layer, 1, EcpVariant::default());
            containers.extend(std::sync::Arc::into_inner(made).into_iter().flatten());
        }
        let user = world.process("user");
        user.run(|p| p.write_file(r"C:\host.bin", b"a file of the host"))
            .expect("a new file");
        let inside = |at: usize| containers[at].process("app");
        let own = inside(0);
        own.run(|p| p.write_file(r"C:\own.bin", b"a file of the container"))
            .expect("a new file");
        // Its first open makes the new container's volume a redirecting one.
        let new = inside(1);
        new.run(|p| drop(p.open(&OpenOptions::new(TOOL).execute())));
        let execute = |path| OpenOptions::new(path).execute();
        let opens = [
            (user.clone(), OpenOptions::new(r"C:\host.bin")),
            (user, execute(r"C:\host.bin")),
            (own.clone(), execute(r"C:\own.bin")),
            (own, execute(OTHER)),
            (new, execute(OTHER)),
            (inside(2), execute(OTHER)),
        ];
        let routes = opens.map(|(process, open)| Route { process, open });
        for (at, route) in routes.iter().enumerate() {
            if at != FIRST {
                route.warm_up();
            }
        }
        Self { routes, containers }
    }

    fn end(self) {
        for route in &self.routes {
            route.process.exit();
        }
        for container in &self.containers {
            container.destroy();
        }
    }
}

impl Route {
    /// Opens it until it is known, and once more without an end, so that its stream stays.
    fn warm_up(&self) {
        let open = self.open.clone();
        self.process.run(move |p| {
            for _ in 0..3 {
                drop(p.open(&open).expect("it opens"));
            }
            std::mem::forget(p.open(&open).expect("it opens"));
        });
    }

    fn cost(&self) -> Cost {
        let open = self.open.clone();
        self.process.run(move |p| {
            let (file, recording) = record(Detail::Instructions, || p.open(&open));
            drop(file.expect("it opens"));
            Cost::of(&Profile::new(p.machine(), &recording))
        })
    }

    /// The middle of the times of so many opens, in nanoseconds.
    fn time(&self, opens: usize) -> f64 {
        let open = self.open.clone();
        self.process.run(move |p| {
            let mut times = Vec::with_capacity(opens);
            for _ in 0..opens {
                let begun = Instant::now();
                let file = p.open(&open);
                times.push(begun.elapsed().as_nanos() as f64);
                drop(file.expect("it opens"));
            }
            middle(&times).0
        })
    }
}

fn host(image: &Path, is_empty: bool) -> WorldOptions {
    let mut options = scene::with_image(image.to_owned());
    if is_empty {
        options.engine = None;
    }
    options
}

/// What each route costs in instructions, under one seed.
fn costs(image: &Path, is_empty: bool) -> Result<Vec<Cost>, String> {
    let options = host(image, is_empty);
    let machine = Machine::builder()
        .scheduler(Mode::Seeded(1))
        .watchdog(WATCHDOG);
    let outcome = machine.run(move |m| {
        let world = World::boot(m, &options).map_err(|error| error.to_string())?;
        let scene = Scene::new(&world);
        let costs = scene.routes.iter().map(Route::cost).collect();
        scene.end();
        world.shut_down();
        Ok(costs)
    });
    outcome.map_err(|report| report.to_string())?.value
}

/// A host that times opens when it is told to.
struct Clocked {
    ask: Sender<(usize, usize)>,
    told: Receiver<f64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Clocked {
    fn start(image: &Path, is_empty: bool) -> Self {
        let options = host(image, is_empty);
        let (ask, asked) = channel::<(usize, usize)>();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let machine = Machine::builder().watchdog(WATCHDOG);
            let outcome = machine.run(move |m| {
                let world = World::boot(m, &options).map_err(|error| error.to_string())?;
                let scene = Scene::new(&world);
                while let Ok((route, opens)) = asked.recv() {
                    let time = scene.routes[route].time(opens);
                    if tell.send(time).is_err() {
                        break;
                    }
                }
                scene.end();
                world.shut_down();
                Ok(())
            });
            outcome.map_err(|report| report.to_string())?.value
        });
        Self { ask, told, thread }
    }

    fn time(&self, route: usize, opens: usize) -> Result<f64, String> {
        let gone = "a host has ended; see above".to_owned();
        self.ask.send((route, opens)).map_err(|_| gone.clone())?;
        self.told.recv().map_err(|_| gone)
    }

    fn end(self) -> Result<(), String> {
        drop((self.ask, self.told));
        let ended = self.thread.join();
        ended.map_err(|_| "a host panicked; see above".to_owned())?
    }
}

/// The times of a route in each round, in nanoseconds.
#[derive(Clone, Default)]
struct Times {
    empty: Vec<f64>,
    ours: Vec<f64>,
    /// With the filter that does the parts alone.
    parts: Vec<f64>,
}

impl Times {
    /// What a filter adds to the empty one's opens, round by round.
    fn added(&self, with: &[f64]) -> Vec<f64> {
        with.iter().zip(&self.empty).map(|(a, b)| a - b).collect()
    }
}

/// The times of each route, round by round.
fn times(options: &Options) -> Result<Vec<Times>, String> {
    let (rounds, opens) = if options.quick { (5, 200) } else { (15, 2000) };
    let empty = Clocked::start(&options.empty, true);
    let parts = Clocked::start(&options.parts, true);
    let ours = Clocked::start(&options.image, false);
    let mut times = vec![Times::default(); ROUTES.len()];
    for round in 0..rounds {
        for (route, times) in times.iter_mut().enumerate() {
            if route == FIRST {
                continue;
            }
            // Who goes first alternates, so that a busier moment hits all alike.
            if round % 2 == 0 {
                times.empty.push(empty.time(route, opens)?);
            }
            times.ours.push(ours.time(route, opens)?);
            times.parts.push(parts.time(route, opens)?);
            if round % 2 == 1 {
                times.empty.push(empty.time(route, opens)?);
            }
        }
    }
    for host in [empty, parts, ours] {
        host.end()?;
    }
    Ok(times)
}

/// Measures and prints; false where the check fails.
pub fn run(options: &Options) -> Result<bool, String> {
    let empty = costs(&options.empty, true)?;
    let ours = costs(&options.image, false)?;
    println!("{}", load());
    let times = if options.check {
        vec![Times::default(); ROUTES.len()]
    } else {
        times(options)?
    };
    print_routes(&empty, &ours, &times);
    print_steps(&ours);
    if options.functions {
        for (name, cost) in ROUTES.iter().zip(&ours) {
            println!("\n{name}");
            for (functions, n) in &cost.functions {
                println!("{n:6} {functions}");
            }
        }
    }
    let alone = costs(&options.parts, true)?;
    let total = print_parts(&ours, &alone, &times);
    Ok(!options.check || total <= INSTRUCTIONS_MAX)
}

fn print_routes(empty: &[Cost], ours: &[Cost], times: &[Times]) {
    println!(
        "\nWhat siloscan adds to one open (instructions of the driver; times in the filter host)"
    );
    let mut t = table(&[
        "route",
        "instructions",
        "empty filter's",
        "calls into the kernel",
        "open with empty filter ns",
        "siloscan adds ns",
        "middle half",
    ]);
    let pairs = ROUTES.iter().zip(empty.iter().zip(ours)).zip(times);
    for ((name, (empty, ours)), times) in pairs {
        let (mid, low, high) = middle(&times.added(&times.ours));
        let shown = |number: f64| {
            if number.is_nan() {
                String::new()
            } else {
                format!("{number:.0}")
            }
        };
        t.add_row([
            (*name).to_owned(),
            ours.total().saturating_sub(empty.total()).to_string(),
            empty.total().to_string(),
            ours.all_calls()
                .saturating_sub(empty.all_calls())
                .to_string(),
            shown(middle(&times.empty).0),
            shown(mid),
            [low, high].map(shown).join(" .. "),
        ]);
    }
    println!("{t}");
}

fn print_steps(ours: &[Cost]) {
    println!("\nShare of each step: instructions, and calls into the kernel");
    let mut head = vec!["step"];
    head.extend(ROUTES);
    let mut t = table(&head);
    for step in parts::names() {
        let mut row = vec![step.to_owned()];
        row.extend(ours.iter().map(|cost| {
            let calls = cost.calls.get(step).copied().unwrap_or(0);
            let n = cost.step(step);
            let share = 100.0 * n as f64 / cost.total().max(1) as f64;
            format!("{n} ({share:.0} %), {calls}")
        }));
        t.add_row(row);
    }
    println!("{t}");
}

/// A cached open of a package file against the sum of its parts; gives its instructions.
fn print_parts(ours: &[Cost], alone: &[Cost], times: &[Times]) -> u64 {
    let at = ROUTES.iter().position(|name| *name == PACKAGE);
    let part = at.and_then(|at| Some((ours.get(at)?, alone.get(at)?, times.get(at)?)));
    let Some((ours, alone, times)) = part else {
        return u64::MAX;
    };
    let sum = alone.total() + ours.step(parts::CACHE);
    let ratio = ours.total() as f64 / sum.max(1) as f64;
    println!(
        "\nA cached container open against its parts alone \
         (tests/drivers/parts.c and the cache read)\n\
         instructions: {} (held: {INSTRUCTIONS_MAX}) and {sum}, \
         {ratio:.2} times (goal {PARTS_GOAL})\n\
         calls into the kernel: {} and {}",
        ours.total(),
        ours.all_calls(),
        alone.all_calls()
    );
    let ratios: Vec<f64> = times
        .added(&times.ours)
        .iter()
        .zip(times.added(&times.parts))
        .map(|(ours, parts)| ours / parts)
        .collect();
    let (mid, low, high) = middle(&ratios);
    if !mid.is_nan() {
        println!(
            "time added in the filter host: {mid:.2} times ({low:.2} .. {high:.2}), \
             without the cache read"
        );
    }
    ours.total()
}
