//! The report of a run that ended badly, readable as text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::image::Registers;
use crate::machine::Machine;
use crate::sched::{Mode, SimThread};

/// A frame of a stack: where in a driver, or which host function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Image name, or `host`.
    pub module: String,
    /// Address of the instruction.
    pub address: usize,
    /// Function, where the PDB names one.
    pub function: Option<String>,
    /// Source file and line, where the PDB has them.
    pub line: Option<(String, u32)>,
}

/// A thread and what it waits for.
#[derive(Clone)]
pub struct ThreadState {
    /// The thread.
    pub thread: Arc<SimThread>,
    /// What its wait is called; `None` while it could run.
    pub waits_for: Option<&'static str>,
}

/// Why a run ended badly.
#[derive(Clone, Debug)]
pub struct Report(Box<Body>);

#[derive(Clone, Debug)]
struct Body {
    rule: &'static str,
    detail: String,
    thread: String,
    stack: Vec<Frame>,
    others: Vec<String>,
    seed: Option<u64>,
}

impl Report {
    fn new(rule: &'static str, detail: String, thread: String) -> Self {
        let (stack, others) = (Vec::new(), Vec::new());
        Self(Box::new(Body {
            rule,
            detail,
            thread,
            stack,
            others,
            seed: None,
        }))
    }

    pub(crate) fn violation(
        m: &Machine,
        thread: &SimThread,
        rule: &'static str,
        detail: String,
    ) -> Self {
        Self::crash(m, thread, rule, detail, None)
    }

    /// A report about driver code that runs at `now`, or about a call that it made.
    pub(crate) fn crash(
        m: &Machine,
        thread: &SimThread,
        rule: &'static str,
        detail: String,
        now: Option<Registers>,
    ) -> Self {
        let mut report = Self::new(rule, detail, describe(thread));
        report.0.stack = crate::crash::stack_of(m, thread, now);
        report.0.others = lines(&m.sched().threads());
        report
    }

    pub(crate) fn deadlock(threads: Vec<ThreadState>) -> Self {
        let detail = format!("no thread can run: {} of them wait for ever", threads.len());
        let mut report = Self::new("deadlock", detail, String::new());
        report.0.others = lines(&threads);
        report
    }

    pub(crate) fn no_progress(m: &Machine, after: Duration) -> Self {
        let detail = format!("nothing called the host for {} s", after.as_secs());
        let mut report = Self::new("no-progress", detail, String::new());
        report.0.others = lines(&m.sched().threads());
        report
    }

    pub(crate) fn with_stack(mut self, stack: Vec<Frame>) -> Self {
        self.0.stack = stack;
        self
    }

    pub(crate) fn with_seed(mut self, mode: Mode) -> Self {
        if let Mode::Seeded(seed) = mode {
            self.0.seed = Some(seed);
        }
        self
    }

    /// Short name of the rule that was broken (`irql`, `deadlock`, `access-violation`, …).
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.0.rule
    }

    /// What was done and what is right.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Frames of the thread that did it, innermost first.
    #[must_use]
    pub fn stack(&self) -> &[Frame] {
        &self.0.stack
    }

    /// The other threads, one line each.
    #[must_use]
    pub fn threads(&self) -> &[String] {
        &self.0.others
    }

    /// The seed that replays it.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.0.seed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.0;
        writeln!(f, "{}: {}", body.rule, body.detail)?;
        if !body.thread.is_empty() {
            writeln!(f, "  thread {}", body.thread)?;
        }
        for frame in &body.stack {
            writeln!(f, "    at {frame}")?;
        }
        if !body.others.is_empty() {
            writeln!(f, "  all threads:")?;
        }
        for line in &body.others {
            writeln!(f, "    {line}")?;
        }
        if let Some(seed) = body.seed {
            writeln!(f, "  replay with seed {seed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function.as_deref().unwrap_or("?");
        write!(f, "{}!{function}", self.module)?;
        match &self.line {
            Some((file, line)) => write!(f, " ({file}:{line})"),
            None if self.address == 0 => Ok(()),
            None => write!(f, " ({:#x})", self.address),
        }
    }
}

impl fmt::Debug for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.waits_for.unwrap_or("can run");
        write!(f, "{}: {state}", describe(&self.thread))
    }
}

fn describe(thread: &SimThread) -> String {
    format!(
        "{} \"{}\" of {}",
        thread.id(),
        thread.name(),
        thread.owner().name()
    )
}

fn lines(threads: &[ThreadState]) -> Vec<String> {
    let line = |state: &ThreadState| {
        let who = describe(&state.thread);
        let call = state.thread.calls().last().map_or("", |call| call.name);
        match state.waits_for {
            Some(what) => format!("{who} waits: {what} {call}"),
            None => format!("{who} can run {call}"),
        }
    };
    threads.iter().map(line).collect()
}
