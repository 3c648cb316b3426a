//! What the threads of a scenario share: open files, views, ports, and which steps are over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::plan::{Step, Want};
use super::play::{Problem, Problems};
use crate::DriverHandle;
use crate::fltmgr::transaction::Transaction;
use crate::machine::Machine;
use crate::status::{NtStatus, STATUS_SUCCESS};
use crate::user::image::Program;
use crate::user::{FileHandle, PortHandle, Process, View};
use crate::volume::Volume;

/// Something that a step made.
pub(super) enum Thing {
    File(Arc<FileHandle>),
    View(Arc<View>),
    /// A connection, and the number of the last message.
    Port(PortHandle, Arc<Mutex<u64>>),
    Program(Box<Program>),
    Transaction(Transaction),
}

/// How a step ended.
pub(super) enum Ended {
    /// With a status, and what came back.
    With(NtStatus, Vec<u8>),
    /// With names.
    Names(Vec<String>),
    /// Not at all: what it uses is not there.
    Lacks(String),
}

impl<T> From<Result<T, NtStatus>> for Ended {
    fn from(result: Result<T, NtStatus>) -> Self {
        Self::With(result.err().unwrap_or(STATUS_SUCCESS), Vec::new())
    }
}

/// What is shared.
pub(super) struct Things {
    pub(super) m: Arc<Machine>,
    pub(super) problems: Problems,
    lenient: bool,
    made: Mutex<BTreeMap<String, Thing>>,
    over: Mutex<Vec<bool>>,
    world: OnceLock<(DriverHandle, Vec<Arc<Volume>>)>,
}

impl Things {
    pub(super) fn new(m: &Arc<Machine>, steps: usize, lenient: bool) -> Self {
        Self {
            m: Arc::clone(m),
            problems: Mutex::default(),
            lenient,
            made: Mutex::default(),
            over: Mutex::new(vec![false; steps]),
            world: OnceLock::new(),
        }
    }

    /// The driver and the volumes are there.
    pub(super) fn begin(&self, driver: &DriverHandle, volumes: &[Arc<Volume>]) {
        self.world
            .get_or_init(|| (Arc::clone(driver), volumes.to_vec()));
    }

    pub(super) fn driver(&self) -> Option<&DriverHandle> {
        self.world.get().map(|(driver, _)| driver)
    }

    pub(super) fn volume(&self, number: usize) -> Option<&Arc<Volume>> {
        self.world.get()?.1.get(number)
    }

    /// Carries out the steps of one thread.
    pub(super) fn run<'a>(
        &self,
        process: &Process,
        steps: impl Iterator<Item = (usize, &'a Step)>,
    ) {
        let mut going = true;
        for (number, step) in steps {
            if going {
                self.wait_for(step.after);
                let ended = self.carry_out(process, step);
                going = self.judge(step, ended) || self.lenient;
            }
            if let Some(slot) = self.over.lock().get_mut(number) {
                *slot = true;
            }
            self.m.sched().notify();
        }
    }

    fn wait_for(&self, step: Option<usize>) {
        let Some(step) = step else { return };
        let over = || {
            self.over
                .lock()
                .get(step)
                .copied()
                .unwrap_or(true)
                .then_some(())
        };
        // Without a deadline it ends only with the step; circles were refused.
        let _waited = self.m.sched().wait_until("a step", None, over);
    }

    /// Notes what did not go as the step says; false if anything.
    fn judge(&self, step: &Step, ended: Ended) -> bool {
        let said = match ended {
            Ended::Lacks(what) => Some(format!("there is no {what}: it was not made, or is gone")),
            Ended::With(status, data) => judge_status(step, status).or_else(|| {
                let expected = step.expected.as_ref().filter(|wanted| **wanted != data)?;
                Some(format!("gave {}, not {}", show(&data), show(expected)))
            }),
            Ended::Names(mut names) => {
                names.sort();
                let differ = step.names.as_ref().filter(|wanted| **wanted != names);
                differ.map(|wanted| format!("gave {names:?}, not {wanted:?}"))
            }
        };
        let Some(said) = said else { return true };
        if !self.lenient {
            let said = format!("{}: {said}", step.deed.name);
            let line = step.line;
            self.problems.lock().push(Problem { line, said });
        }
        false
    }

    /// Keeps what a step made under its name; what had the name goes.
    pub(super) fn keep(&self, step: &Step, thing: Thing) {
        if let Some(name) = &step.makes {
            let old = self.made.lock().insert(name.clone(), thing);
            drop(old);
        }
    }

    /// Looks at a thing.
    pub(super) fn with<T>(&self, name: &str, look: impl FnOnce(&Thing) -> Option<T>) -> Option<T> {
        self.made.lock().get(name).and_then(look)
    }

    /// Takes a thing away.
    pub(super) fn take(&self, name: &str) -> Option<Thing> {
        self.made.lock().remove(name)
    }

    /// Lets everything go, views first.
    pub(super) fn clear(&self) {
        let mut all = std::mem::take(&mut *self.made.lock());
        all.retain(|_, thing| !matches!(thing, Thing::View(_)));
        for thing in all.into_values() {
            match thing {
                Thing::Program(program) => program.end(),
                Thing::Transaction(transaction) => {
                    crate::fltmgr::transaction::end(&self.m, transaction, false);
                }
                // Closed by the end of its process.
                Thing::File(_) | Thing::View(_) | Thing::Port(..) => {}
            }
        }
    }
}

fn judge_status(step: &Step, status: NtStatus) -> Option<String> {
    match step.want {
        Want::Any => None,
        Want::Status(wanted) if wanted == status => None,
        Want::Status(wanted) => Some(format!("ended with {status}, not {wanted}")),
    }
}

/// Bytes for people: as text where they are, cut.
fn show(data: &[u8]) -> String {
    const SHOWN: usize = 64;
    let head = data.get(..SHOWN).unwrap_or(data);
    let more = if head.len() < data.len() { "…" } else { "" };
    match std::str::from_utf8(head) {
        Ok(text) if !text.contains(char::is_control) => {
            format!("\"{text}\"{more} ({} bytes)", data.len())
        }
        _ => {
            let digits: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}{more} ({} bytes)", data.len())
        }
    }
}
