//! Test programs, compiled by Cargo and run several at a time. They mostly wait: for deadlines,
//! for pauses that a scenario needs, for a service that hangs on purpose. One after the other they
//! leave nine tenths of the machine idle.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::cargo::{COMPILE, Counts, host, names, tail};
use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::trouble::{Outcome, Trouble};

/// One program with all its tests: minutes, on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Those that take longest begin first, so that none of them is left alone at the end.
const LONGEST: &[&str] = &["memory", "failure", "unload", "changes"];
/// Programs that load the driver and run at the same time, for each processor.
pub const FOR_EACH_PROCESSOR: usize = 2;

/// A test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name of its file below `tests`, without the extension; that of the crate where the tests
    /// are its own.
    pub name: String,
    /// Whether it is a file below `tests`.
    apart: bool,
    /// What Cargo linked.
    pub path: PathBuf,
    /// The folder of its package.
    folder: PathBuf,
}

impl Program {
    /// The name of its log: two packages may have tests of one name, and a crate its own beside.
    fn log_name(&self, root: &Path) -> String {
        let package = match self.folder.file_name() {
            Some(name) if self.folder != root => format!("{}-", name.to_string_lossy()),
            _ => String::new(),
        };
        let own = if self.apart { "" } else { "own-" };
        format!("{package}{own}{}.log", self.name)
    }

    /// The command that runs it as Cargo would, in its package's folder.
    pub fn command(&self) -> Command {
        let mut command = command::clean(&self.path);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Compiles the tests that load the built driver.
pub fn of_the_image(bench: &mut Bench) -> Outcome<Vec<Program>> {
    let mut build = host(bench, "test");
    build.args(["--workspace", "--features"]);
    build.arg("siloscan/built-image,filterhost/clang");
    for name in names(&bench.root.join("tests"))? {
        build.args(["--test", &name]);
    }
    let mut programs = compiled(bench, &mut build, "image-build")?;
    // Another package's test may have the name of one of the root's.
    programs.retain(|program| program.apart && program.folder == bench.root);
    programs.sort_by_key(|program| {
        let place = LONGEST.iter().position(|name| *name == program.name);
        place.unwrap_or(LONGEST.len())
    });
    Ok(programs)
}

/// Runs a `cargo test` as far as its programs are linked, and tells which they are.
pub fn compiled(bench: &mut Bench, build: &mut Command, log: &str) -> Outcome<Vec<Program>> {
    build.args(["--locked", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let log = bench.log(log);
    let mut programs = Vec::new();
    let Bench { say, .. } = bench;
    let ended = command::limited(build, &log, COMPILE, |line| {
        if !line.starts_with('{') {
            say.moving("tests", line.trim_start());
        }
        programs.extend(program(line));
    })?;
    say.clear();
    if ended != Ended::Well {
        tail(&log);
        return Err(Trouble::new(format!(
            "the tests do not compile: all of it is in {}",
            log.display()
        )));
    }
    programs.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(programs)
}

/// What a line of Cargo's messages says of a test program.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    if message.get("profile")?.get("test")? != true {
        return None;
    }
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some(Program {
        name: target.get("name")?.as_str()?.to_owned(),
        apart: target.get("kind")?.as_array()?.first()? == "test",
        path: message.get("executable")?.as_str()?.into(),
        folder: manifest.parent()?.to_owned(),
    })
}

/// Runs all tests of all programs, several at a time: `of_a_processor` for each. What `with` adds
/// to a program's command is for all of them.
pub fn run(
    bench: &mut Bench,
    name: &str,
    programs: Vec<Program>,
    of_a_processor: usize,
    with: impl Fn(&mut Command) + Sync,
) -> Outcome<Found> {
    let folder = bench.logs.join(name);
    files::make_folder(&folder)?;
    let root = bench.root.clone();
    let work = |program: Program, tell: &Sender<String>| {
        let log = folder.join(program.log_name(&root));
        let mut counts = Counts::default();
        let mut command = program.command();
        with(&mut command);
        let ended = command::limited(&mut command, &log, LIMIT, |line| {
            counts.read(line);
            tell.send(format!("{} {line}", program.name)).ok();
        });
        (program.name, log, ended, counts)
    };
    let mut found = Found::default();
    let feed = |_: &mut Bench, feed: &mut Feed<Program>| {
        programs.into_iter().for_each(|program| feed.push(program));
    };
    for (name, log, ended, counts) in lanes(bench, name, of_a_processor, feed, work) {
        let ended = ended?;
        if ended != Ended::Well {
            tail(&log);
        }
        counts.into(&mut found, &name, ended, &log);
    }
    Ok(found)
}

/// Where jobs are handed in.
pub struct Feed<J> {
    jobs: Sender<(usize, J)>,
    next: usize,
}

impl<J> Feed<J> {
    /// Hands a job in; a lane begins with it as soon as one is free.
    pub fn push(&mut self, job: J) {
        self.jobs.send((self.next, job)).ok();
        self.next += 1;
    }
}

/// Does `work` for each job that `feed` hands in, several at a time and while it goes on handing
/// in: `of_a_processor` for each. Shows what the work tells. Results come in the order of the jobs.
pub fn lanes<J: Send, R: Send>(
    bench: &mut Bench,
    name: &str,
    of_a_processor: usize,
    feed: impl FnOnce(&mut Bench, &mut Feed<J>),
    work: impl Fn(J, &Sender<String>) -> R + Sync,
) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (jobs, waiting) = mpsc::channel();
    let (waiting, done) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..processors * of_a_processor {
            let (tell, waiting, done, work) = (tell.clone(), &waiting, &done, &work);
            scope.spawn(move || {
                loop {
                    let job = lock(waiting).recv();
                    let Ok((number, job)) = job else { return };
                    let result = work(job, &tell);
                    lock(done).push((number, result));
                }
            });
        }
        drop(tell);
        feed(bench, &mut Feed { jobs, next: 0 });
        for line in told {
            bench.say.moving(name, &line);
        }
    });
    bench.say.clear();
    let mut done: Vec<(usize, R)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::say::Say;

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let line = concat!(
            r#"{"target":{"kind":["test"],"name":"ecp"},"profile":{"test":true},"#,
            r#""executable":"/t/ecp-1","#,
            r#""manifest_path":"/tree/Cargo.toml"}"#
        );
        let found = program(line).unwrap();
        assert_eq!(found.name, "ecp");
        assert_eq!(found.path, Path::new("/t/ecp-1"));
        assert_eq!(found.folder, Path::new("/tree"));
        assert_eq!(found.log_name(Path::new("/tree")), "ecp.log");
        assert_eq!(found.log_name(Path::new("/")), "tree-ecp.log");
        let library = program(&line.replace("\"test\"]", "\"lib\"]"));
        let own = library.unwrap().log_name(Path::new("/tree"));
        assert_eq!(own, "own-ecp.log", "a crate's own tests");
        assert_eq!(program(&line.replace("true", "false")), None, "no test");
        assert_eq!(program("   Compiling ecp"), None);
    }

    #[test]
    fn every_job_is_done_and_results_keep_their_order() {
        let mut bench = Bench {
            root: PathBuf::new(),
            logs: PathBuf::new(),
            say: Say::new(true),
            built: None,
            programs: None,
            passed: Vec::new(),
        };
        let feed = |_: &mut Bench, feed: &mut Feed<u64>| (0..40).for_each(|job| feed.push(job));
        let work = |job: u64, tell: &Sender<String>| {
            tell.send(job.to_string()).ok();
            std::thread::sleep(Duration::from_millis(job % 3));
            job * 2
        };
        let done = lanes(&mut bench, "test", 2, feed, work);
        assert_eq!(done, (0..40).map(|job| job * 2).collect::<Vec<_>>());
    }
}
