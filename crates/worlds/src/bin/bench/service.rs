//! The service against its engine alone, and under more requests than it can take at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use fastrand::Rng;
use parking_lot::Mutex;
use siloscan_core::limits::FLIGHTS;
use siloscan_core::wire::WireVerdict;
use siloscan_service::engine::{Engine, EngineKind, Yara};
use siloscan_service::rules::{Loaded, load as load_rules};
use siloscan_service::settings::Settings;
use siloscan_service::worker::Workers;
use siloscan_worlds::load::driver::Bytes;
use siloscan_worlds::load::soak::{self, Plan};
use siloscan_worlds::load::{Running, own_workers, process};

use super::{load, middle, rules, table};

/// The service is to reach this part of what the engine reaches alone.
const SHARE_MIN: f64 = 0.9;
const SIZES: [usize; 4] = [4 << 10, 64 << 10, 1 << 20, 16 << 20];
const THREADS: [usize; 3] = [1, 2, 4];
/// How long the engine alone is to take for a round, in seconds.
const ROUND_S: f64 = 0.25;
const DEADLINE_MS: u32 = 120_000;
/// Requests that the driver's side has under way: each of so many processes opens a file.
const UNDER_WAY: usize = 64;
const BURST: usize = 10_000;
/// Memory for copies in a burst, in bytes.
const BURST_COPIES: u64 = 8 << 20;

/// `cargo xtask bench service`.
#[derive(Args)]
pub struct Options {
    /// Three rounds instead of nine, and two threads alone.
    #[arg(long)]
    quick: bool,
    /// Fail where the service, with the large set of rules, reaches less than nine tenths of the
    /// engine alone, or where it loses a request or has more memory for copies than it may.
    #[arg(long)]
    check: bool,
    /// Measure with the rules of this folder, in place of the bench's own large set.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Measure only files of this size, in KiB.
    #[arg(long, value_name = "KIB")]
    size: Option<usize>,
    /// Measure only with so many threads.
    #[arg(long)]
    threads: Option<usize>,
    /// Only the soak: a day's requests, with workers being killed.
    #[arg(long)]
    soak: bool,
    /// Requests of the soak; without it, those of a day.
    #[arg(long, default_value_t = 220_000)]
    requests: u64,
    /// The soak ends after so many minutes at the latest.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// What the soak's dice begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures and prints; false where the check fails.
pub fn run(options: &Options) -> Result<bool, String> {
    println!("{}", load());
    let holds = if options.soak {
        soak(options)?
    } else {
        let no_rules = |cause: std::io::Error| format!("cannot write rules: {cause}");
        let few = rules::few().map_err(no_rules)?;
        let many = rules::many().map_err(no_rules)?;
        let many = options.rules.as_deref().unwrap_or(many.path());
        let fast = throughput(options, many)?;
        // What is left where the engine has next to nothing to do: told, and not judged.
        throughput(options, few.path())?;
        let flood = burst(few.path(), "a bare flood", BURST)?;
        let bounded = burst(few.path(), "as many as the driver asks", FLIGHTS)?;
        fast && flood && bounded
    };
    println!("{}", load());
    Ok(holds || (!options.check && !options.soak))
}

/// A file that begins as a program does, is part text, part noise, and clean.
fn file(size: usize) -> Bytes {
    let mut rng = Rng::with_seed(size as u64);
    let mut bytes = Vec::with_capacity(size);
    // Most rules of the field look at nothing else.
    bytes.extend_from_slice(b"MZ\x90\0");
    while bytes.len() < size {
        if rng.bool() {
            bytes.extend_from_slice(b"This program cannot be run in DOS mode. kernel32.dll\r\n");
        } else {
            bytes.extend((0..64).map(|_| rng.u8(..)));
        }
    }
    bytes.truncate(size);
    bytes.into()
}

/// Seconds for `count` scans of `file` by the engine alone, on `threads` threads.
fn alone(engine: &dyn Engine, file: &Bytes, threads: usize, count: usize) -> f64 {
    let left = AtomicUsize::new(count);
    let take = || {
        let less = |left: usize| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    };
    let ready = std::sync::Barrier::new(threads);
    // Each notes its own beginning: a thread that only looked on could look when all is over.
    let begun = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut scanner = engine.scanner();
                // What an engine makes at its first scan, a worker makes before its first one.
                let _clean = scanner.scan(&[], None);
                ready.wait();
                begun.lock().get_or_insert_with(Instant::now);
                while take() {
                    let _clean = scanner.scan(file, None);
                }
            });
        }
    });
    begun
        .into_inner()
        .map_or(0.0, |begun| begun.elapsed().as_secs_f64())
}

/// The same by the service.
fn served(running: &Running, file: &Bytes, count: usize) -> Result<f64, String> {
    let begun = Instant::now();
    running.driver.ask_all(file, count, UNDER_WAY, DEADLINE_MS);
    let time = begun.elapsed().as_secs_f64();
    let answers = running.driver.take();
    let clean = |verdict| verdict == WireVerdict::CLEAN;
    if answers.len() == count && answers.iter().all(|answer| clean(answer.verdict)) {
        Ok(time)
    } else {
        Err(format!(
            "a clean file was not called clean: {:?}",
            answers.first()
        ))
    }
}

fn throughput(options: &Options, rules: &Path) -> Result<bool, String> {
    let rounds = if options.quick { 3 } else { 9 };
    let Loaded { engine, problems } = load_rules(Some(rules));
    let (count, out) = (engine.rule_count(), problems.len());
    println!("\nScans a second: {count} rules ({out} files left out), {rounds} rounds in turn");
    let mut t = table(&[
        "size",
        "threads",
        "engine",
        "service",
        "service / engine",
        "spread",
    ]);
    let mut holds = true;
    let only = options.threads.or(options.quick.then_some(2));
    for threads in only.map_or_else(|| THREADS.to_vec(), |threads| vec![threads]) {
        let settings = Settings {
            threads,
            ..Settings::default()
        };
        let workers = Workers::start(Yara.pack(Some(rules)), own_workers(&[], threads)?);
        let workers = workers.map_err(|cause| cause.to_string())?;
        let running = Running::start(workers, settings)?;
        let only = options.size.map(|kib| vec![kib << 10]);
        for size in only.unwrap_or_else(|| SIZES.to_vec()) {
            let file = file(size);
            let first = alone(&*engine, &file, threads, 2 * threads) / (2 * threads) as f64;
            let count = ((ROUND_S / first.max(1e-7)) as usize).max(2 * threads);
            // Every worker has scanned before it is measured.
            served(&running, &file, 4 * threads)?;
            let mut figures = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let engine = alone(&*engine, &file, threads, count);
                let service = served(&running, &file, count)?;
                figures.0.push(count as f64 / engine);
                figures.1.push(count as f64 / service);
                figures.2.push(engine / service);
            }
            let (share, low, high) = middle(&figures.2);
            holds &= share >= SHARE_MIN;
            t.add_row([
                format!("{} KiB", size >> 10),
                threads.to_string(),
                format!("{:.0}", middle(&figures.0).0),
                format!("{:.0}", middle(&figures.1).0),
                format!("{share:.2}"),
                format!("{low:.2} .. {high:.2}"),
            ]);
        }
        running.finish()?;
    }
    println!("{t}");
    Ok(holds)
}

/// Ten thousand requests, at most `under_way` of them at one time.
fn burst(rules: &Path, name: &str, under_way: usize) -> Result<bool, String> {
    let threads = 2;
    let settings = Settings {
        threads,
        memory_bytes_max: BURST_COPIES,
        file_bytes_max: BURST_COPIES,
        ..Settings::default()
    };
    let workers = Workers::start(Yara.pack(Some(rules)), own_workers(&[], threads)?);
    let running = Running::start(workers.map_err(|cause| cause.to_string())?, settings)?;
    let files = [file(4 << 10), file(64 << 10), file(4 << 20)];
    process::forget_peak().map_err(|cause| format!("cannot measure memory: {cause}"))?;
    let before = process::status_kib("self", "VmRSS");
    running.driver.watch_copies();
    let begun = Instant::now();
    for number in 0..BURST {
        // One in a thousand is large: only two of them fit into the memory for copies.
        let file = match number % 1000 {
            0 => &files[2],
            n => &files[n % 2],
        };
        running.driver.wait_below(under_way);
        running.driver.ask(file, 0, DEADLINE_MS);
    }
    running.driver.wait_below(1);
    let time = begun.elapsed();
    let answers = running.driver.take();
    let (peak, most) = (
        process::status_kib("self", "VmHWM"),
        running.driver.most_copied(),
    );
    let kept = process::kept();
    let worker = |id: &i32| process::status_kib(&id.to_string(), "VmHWM");
    let workers = process::children().iter().map(worker).max().unwrap_or(0);
    let broken = running.finish()?;
    let many = |verdict| answers.iter().filter(|a| a.verdict == verdict).count();
    let (clean, busy) = (many(WireVerdict::CLEAN), many(WireVerdict::ERROR));
    println!("\n{BURST} requests, {name} (at most {under_way} at one time): {time:.1?}");
    println!("answers: {}, clean {clean}, error {busy}", answers.len());
    let mut times: Vec<Duration> = answers
        .iter()
        .filter(|answer| answer.verdict == WireVerdict::CLEAN)
        .map(|answer| answer.time)
        .collect();
    times.sort();
    let at = |part: usize| times.get((times.len() * part / 1000).min(times.len() - 1));
    if !times.is_empty() {
        println!(
            "latency of the clean: half {:.1?}, 95 % {:.1?}, 99 % {:.1?}, all {:.1?}",
            at(500).copied().unwrap_or_default(),
            at(950).copied().unwrap_or_default(),
            at(990).copied().unwrap_or_default(),
            at(1000).copied().unwrap_or_default()
        );
    }
    println!(
        "memory: this process {before} KiB before, {peak} KiB at its peak; a worker {workers} KiB; \
         copies at most {} KiB of {} KiB, and {} KiB that stay with the workers",
        most >> 10,
        BURST_COPIES >> 10,
        kept >> 10
    );
    broken.iter().for_each(|cause| println!("broken: {cause}"));
    let all_clean = under_way == BURST || clean == BURST;
    Ok(broken.is_empty() && answers.len() == BURST && most <= BURST_COPIES && all_clean)
}

fn soak(options: &Options) -> Result<bool, String> {
    let threads = 2;
    let done = soak::run(Plan {
        requests: options.requests,
        time_max: Duration::from_secs_f64(options.minutes * 60.0),
        seed: options.seed,
        deed_every: 300,
        threads,
        workers: own_workers(&[], threads)?,
    })?;
    let [clean, infected, none] = done.verdicts;
    let [killed, stopped, eaters, sets, withdrawn] = done.deeds;
    println!(
        "{} requests, {} answers in {:.0?}: {clean} clean, {infected} infected, {none} without a \
         verdict",
        done.requests, done.answers, done.time
    );
    println!(
        "workers killed {killed}, stopped {stopped}; files that ate memory {eaters}; rule sets \
         {sets}; requests withdrawn {withdrawn}; the service counted {} crashed, {} hung",
        done.ended[0], done.ended[1]
    );
    if let Some((first, last)) = done.held {
        println!("after a tenth: {first:?}\nat the end:    {last:?}");
        let (before, after) = done.resident_kib;
        println!("resident memory: {before} KiB, then {after} KiB");
    }
    done.broken
        .iter()
        .for_each(|cause| println!("broken: {cause}"));
    Ok(done.broken.is_empty())
}
