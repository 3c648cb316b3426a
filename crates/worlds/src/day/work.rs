//! What containers do all day: open and read package files, modify some, create some of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use filterhost::Machine;
use filterhost::user::{OpenOptions, Process};

use super::{DayOptions, Named, merge};
use crate::report::figures::Timings;

/// Containers that work at the same time: as many as a small host has cores, and then some.
const AT_ONCE: usize = 4;
/// Of its package files, a container modifies one in so many.
const MODIFIES: usize = 16;
/// The route of a package file's open by the first containers, which lead most of the scans.
const FIRST: &str = "look-up layer, first containers";
/// The same by all later containers.
const LATER: &str = "look-up layer, later containers";
/// Files of its own that a container makes.
const CREATES: usize = 4;

/// Runs all containers' work and gives times and number of their opens.
pub(super) fn run(
    m: &Arc<Machine>,
    options: &DayOptions,
    containers: &[Named],
    tell: &impl Fn(&str),
) -> (Timings, u64) {
    let files = Arc::new(paths(options));
    let done = Arc::new(AtomicUsize::new(0));
    let mut parts = Vec::new();
    for (round, some) in containers.chunks(AT_ONCE).enumerate() {
        let layer = if round == 0 { FIRST } else { LATER };
        let tasks: Vec<_> = some
            .iter()
            .map(|named| {
                let (files, done) = (Arc::clone(&files), Arc::clone(&done));
                named
                    .container
                    .process("app.exe")
                    .spawn(&named.name, move |process| {
                        let part = one(process, &files, layer);
                        process.exit();
                        done.fetch_add(1, Ordering::Relaxed);
                        part
                    })
            })
            .collect();
        parts.extend(tasks.into_iter().map(|task| task.join()));
        tell(&format!(
            "{} of {} containers",
            done.load(Ordering::Relaxed),
            containers.len()
        ));
    }
    debug_assert!(!m.is_over());
    merge(parts)
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

fn one(process: &Process, files: &[String], layer: &str) -> (Timings, u64) {
    let mut timings = Timings::default();
    let mut opens = 0;
    let mut open = |kind: &str, options: OpenOptions| {
        let begun = Instant::now();
        let file = process.open(&options);
        timings.add(kind, begun.elapsed());
        opens += 1;
        file
    };
    for path in files {
        if let Ok(file) = open(layer, OpenOptions::new(path).execute()) {
            // A program that is started reads its headers.
            let _headers = file.read_at(0, 4096);
            let _closed = file.close();
        }
    }
    for path in files.iter().step_by(MODIFIES) {
        if let Ok(file) = open(
            "look-up layer, to write",
            OpenOptions::new(path).read().write(),
        ) {
            let _written = file.append(b"patched");
            let _closed = file.close();
        }
        if let Ok(file) = open("look-up own, after a change", OpenOptions::new(path).read()) {
            let _closed = file.close();
        }
    }
    for number in 0..CREATES {
        let path = format!(r"C:\log-{number}.txt");
        let create = OpenOptions::new(&path).write().create_always();
        if let Ok(file) = open("ignore, created", create) {
            let _written = file.write_at(0, b"a line of a log\r\n");
            let _closed = file.close();
        }
        for kind in ["look-up own, after a change", "look-up own, again"] {
            if let Ok(file) = open(kind, OpenOptions::new(&path).read()) {
                let _closed = file.close();
            }
        }
    }
    (timings, opens)
}
