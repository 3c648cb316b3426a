//! What containers do all day: open and read package files, modify some, create some of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filterhost::Machine;
use filterhost::user::{OpenOptions, Process};

use super::{DayOptions, Named};
use crate::opens::{self, Told};
use crate::report::figures::Timings;

/// Containers that work at the same time: as many as a small host has cores, and then some.
const AT_ONCE: usize = 4;
/// Of its package files, a container modifies one in so many.
const MODIFIES: usize = 16;
/// Files of its own that a container makes.
const CREATES: usize = 4;

/// Runs all containers' work and gives the driver's times of their opens, by what it did, and the
/// number of opens as the containers count them.
pub(super) fn run(
    m: &Arc<Machine>,
    options: &DayOptions,
    containers: &[Named],
    tell: &impl Fn(&str),
) -> (Timings, u64) {
    let files = Arc::new(paths(options));
    let done = Arc::new(AtomicUsize::new(0));
    let mut timings = Timings::default();
    let mut opens = 0;
    let _what_came_before = opens::take(m);
    for some in containers.chunks(AT_ONCE) {
        let tasks: Vec<_> = some
            .iter()
            .map(|named| {
                let (files, done) = (Arc::clone(&files), Arc::clone(&done));
                named
                    .container
                    .process("app.exe")
                    .spawn(&named.name, move |process| {
                        let part = one(process, &files);
                        process.exit();
                        done.fetch_add(1, Ordering::Relaxed);
                        part
                    })
            })
            .collect();
        opens += tasks.into_iter().map(|task| task.join()).sum::<u64>();
        for told in opens::take(m) {
            timings.add(&label(&told), told.took);
        }
        tell(&format!(
            "{} of {} containers",
            done.load(Ordering::Relaxed),
            containers.len()
        ));
    }
    debug_assert!(!m.is_over());
    (timings, opens)
}

/// What the driver did with an open, in the words of its counters.
fn label(told: &Told) -> String {
    let mut label = format!("{} {}", told.route, told.reason);
    for part in [&told.decision, &told.failure] {
        if !part.is_empty() {
            label.push_str(", ");
            label.push_str(part);
        }
    }
    label
}

/// Names of the package files that each container opens, spread over all layers.
fn paths(options: &DayOptions) -> Vec<String> {
    let all: Vec<_> = options
        .layers
        .iter()
        .flat_map(|layer| &layer.files)
        .collect();
    let step = all.len().div_ceil(options.files.max(1)).max(1);
    all.iter()
        .step_by(step)
        .map(|file| format!(r"C:\{}", file.display().to_string().replace('/', r"\")))
        .collect()
}

/// One container's work; gives the number of its opens.
fn one(process: &Process, files: &[String]) -> u64 {
    let mut opens = 0;
    let mut open = |options: OpenOptions| {
        opens += 1;
        process.open(&options)
    };
    for path in files {
        if let Ok(file) = open(OpenOptions::new(path).execute()) {
            // A program that is started reads its headers.
            let _headers = file.read_at(0, 4096);
            let _closed = file.close();
        }
    }
    for path in files.iter().step_by(MODIFIES) {
        if let Ok(file) = open(OpenOptions::new(path).read().write()) {
            let _written = file.append(b"patched");
            let _closed = file.close();
        }
        if let Ok(file) = open(OpenOptions::new(path).read()) {
            let _closed = file.close();
        }
    }
    for number in 0..CREATES {
        let path = format!(r"C:\log-{number}.txt");
        let create = OpenOptions::new(&path).write().create_always();
        if let Ok(file) = open(create) {
            let _written = file.write_at(0, b"a line of a log\r\n");
            let _closed = file.close();
        }
        for _ in 0..2 {
            if let Ok(file) = open(OpenOptions::new(&path).read()) {
                let _closed = file.close();
            }
        }
    }
    opens
}
