//! Container starts on one host: how many scans they ask for, and what a start takes, as the
//! number of containers grows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use filterhost::Machine;
use filterhost::container::{Container, ContainerOptions};
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Volume, raise_file_limit, random_guid};
use filterhost::wcifs::Layer;
use siloscan_service::engine::Engine;
use siloscan_service::rules;
use siloscan_service::warm::{SimulatedTree, warm};
use siloscan_worlds::scene;
use siloscan_worlds::world::World;

use super::{chart, hosts, load, middle, table};

/// A start at a thousand containers may take so many times one at ten.
const GROWTH_MAX: f64 = 1.1;
/// The numbers of containers at which a row is told.
const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Starts that are measured after new signatures, and after a warm-up.
const AFTER: usize = 5;
/// One in so many files is opened twice by a start.
const AGAIN: usize = 5;
const WATCHDOG: Duration = Duration::from_secs(3600);

/// `cargo xtask bench fleet`.
#[derive(Args)]
pub struct Options {
    /// The driver; its PDB lies beside it. `cargo xtask bench` sets it.
    #[arg(long, env = "SILOSCAN_IMAGE", value_name = "FILE")]
    image: PathBuf,
    /// Most containers.
    #[arg(long, default_value_t = 1000)]
    containers: usize,
    /// Package files that each start opens.
    #[arg(long, default_value_t = 5000)]
    files: usize,
    /// Most containers of the systems that scan each file for each container: their starts are
    /// all alike, and take long.
    #[arg(long, default_value_t = 10)]
    others: usize,
    /// A hundred containers instead of a thousand, and three of the others.
    #[arg(long)]
    quick: bool,
    /// Fail where a start at the most containers takes more than 1.1 times one at ten, or a first
    /// start after `warm` asks for a scan.
    #[arg(long)]
    check: bool,
    /// Where the chart goes, as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Instead, so many hosts that share verdicts through Redis, each with one container.
    #[arg(long)]
    hosts: Option<usize>,
}

/// Who decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum System {
    /// One verdict of a package file for all containers.
    Siloscan,
    /// The same driver with `LayerVerdicts` = 1: each open of a package file is scanned.
    NoOptimisation,
    /// The same driver where each container has the files on a volume of its own: keys are the
    /// container's, as in a filter that keeps a table for each volume.
    PerVolume,
}

impl System {
    /// As tables and charts call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Siloscan => "siloscan",
            Self::NoOptimisation => "no optimisation",
            Self::PerVolume => "a cache for each volume",
        }
    }
}

/// What happened before a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing: the first of them finds no verdict.
    Cold,
    /// `siloscan warm` went over the layer, under new signatures.
    Warm,
    /// New signatures came.
    Updated,
}

impl Phase {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "after warm",
            Self::Updated => "after new signatures",
        }
    }
}

/// One start of a container.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Containers that run beside it, itself included.
    pub containers: usize,
    /// Who decides.
    pub system: System,
    /// What came before.
    pub phase: Phase,
    /// How manieth start in this phase at this size it is, from 0.
    pub nth: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Milliseconds of the whole process's processor time.
    pub cpu_ms: f64,
    /// Scans that were asked for.
    pub scans: u64,
}

/// Processor time of this process in milliseconds, in steps of 10.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) * 10.0
}

/// A folder of that many small files that are not alike.
fn generate(folder: &Path, files: usize) -> std::io::Result<()> {
    for number in 0..files {
        let below = folder.join(format!("pkg/d{}", number / 100));
        std::fs::create_dir_all(&below)?;
        let text = format!("MZ package file {number} ").repeat(40);
        std::fs::write(below.join(format!("f{number}.dll")), text)?;
    }
    Ok(())
}

/// The built-in rules and one more, so that each number is a rule set of its own.
fn engine(folder: &Path, number: usize) -> Result<Arc<dyn Engine>, String> {
    let text = format!(
        "rule Update{number} {{ strings: $a = \"update {number} of the bench\" condition: $a }}"
    );
    let below = folder.join(format!("rules{number}"));
    let written = std::fs::create_dir_all(&below)
        .and_then(|()| std::fs::write(below.join("update.yar"), text));
    written.map_err(|cause| format!("cannot write a rule: {cause}"))?;
    let loaded = rules::load(Some(&below));
    match loaded.problems.first() {
        Some(problem) => Err(problem.clone()),
        None => Ok(loaded.engine),
    }
}

/// A host on which containers start.
struct Fleet<'a> {
    world: &'a World,
    system: System,
    layer: Layer,
    folder: PathBuf,
    paths: Arc<Vec<String>>,
    running: Vec<Container>,
    engines: usize,
    starts: Vec<Start>,
}

impl Fleet<'_> {
    fn start(&mut self, phase: Phase, nth: usize) -> Result<(), String> {
        let m = self.world.machine();
        let mut options = ContainerOptions {
            layers: vec![self.layer.clone()],
            container_id: Some(random_guid(m)),
            ..ContainerOptions::default()
        };
        let scratch = Volume::mount_kind(m, FsKind::Ntfs);
        if self.system == System::PerVolume {
            options.layers.clear();
            let imported = scratch.import_folder(r"\", &self.folder);
            imported.map_err(|error| error.to_string())?;
        }
        let scans = self.world.scans();
        let (begun, cpu) = (Instant::now(), cpu_ms());
        let container = Container::start(m, &options, &scratch, Arc::default());
        let (paths, process) = (Arc::clone(&self.paths), container.process("init"));
        let opened = process.run(move |p| {
            let open = |path: &String| p.open(&OpenOptions::new(path).execute())?.close();
            let again = paths.iter().step_by(AGAIN);
            paths.iter().chain(again).try_for_each(open)
        });
        opened.map_err(|status| format!("a clean file does not open: {status:?}"))?;
        process.exit();
        self.running.push(container);
        self.starts.push(Start {
            containers: self.running.len(),
            system: self.system,
            phase,
            nth,
            ms: begun.elapsed().as_secs_f64() * 1000.0,
            cpu_ms: cpu_ms() - cpu,
            scans: self.world.scans() - scans,
        });
        Ok(())
    }

    fn new_signatures(&mut self, rules: &Path) -> Result<(), String> {
        self.engines += 1;
        self.world.use_engine(engine(rules, self.engines)?);
        Ok(())
    }

    fn warm(&self) -> Result<(), String> {
        let helper = self.world.process("siloscan");
        helper.set_drive('C', &self.layer.volume);
        let tally = helper.run(|p| {
            warm(&SimulatedTree(p), &r"C:\pkg".to_owned(), |_, _| {}).map_err(|e| e.to_string())
        })?;
        helper.exit();
        if tally.exit_code() == 0 {
            Ok(())
        } else {
            Err(format!("warming failed: {tally:?}"))
        }
    }

    /// Grows to each size in turn; at each, starts after new signatures and after a warm-up. What
    /// starts there ends again, so that the size stays.
    fn grow(&mut self, sizes: &[usize], rules: &Path) -> Result<(), String> {
        for &size in sizes {
            while self.running.len() < size {
                self.start(Phase::Cold, self.running.len())?;
            }
            for phase in [Phase::Updated, Phase::Warm] {
                self.new_signatures(rules)?;
                if phase == Phase::Warm {
                    self.warm()?;
                }
                let count = if self.system == System::Siloscan {
                    AFTER
                } else {
                    1
                };
                for nth in 0..count {
                    self.start(phase, nth)?;
                    if let Some(container) = self.running.pop() {
                        container.destroy();
                    }
                }
            }
            eprintln!("{}: {size} containers", self.system.name());
        }
        Ok(())
    }
}

/// All starts of one system on a host of its own.
fn measure(
    options: &Options,
    system: System,
    sizes: Vec<usize>,
    folder: &Path,
) -> Result<Vec<Start>, String> {
    let mut host = scene::with_image(options.image.clone());
    if system == System::NoOptimisation {
        host.parameters.push(("LayerVerdicts".to_owned(), 1));
    }
    let (folder, files) = (folder.to_owned(), options.files);
    let machine = Machine::builder().watchdog(WATCHDOG);
    let outcome = machine.run(move |m| {
        let package = folder.join("layer");
        let volume = Volume::mount_kind(m, FsKind::Ntfs);
        let imported = volume.import_folder(r"\", &package);
        imported.map_err(|error| error.to_string())?;
        let world = World::boot(m, &host).map_err(|error| error.to_string())?;
        let layer = Layer {
            volume,
            root: r"\".to_owned(),
            registered: false,
            remote: false,
        };
        let path = |number| format!(r"C:\pkg\d{}\f{number}.dll", number / 100);
        let mut fleet = Fleet {
            world: &world,
            system,
            layer,
            folder: package,
            paths: Arc::new((0..files).map(path).collect()),
            running: Vec::new(),
            engines: 0,
            starts: Vec::new(),
        };
        fleet.grow(&sizes, &folder)?;
        for container in &fleet.running {
            container.destroy();
        }
        let starts = std::mem::take(&mut fleet.starts);
        world.shut_down();
        Ok(starts)
    });
    outcome.map_err(|report| report.to_string())?.value
}

/// Starts at one size: cold ones near it, or those of a phase there.
fn near(starts: &[Start], system: System, phase: Phase, size: usize) -> Vec<Start> {
    let from = if phase == Phase::Cold {
        size.saturating_sub(9).max(size.min(2))
    } else {
        size + 1
    };
    let to = if phase == Phase::Cold { size } else { size + 1 };
    starts
        .iter()
        .filter(|s| s.system == system && s.phase == phase)
        .filter(|s| (from..=to).contains(&s.containers))
        .copied()
        .collect()
}

/// Measures and prints; false where the check fails.
pub fn run(options: &Options) -> Result<bool, String> {
    if let Some(hosts) = options.hosts {
        let files = if options.quick { 50 } else { options.files };
        let held = hosts::run(&options.image, hosts, files)?;
        return Ok(held || !options.check);
    }
    raise_file_limit().map_err(|cause| format!("cannot raise the limit of open files: {cause}"))?;
    let folder = tempfile::tempdir().map_err(|cause| format!("no temporary folder: {cause}"))?;
    generate(&folder.path().join("layer"), options.files)
        .map_err(|cause| format!("cannot make the layer: {cause}"))?;
    let most = if options.quick {
        options.containers.min(100)
    } else {
        options.containers
    };
    let others = if options.quick {
        options.others.min(3)
    } else {
        options.others
    };
    let sizes = |most: usize| -> Vec<usize> {
        let mut sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size < most).collect();
        sizes.push(most);
        sizes
    };
    println!("{}", load());
    let mut starts = measure(options, System::Siloscan, sizes(most), folder.path())?;
    if others > 0 {
        for system in [System::NoOptimisation, System::PerVolume] {
            starts.extend(measure(options, system, sizes(others), folder.path())?);
        }
    }
    println!("{}", load());
    print(&starts, options.files, &sizes(most));
    if let Some(path) = &options.chart {
        std::fs::write(path, chart::render(&starts, options.files))
            .map_err(|cause| format!("cannot write {}: {cause}", path.display()))?;
    }
    let holds = judge(&starts, most);
    Ok(holds || !options.check)
}

fn print(starts: &[Start], files: usize, sizes: &[usize]) {
    let opens = files + files.div_ceil(AGAIN);
    println!("\nStarts of a container: {files} package files, {opens} opens each");
    let mut t = table(&[
        "system",
        "before",
        "containers",
        "scans of the first",
        "scans of a later one",
        "ms a start",
        "middle half",
        "CPU ms a start",
    ]);
    for system in [System::Siloscan, System::NoOptimisation, System::PerVolume] {
        for phase in [Phase::Cold, Phase::Updated, Phase::Warm] {
            for &size in sizes {
                let near = near(starts, system, phase, size);
                let first = starts.iter().find(|s| {
                    s.system == system
                        && s.phase == phase
                        && s.nth == 0
                        && (phase == Phase::Cold || s.containers == size + 1)
                });
                let (Some(first), false) = (first, near.is_empty()) else {
                    continue;
                };
                let later: Vec<_> = near.iter().filter(|s| s.nth > 0).collect();
                let of = |value: fn(&Start) -> f64| {
                    let all: Vec<f64> = if later.is_empty() {
                        near.iter().map(value).collect()
                    } else {
                        later.iter().map(|s| value(s)).collect()
                    };
                    middle(&all)
                };
                let (ms, low, high) = of(|s| s.ms);
                let scans = later.iter().map(|s| s.scans).max();
                t.add_row([
                    system.name().to_owned(),
                    phase.name().to_owned(),
                    size.to_string(),
                    first.scans.to_string(),
                    scans.map_or_else(String::new, |scans| scans.to_string()),
                    format!("{ms:.0}"),
                    format!("{low:.0} .. {high:.0}"),
                    format!("{:.0}", of(|s| s.cpu_ms).0),
                ]);
            }
        }
    }
    println!("{t}");
}

/// Says whether the promises hold.
fn judge(starts: &[Start], most: usize) -> bool {
    let cold = |size, value: fn(&Start) -> f64| {
        let near = near(starts, System::Siloscan, Phase::Cold, size);
        middle(&near.iter().map(value).collect::<Vec<f64>>()).0
    };
    let time = cold(most, |s| s.ms) / cold(10, |s| s.ms);
    let cpu = cold(most, |s| s.cpu_ms) / cold(10, |s| s.cpu_ms);
    let warm = starts
        .iter()
        .filter(|s| s.system == System::Siloscan && s.phase == Phase::Warm)
        .map(|s| s.scans)
        .max();
    println!(
        "\nA start at {most} containers takes {time:.2} times one at 10 (at most {GROWTH_MAX}); \
         its CPU time {cpu:.2} times"
    );
    println!("Most scans of a start after warm: {}", warm.unwrap_or(0));
    time <= GROWTH_MAX && warm == Some(0)
}
