//! What a process has mapped, as the system tells it.

use std::fs;
use std::path::Path;

/// The memories of this name, by their inodes; none where the process has ended.
pub fn memories(process: &Path, name: &str) -> Vec<String> {
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    let ours = maps.lines().filter(|line| line.contains(name));
    ours.filter_map(|line| line.split_whitespace().nth(4))
        .map(str::to_owned)
        .collect()
}
