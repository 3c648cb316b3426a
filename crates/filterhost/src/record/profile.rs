//! Whose instructions they were: the functions that each recorded instruction belongs to, callers
//! and inlined ones included, from the image's PDB.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Recording, Step, What};
use crate::image::Images;
use crate::machine::Machine;

/// The functions of each instruction of a recording.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// For each step its functions, outermost first.
    stacks: Vec<Arc<[Arc<str>]>>,
    /// For each call into the kernel the step that made it, and the function's name.
    calls: Vec<(usize, &'static str)>,
}

/// A function that was called and has not returned.
struct Open {
    /// The function itself, as the PDB names it without what is inlined into it.
    function: Arc<str>,
    /// All functions of the newest instruction in it, outermost first.
    at: Vec<Arc<str>>,
}

impl Profile {
    /// Looks the functions up in the images' PDBs.
    #[must_use]
    pub fn new(m: &Machine, recording: &Recording) -> Self {
        let functions = functions(m, &recording.steps);
        let mut begins: BTreeSet<usize> = BTreeSet::new();
        let mut calls = Vec::new();
        for event in &recording.events {
            match event.what {
                What::Callback(_) => {
                    begins.insert(event.at);
                }
                What::Call(_, name, _) => calls.push((event.at.saturating_sub(1), name)),
                _ => {}
            }
        }
        let mut open: Vec<Open> = Vec::new();
        let mut kept: HashMap<Vec<Arc<str>>, Arc<[Arc<str>]>> = HashMap::new();
        let mut stacks = Vec::with_capacity(recording.steps.len());
        let mut before = Step::default();
        for (index, step) in recording.steps.iter().enumerate() {
            let own = functions.get(&step.rip).cloned().unwrap_or_default();
            if begins.contains(&index) {
                open.clear();
            }
            enter(&mut open, own, before.rsp.wrapping_sub(step.rsp) == 8);
            let whole: Vec<Arc<str>> = open.iter().flat_map(|open| open.at.clone()).collect();
            let kept = kept
                .entry(whole)
                .or_insert_with_key(|whole| whole.clone().into());
            stacks.push(Arc::clone(kept));
            before = *step;
        }
        Self { stacks, calls }
    }

    /// The functions of each instruction, outermost first.
    pub fn stacks(&self) -> impl Iterator<Item = &[Arc<str>]> {
        self.stacks.iter().map(|stack| &**stack)
    }

    /// Each call into the kernel: its name, and the functions that it was made in.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, &[Arc<str>])> {
        self.calls.iter().map(|(at, name)| {
            let stack = self.stacks.get(*at).map_or(&[][..], |stack| stack);
            (*name, stack)
        })
    }
}

/// Goes into the function of the next instruction, or back to it.
fn enter(open: &mut Vec<Open>, at: Vec<Arc<str>>, pushed: bool) {
    let function = at.first().cloned().unwrap_or_default();
    if let Some(top) = open.last_mut()
        && top.function == function
    {
        top.at = at;
        return;
    }
    if !pushed {
        // Back to a caller, or a jump at the end of a function to another one.
        match open.iter().rposition(|open| open.function == function) {
            Some(back) => open.truncate(back),
            None => drop(open.pop()),
        }
    }
    open.push(Open { function, at });
}

/// The functions of each address, outermost first.
fn functions(m: &Machine, steps: &[Step]) -> BTreeMap<usize, Vec<Arc<str>>> {
    let images = m.state::<Images>();
    let all: BTreeSet<usize> = steps.iter().map(|step| step.rip).collect();
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut found = BTreeMap::new();
    for image in images.all() {
        let inside: Vec<usize> = all
            .iter()
            .copied()
            .filter(|rip| image.contains(*rip) && !image.is_unloaded())
            .collect();
        let frames = image.frames(&inside);
        for (rip, frames) in inside.iter().zip(frames) {
            let outermost_first = frames.iter().rev().map(|frame| {
                let name: Arc<str> = frame.function.as_deref().unwrap_or("?").into();
                names.get(&name).cloned().unwrap_or_else(|| {
                    names.insert(Arc::clone(&name));
                    name
                })
            });
            found.insert(*rip, outermost_first.collect());
        }
    }
    found
}
