//! What the system says of this process and of its children: the only witness of what is bounded.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// What a process has of what must not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Child processes.
    pub children: usize,
}

/// What this process has now.
#[must_use]
pub fn holdings() -> Holdings {
    let entries = |folder: &str| fs::read_dir(folder).map_or(0, Iterator::count);
    Holdings {
        // One of them is the look itself. What workers keep is bounded by their number, and is
        // there from each one's first file on.
        descriptors: entries("/proc/self/fd").saturating_sub(1 + memories("siloscan-kept").len()),
        threads: entries("/proc/self/task"),
        children: children().len(),
    }
}

/// Processes that this one has started and that are there, by their id.
#[must_use]
pub fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut all: Vec<i32> = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            let ids = text.split_whitespace().filter_map(|id| id.parse().ok());
            ids.collect::<Vec<i32>>()
        })
        .collect();
    all.sort_unstable();
    all
}

/// Sends a signal to a child. One that has ended meanwhile is no error.
pub fn signal(child: i32, signal: Signal) {
    if let Some(child) = Pid::from_raw(child) {
        let _gone = kill_process(child, signal);
    }
}

/// Bytes of the copies of files that this process has open, as the system counts them.
#[must_use]
pub fn copies() -> u64 {
    memories("siloscan-copy").into_iter().sum()
}

/// Bytes of the memory that workers keep, likewise.
#[must_use]
pub fn kept() -> u64 {
    memories("siloscan-kept").into_iter().sum()
}

/// Sizes of the memories of this name that this process has open.
fn memories(name: &str) -> Vec<u64> {
    let is_one =
        |path: &Path| fs::read_link(path).is_ok_and(|link| link.to_string_lossy().contains(name));
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let ours = entries.filter(|entry| is_one(&entry.path()));
    ours.filter_map(|entry| fs::metadata(entry.path()).ok())
        .map(|meta| meta.len())
        .collect()
}

/// A line of a process's status in KiB, such as `VmHWM`; 0 where it is not told.
#[must_use]
pub fn status_kib(process: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Begins this process's peak of memory anew.
///
/// # Errors
/// What the system says.
pub fn forget_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}
