//! A soak: requests at full speed while workers are killed, stopped and made to eat memory, rule
//! sets change and requests are stopped. What must hold: one answer for each request, no "clean"
//! for an infected file, and nothing that grows.
//!
//! What may go wrong: a worker ends at any moment; a worker stands still; a worker wants all
//! memory; a rule set takes the place of another with scans under way; a request is not wanted any
//! more.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::{EngineKind, eicar_test_file};
use siloscan_service::settings::Settings;
use siloscan_service::worker::{WorkerSettings, Workers};

use super::Running;
use super::driver::{Answer, Bytes};
use super::engine::{EAT, Hungry};
use super::process::{self, Holdings};

/// Requests under way at one time.
const UNDER_WAY: usize = 64;
/// The driver's deadline for each: one that hangs holds a thread for seven eighths of it.
const DEADLINE_MS: u32 = 2_000;
/// Memory of a worker, in bytes: an eater is not to take the machine's.
const WORKER_BYTES: u64 = 512 << 20;
/// How long a worker may take to make its engine. One that is stopped while it does so is replaced
/// after that; a product waits longer.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How long what was let go may take to be gone.
const PATIENCE: Duration = Duration::from_mins(1);
/// Found in any file by the soak's own rule.
const NEEDLE: &[u8] = b"the needle of the soak";

/// What a request is known by.
const CLEAN: u32 = 0;
const INFECTED: u32 = 1;
const EATER: u32 = 2;

/// How a soak is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests in all.
    pub requests: u64,
    /// It ends earlier when this is over.
    pub time_max: Duration,
    /// One seed is one sequence of files and deeds; when they meet a scan is the machine's to say.
    pub seed: u64,
    /// One deed in so many requests, on average.
    pub deed_every: u64,
    /// Scanning threads.
    pub threads: usize,
    /// How workers are started.
    pub workers: WorkerSettings,
}

/// What was done, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Requests that were asked.
    pub requests: u64,
    /// Those that were answered.
    pub answers: u64,
    /// Answers "clean", "infected" and without a verdict.
    pub verdicts: [u64; 3],
    /// Workers killed, workers stopped, eaters asked about, rule sets changed, requests stopped.
    pub deeds: [u64; 5],
    /// Workers that the service counted as crashed and as hung.
    pub ended: [u64; 2],
    /// What the process had after the first tenth, and at the end.
    pub held: Option<(Holdings, Holdings)>,
    /// Its resident memory then, in KiB.
    pub resident_kib: (u64, u64),
    /// How long it took.
    pub time: Duration,
    /// Promises that were broken, one sentence each.
    pub broken: Vec<String>,
}

struct Soak {
    plan: Plan,
    rng: Rng,
    running: Running,
    rules: [tempfile::TempDir; 2],
    clean: Vec<Bytes>,
    infected: Vec<Bytes>,
    /// Workers that stand still: nobody else is to end them.
    frozen: Vec<i32>,
    done: Done,
}

/// Runs it.
///
/// # Errors
/// When it cannot begin: no folder for rules, no worker.
pub fn run(plan: Plan) -> Result<Done, String> {
    let rules = [rule_set(0)?, rule_set(1)?];
    let settings = Settings {
        threads: plan.threads,
        idle: Duration::from_millis(20),
        ..Settings::default()
    };
    let workers = start(&plan, rules[0].path())?;
    let mut rng = Rng::with_seed(plan.seed);
    let mut soak = Soak {
        running: Running::start(workers, settings)?,
        clean: (0..48).map(|_| clean_file(&mut rng)).collect(),
        infected: infected_files(&mut rng),
        rng,
        rules,
        plan,
        frozen: Vec::new(),
        done: Done::default(),
    };
    let begun = Instant::now();
    soak.play(begun)?;
    let mut done = soak.done;
    done.time = begun.elapsed();
    let figures = soak.running.service.figures();
    done.ended = [figures.workers_crashed, figures.workers_hung];
    done.broken.extend(soak.running.finish()?);
    if done.requests != done.answers {
        let (asked, answered) = (done.requests, done.answers);
        let cause = format!("{asked} requests have {answered} answers");
        done.broken.push(cause);
    }
    Ok(done)
}

impl Soak {
    fn play(&mut self, begun: Instant) -> Result<(), String> {
        let first = (self.plan.requests / 10).max(1);
        let mut before = None;
        while self.done.requests < self.plan.requests && begun.elapsed() < self.plan.time_max {
            if self.done.requests == first {
                before = Some(self.rest(None));
            }
            if self.rng.u64(0..self.plan.deed_every.max(1)) == 0 {
                self.deed()?;
            }
            self.running.driver.wait_below(UNDER_WAY);
            let infected = self.rng.u8(0..8) == 0;
            let files = if infected {
                &self.infected
            } else {
                &self.clean
            };
            let at = self.rng.usize(0..files.len());
            let (file, tag) = (
                Arc::clone(&files[at]),
                if infected { INFECTED } else { CLEAN },
            );
            self.ask(&file, tag);
            if self.done.requests.is_multiple_of(1024) {
                self.judge();
            }
        }
        if let Some((held, resident)) = before {
            let (now, resident_now) = self.rest(Some(held));
            self.done.held = Some((held, now));
            self.done.resident_kib = (resident, resident_now);
            if now != held {
                let cause = format!("what the process has grew: {held:?}, then {now:?}");
                self.done.broken.push(cause);
            }
        } else {
            self.rest(None);
        }
        Ok(())
    }

    fn ask(&mut self, file: &Bytes, tag: u32) -> u64 {
        self.done.requests += 1;
        self.running.driver.ask(file, tag, DEADLINE_MS)
    }

    /// Something goes wrong.
    fn deed(&mut self) -> Result<(), String> {
        let children = process::children();
        self.frozen.retain(|child| children.contains(child));
        let moves = |child: &i32| !self.frozen.contains(child);
        let moving: Vec<i32> = children.into_iter().filter(moves).collect();
        let child = self.rng.choice(&moving).copied();
        let deed = match self.rng.u8(0..20) {
            0..10 => 0,
            10..12 => 1,
            12..14 => 2,
            14 => 3,
            _ => 4,
        };
        match (deed, child) {
            (0, Some(child)) => process::signal(child, Signal::KILL),
            (1, Some(child)) => {
                process::signal(child, Signal::STOP);
                self.frozen.push(child);
            }
            (2, _) => {
                // Each is another one: a known killer is not scanned.
                let eater = [EAT, &self.done.requests.to_le_bytes()].concat();
                self.ask(&eater.into(), EATER);
            }
            (3, _) => {
                let next = usize::from(self.done.deeds[3].is_multiple_of(2));
                let workers = start(&self.plan, self.rules[next].path())?;
                self.running.service.use_engine(workers);
            }
            (4, _) => {
                let file = Arc::clone(&self.clean[0]);
                let request = self.ask(&file, CLEAN);
                self.running.driver.stop(request);
            }
            _ => return Ok(()),
        }
        self.done.deeds[deed] += 1;
        Ok(())
    }

    /// Holds every answer against the file that was asked about.
    fn judge(&mut self) {
        for Answer {
            tag,
            verdict,
            detail,
            ..
        } in self.running.driver.take()
        {
            self.done.answers += 1;
            let at = match verdict {
                WireVerdict::CLEAN => 0,
                WireVerdict::INFECTED => 1,
                _ => 2,
            };
            self.done.verdicts[at] += 1;
            let wrong = match (tag, at) {
                (INFECTED | EATER, 0) => Some("clean"),
                (CLEAN | EATER, 1) => Some("infected"),
                _ => None,
            };
            if let Some(said) = wrong {
                let kind = ["clean", "infected", "eating"][tag as usize % 3];
                let cause = format!("a file that is {kind} was called {said} ({detail})");
                self.done.broken.push(cause);
            }
        }
    }

    /// Waits until nothing is under way and every worker is idle, and looks at what the process
    /// has: until it is `wanted`, or patience is over.
    fn rest(&mut self, wanted: Option<Holdings>) -> (Holdings, u64) {
        self.running.driver.wait_below(1);
        self.judge();
        let end = Instant::now() + PATIENCE;
        loop {
            // Threads let go of a rule set when they look up, and workers end after that.
            thread::sleep(Duration::from_millis(200));
            self.running.settle();
            let held = process::holdings();
            let expected = self.plan.workers.count == held.children;
            let same = wanted.is_none_or(|wanted| wanted == held);
            if (expected && same) || Instant::now() > end {
                return (held, process::status_kib("self", "VmRSS"));
            }
        }
    }
}

fn start(plan: &Plan, rules: &Path) -> Result<Arc<Workers>, String> {
    let settings = WorkerSettings {
        memory_bytes_max: WORKER_BYTES,
        start_time_max: START_TIME_MAX,
        ..plan.workers.clone()
    };
    let packed = Hungry.pack(Some(rules));
    if let Some(problem) = packed.problems.first() {
        return Err(problem.clone());
    }
    Workers::start(packed, settings).map_err(|cause| cause.to_string())
}

/// A folder with the soak's rule, and one that makes the set another one.
fn rule_set(number: u8) -> Result<tempfile::TempDir, String> {
    let needle = String::from_utf8_lossy(NEEDLE);
    let text = format!(
        "rule Needle {{ strings: $n = \"{needle}\" condition: $n }}\n\
         rule Set{number} {{ strings: $s = \"set {number} of the soak\" condition: $s }}\n"
    );
    let make = || {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("soak.yar"), &text)?;
        Ok(folder)
    };
    make().map_err(|cause: std::io::Error| format!("cannot write the soak's rules: {cause}"))
}

/// Bytes without a meaning, up to 256 KiB of them and mostly few.
fn clean_file(rng: &mut Rng) -> Bytes {
    let size = 1_usize << rng.u32(0..19);
    (0..size).map(|_| rng.u8(..)).collect()
}

fn infected_files(rng: &mut Rng) -> Vec<Bytes> {
    let mut files: Vec<Bytes> = vec![Arc::from(eicar_test_file().as_slice())];
    for size in [0, 1_000, 100_000] {
        let before: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        files.push([before.as_slice(), NEEDLE].concat().into());
    }
    files
}
