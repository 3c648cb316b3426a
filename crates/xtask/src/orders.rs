//! `cargo xtask model --orders`: weakens each memory order of core's shared structures in turn. The
//! model checker must notice, or `proofs/model/orders.toml` says why the order is stronger than any
//! of its stories needs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::command::{self, Ended};
use crate::files;
use crate::proofs::model_command;
use crate::reasons;
use crate::say::Say;
use crate::suite::cargo::COMPILE;
use crate::suite::copy::Copy;
use crate::trouble::{Outcome, Trouble};

const CORE: &str = "crates/core/src";
/// What is stronger than it needs to be, and why.
const LIST: &str = "proofs/model/orders.toml";
const ORDERS: [&str; 4] = ["Acquire", "Release", "AcqRel", "SeqCst"];

/// One order in the sources.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// The line's index.
    line: usize,
    /// The line as it is, without the space around it.
    text: String,
    /// The line with this order weakened.
    weak: String,
}

/// Weakens one after the other and says what became of each.
pub fn run(root: &Path) -> Outcome<ExitCode> {
    let mut left = reasons::read(&root.join(LIST))?;
    let copy = Copy::new(root)?;
    let mut say = Say::new(false);
    let (mut noticed, mut known, mut wrong) = (0, 0, 0_usize);
    for file in sources(root)? {
        let text = files::read(&root.join(&file))?;
        for order in orders(&text) {
            let place = format!("{file}:{}: {}", order.line + 1, order.text);
            say.moving("weakened", &place);
            let lines = text.lines().enumerate();
            let lines = lines.map(|(at, line)| if at == order.line { &order.weak } else { line });
            let weak: Vec<&str> = lines.collect();
            files::write(&copy.root.join(&file), weak.join("\n") + "\n")?;
            let found = is_noticed(root, &copy)?;
            let entries = left.get_mut(&(file.clone(), order.text.clone()));
            let listed = entries.filter(|entries| **entries > 0);
            let listed = listed.map(|entries| *entries -= 1).is_some();
            match (found, listed) {
                (true, false) => noticed += 1,
                (false, true) => known += 1,
                (true, true) => println!("needed, and in {LIST}: {place}"),
                (false, false) => println!("NOT NOTICED: {place}"),
            }
            wrong += usize::from(found == listed);
        }
        files::write(&copy.root.join(&file), text)?;
    }
    say.clear();
    for ((file, text), _) in left.iter().filter(|(_, entries)| **entries > 0) {
        println!("in {LIST} and not there: {file}: {text}");
        wrong += 1;
    }
    println!("{noticed} noticed, {known} stronger than needed as listed, {wrong} wrong");
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// The files whose atomics the model checker replaces, relative to the root.
fn sources(root: &Path) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(CORE)];
    while let Some(folder) = folders.pop() {
        for name in files::names(&root.join(&folder))? {
            let path = folder.join(name);
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if is_modelled(&files::read(&root.join(&path))?) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_modelled(text: &str) -> bool {
    text.contains("Ordering::") && !text.contains("use crate::sync::plain")
}

/// Each order stronger than relaxed, outside comments and tests.
fn orders(text: &str) -> Vec<Order> {
    let mut found = Vec::new();
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"));
    for (at, line) in lines.enumerate() {
        let code = line.trim();
        if code.starts_with("//") || code.starts_with("pub use") {
            continue;
        }
        for (start, end) in places(line) {
            // A fence cannot be relaxed; without it the line is empty.
            let weak = if code.starts_with("fence(") {
                String::new()
            } else {
                let (before, after) = (line.get(..start), line.get(end..));
                format!(
                    "{}Relaxed{}",
                    before.unwrap_or(line),
                    after.unwrap_or_default()
                )
            };
            found.push(Order {
                line: at,
                text: code.to_owned(),
                weak,
            });
        }
    }
    found
}

/// Where an order's name stands in a line.
fn places(line: &str) -> Vec<(usize, usize)> {
    let names = line.match_indices("Ordering::").filter_map(|(at, word)| {
        let start = at + word.len();
        let rest = line.get(start..)?;
        let name = ORDERS.iter().find(|name| rest.starts_with(**name))?;
        Some((start, start + name.len()))
    });
    names.collect()
}

/// Whether any story fails on the copy as it is. One that never ends is noticed, too.
fn is_noticed(root: &Path, copy: &Copy) -> Outcome<bool> {
    let log = root.join("target/test-logs/model-orders.log");
    files::make_folder(&root.join("target/test-logs"))?;
    let mut test = model_command(&copy.root);
    let mut failed = false;
    let ended = command::limited(&mut test, &log, COMPILE, |line| {
        failed |= line.contains("test result: FAILED");
    })?;
    if ended == Ended::Failed && !failed {
        return Err(Trouble::new("the weakened core does not compile")
            .next(format!("see {}", log.display())));
    }
    Ok(ended != Ended::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_outside_comments_and_tests_is_weakened_alone() {
        let text = "// Ordering::Acquire\n    a.load(Ordering::Acquire);\n\
                    x.cas(0, 1, Ordering::SeqCst, Ordering::Acquire)\n\
                    \x20   fence(Ordering::Release);\n\
                    b.load(Ordering::Relaxed);\n#[cfg(test)]\nb.load(Ordering::Acquire);\n";
        let weak: Vec<(usize, String)> = orders(text)
            .into_iter()
            .map(|order| (order.line, order.weak))
            .collect();
        let expected = [
            (1, "    a.load(Ordering::Relaxed);"),
            (2, "x.cas(0, 1, Ordering::Relaxed, Ordering::Acquire)"),
            (2, "x.cas(0, 1, Ordering::SeqCst, Ordering::Relaxed)"),
            (3, ""),
        ];
        assert_eq!(weak, expected.map(|(line, weak)| (line, weak.to_owned())));
    }
}
