//! Whole worlds from a seed: a host, a layer, containers and users who work on the same files,
//! malware that is written, hidden, cut free, renamed and mapped into place, signatures that are
//! updated, a service that comes and goes. An oracle apart from the driver judges every open.

pub mod actor;
pub mod oracle;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use filterhost::user::Task;
use filterhost::wcifs::EcpVariant;
use filterhost::{Container, Mode, machine};
use siloscan_service::engine::{Digest, Engine, EngineError, Finding, Scanner};

use crate::scene;
use crate::world::{World, WorldOptions};
use actor::{Actor, PACKAGE, create};
use oracle::{Figures, Oracle, Place, Space};

/// What a world is made of; smaller plans make shorter stories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// Users in containers, one container each.
    pub containers: usize,
    /// Users on the host: the first works on the host's own files, others on the layer's.
    pub users: usize,
    /// What each of them does, in number.
    pub deeds: usize,
    /// Updates of the signatures, and restarts of the service.
    pub upsets: usize,
}

impl Plan {
    /// The world of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        Self {
            seed,
            containers: dice.usize(1..4),
            users: dice.usize(1..4),
            deeds: dice.usize(8..25),
            upsets: dice.usize(..4),
        }
    }

    /// Plans that are a little smaller.
    fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut plan = *self;
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        add(&|plan| plan.deeds = plan.deeds.div_ceil(2));
        add(&|plan| plan.containers = plan.containers.saturating_sub(1));
        add(&|plan| plan.users = plan.users.saturating_sub(1));
        add(&|plan| plan.upsets = 0);
        add(&|plan| plan.deeds = plan.deeds.saturating_sub(1).max(1));
        plans
    }
}

/// A world that went wrong: the smallest plan that still does, why, and what happened.
#[derive(Debug)]
pub struct Broken {
    /// The plan.
    pub plan: Plan,
    /// What the checkers said.
    pub why: String,
    /// What happened until then.
    pub story: Vec<String>,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}\n", self.plan)?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "\n{}", self.why)
    }
}

/// Runs the world of a plan, its threads in the order of the plan's seed.
///
/// # Errors
/// What went wrong, not made smaller.
pub fn run(plan: &Plan, options: &WorldOptions) -> Result<(Figures, u64), Broken> {
    run_in(Mode::Seeded(plan.seed), plan, options)
}

/// The same with threads that really run at once, where `mode` says so.
///
/// # Errors
/// What went wrong, not made smaller.
pub fn run_in(mode: Mode, plan: &Plan, options: &WorldOptions) -> Result<(Figures, u64), Broken> {
    let oracle = Arc::new(Oracle::default());
    let (own, plan, options) = (Arc::clone(&oracle), *plan, armed(options));
    let played = catch_unwind(AssertUnwindSafe(|| {
        filterhost::Machine::builder()
            .scheduler(mode)
            .run(move |m| {
                let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
                let world = Arc::new(world);
                play(&world, &plan, &own);
                world.shut_down();
            })
    }));
    let why = match played {
        Ok(Ok(outcome)) => return Ok((oracle.figures(), outcome.trace_hash)),
        Ok(Err(report)) => report.to_string(),
        Err(panic) => words(&*panic),
    };
    Err(Broken {
        plan,
        why,
        story: oracle.story(),
    })
}

/// Runs the world of a seed; where it goes wrong, looks for a smaller one that does too.
///
/// # Errors
/// The smallest that was found.
pub fn check(seed: u64, options: &WorldOptions) -> Result<Figures, Box<Broken>> {
    let mut broken = match run(&Plan::of(seed), options) {
        Ok((figures, _)) => return Ok(figures),
        Err(broken) => broken,
    };
    loop {
        let plans = broken.plan.smaller();
        let smaller = plans.iter().find_map(|plan| run(plan, options).err());
        match smaller {
            Some(smaller) => broken = smaller,
            None => return Err(Box::new(broken)),
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// What cannot be scanned is refused, so that no open of infected bytes has an excuse.
fn armed(options: &WorldOptions) -> WorldOptions {
    let mut options = options.clone();
    for name in ["OnFailure", "OnEvasion"] {
        let deny = if name == "OnFailure" { 1 } else { 2 };
        options.parameters.push((name.to_owned(), deny));
    }
    options.engine = options.engine.map(|engine| update(engine, 0));
    options
}

fn play(world: &Arc<World>, plan: &Plan, oracle: &Arc<Oracle>) {
    let mut dice = Rng::with_seed(plan.seed ^ 0x5170_5CA7);
    let layer = scene::layer(world);
    let host = world.process("image pull");
    host.set_drive('L', &layer.volume);
    let own = Arc::clone(oracle);
    let mut first = dice.fork();
    host.run(move |p| lay_down(p, &own, &mut first));
    let variant = variant(&mut dice);
    oracle.tell("the container filter answers", &variant);
    let containers = scene::containers(world, &layer, plan.containers, variant);
    let mut tasks = Vec::new();
    for (number, container) in containers.iter().enumerate() {
        let actor = (
            Space::Container(number),
            'C',
            container.process("container"),
        );
        tasks.push(start(oracle, plan, actor, dice.fork()));
    }
    for user in 0..plan.users {
        let (space, drive) = match user {
            0 => (Space::Host, 'C'),
            _ => (Space::Layer, 'L'),
        };
        let process = world.process("user");
        process.set_drive('L', &layer.volume);
        tasks.push(start(oracle, plan, (space, drive, process), dice.fork()));
    }
    let upsets = upset(world, plan.upsets, oracle, dice.fork());
    tasks.into_iter().for_each(Task::join);
    upsets.join();
    containers.iter().for_each(Container::destroy);
}

fn lay_down(p: &filterhost::user::Process, oracle: &Oracle, dice: &mut Rng) {
    for path in PACKAGE {
        let place = Place {
            space: Space::Layer,
            path: path.to_owned(),
        };
        let bytes = format!("MZ package {:x}", dice.u64(..)).into_bytes();
        oracle.begin(&[&place]);
        let now = create(p, &format!("L:{path}"), &bytes);
        oracle.end(&[(&place, now)]);
    }
}

fn variant(dice: &mut Rng) -> EcpVariant {
    let some = [
        EcpVariant::default(),
        EcpVariant::COPY_AT_OPEN,
        EcpVariant::OR_FLAGS | EcpVariant::KEEP_IDS,
        EcpVariant::REPARSE | EcpVariant::STALE_ANSWER,
        EcpVariant::ZERO_IDS,
        EcpVariant::SILENT,
    ];
    *dice.choice(&some).unwrap_or(&some[0])
}

fn start(
    oracle: &Arc<Oracle>,
    plan: &Plan,
    (space, drive, process): (Space, char, filterhost::user::Process),
    dice: Rng,
) -> Task<()> {
    let mut actor = Actor {
        oracle: Arc::clone(oracle),
        space,
        drive,
        dice,
    };
    let deeds = plan.deeds;
    let name = match space {
        Space::Host => "host".to_owned(),
        Space::Layer => "layer".to_owned(),
        Space::Container(number) => format!("container {number}"),
    };
    process.spawn(&name, move |p| actor.work(p, deeds))
}

/// Updates of the signatures and restarts of the service, while everybody works.
fn upset(world: &Arc<World>, count: usize, oracle: &Arc<Oracle>, mut dice: Rng) -> Task<()> {
    let (own, oracle) = (Arc::clone(world), Arc::clone(oracle));
    world.process("admin").spawn("admin", move |_| {
        for number in 1..=count {
            let pause = dice.u64(1..40);
            machine::current()
                .sched()
                .sleep(Duration::from_millis(pause));
            let engine = update(siloscan_service::rules::load(None).engine, number);
            if dice.bool() {
                oracle.tell("updates the signatures", &number);
                if let Some(service) = own.service() {
                    service.use_engine(engine);
                }
            } else {
                oracle.tell("restarts the service", &number);
                own.stop_service();
                own.start_service(engine, dice.usize(1..4));
            }
        }
    })
}

/// The engine as another rule set of the same rules, whose scans take their time.
fn update(engine: Arc<dyn Engine>, number: usize) -> Arc<dyn Engine> {
    Arc::new(Slow { engine, number })
}

struct Slow {
    engine: Arc<dyn Engine>,
    number: usize,
}

impl Engine for Slow {
    fn digest(&self) -> Digest {
        let mut digest = self.engine.digest();
        for (byte, more) in digest.0.iter_mut().zip(self.number.to_le_bytes()) {
            *byte ^= more;
        }
        digest
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(SlowScanner(self.engine.scanner()))
    }
}

struct SlowScanner<'a>(Box<dyn Scanner + 'a>);

impl Scanner for SlowScanner<'_> {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let found = self.0.scan(bytes, limit);
        if let Some((m, _)) = machine::try_current() {
            let pause = m.sched().random() % 4_000;
            m.sched().sleep(Duration::from_micros(pause));
        }
        found
    }
}
