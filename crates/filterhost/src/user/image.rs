//! Processes that are made from image sections, as `NtCreateProcessEx` and the first
//! `NtCreateThreadEx` do it: the section comes first, and nobody opens the file again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::file_object::file_ref;
use super::handle::FileHandle;
use super::options::OpenOptions;
use super::process::Process;
use super::section::{Section, SectionHost};
use crate::kernel::notify::{self, Starting};
use crate::layout::{PAGE_READONLY, SEC_IMAGE};
use crate::machine::Machine;
use crate::object::Object;
use crate::status::{NtStatus, STATUS_SECTION_NOT_IMAGE};
use crate::volume::section::SectionUse;

/// When drivers hear of a new process. The page of `PCREATE_PROCESS_NOTIFY_ROUTINE_EX` says "when a
/// process is created", which is one of two moments where it is made by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyAt {
    /// When its first thread is made.
    FirstThread,
    /// When the process object is made.
    Object,
}

/// The machine's choice; 0 is the first thread.
#[derive(Default)]
struct Choice(AtomicU32);

/// Chooses when drivers hear of new processes; at the first thread unless told otherwise.
pub fn notify_at(m: &Machine, when: NotifyAt) {
    let value = u32::from(when == NotifyAt::Object);
    m.state::<Choice>().0.store(value, Ordering::Release);
}

fn moment(m: &Machine) -> NotifyAt {
    match m.state::<Choice>().0.load(Ordering::Acquire) {
        0 => NotifyAt::FirstThread,
        _ => NotifyAt::Object,
    }
}

/// A process without a thread. It keeps its image section.
pub struct NewProcess {
    process: Process,
    parent: u32,
    section: Arc<Object>,
}

/// A process that runs an image. Its end is told to drivers.
pub struct Program {
    process: Process,
    section: Arc<Object>,
}

impl Section {
    /// Makes a process of this image section, in the silo of the caller's process.
    ///
    /// # Errors
    /// `SECTION_NOT_IMAGE`, `INVALID_HANDLE` once the section's handle is closed, or what a
    /// driver refused the process with.
    pub fn new_process(&self, name: &str) -> Result<NewProcess, NtStatus> {
        let object = self.object()?;
        let bytes = object.host::<SectionHost>().and_then(|host| host.bytes());
        if bytes.is_none_or(|bytes| bytes.purpose() != SectionUse::Image) {
            return Err(STATUS_SECTION_NOT_IMAGE);
        }
        let caller = self.process();
        let process = caller.child(name);
        object.reference();
        let made = NewProcess {
            process,
            parent: caller.id(),
            section: Arc::clone(object),
        };
        if moment(caller.machine()) == NotifyAt::Object {
            made.ask()?;
        }
        Ok(made)
    }
}

impl NewProcess {
    /// Makes its first thread, from which on it runs.
    ///
    /// # Errors
    /// What a driver refused the process with.
    pub fn start(self) -> Result<Program, NtStatus> {
        let m = self.process.machine();
        if moment(m) == NotifyAt::FirstThread {
            self.ask()?;
        }
        self.section.reference();
        Ok(Program {
            process: self.process.clone(),
            section: Arc::clone(&self.section),
        })
    }

    fn ask(&self) -> Result<(), NtStatus> {
        let m = self.process.machine();
        let Some(host) = self.section.host::<SectionHost>() else {
            return Err(STATUS_SECTION_NOT_IMAGE);
        };
        let starting = Starting {
            process: self.process.kernel(),
            parent: self.parent,
            file: host.file(),
            name: file_ref(host.file()).map(|file| file.name()),
        };
        notify::starting(m, &starting)
    }
}

impl Drop for NewProcess {
    fn drop(&mut self) {
        if super::section::may_call_host() {
            self.section.dereference(self.process.machine());
        }
    }
}

impl Program {
    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it. Called on a thread of its own or of another process.
    pub fn end(self) {
        let m = self.process.machine();
        notify::ended(m, self.process.kernel());
        self.process.exit();
        self.section.dereference(m);
    }
}

impl Process {
    /// Runs a program as `CreateProcess` does: the file is opened to be executed, and closed when
    /// the process is there.
    ///
    /// # Errors
    /// What filters and file system answer, or what a driver refused the process with.
    pub fn start_program(&self, path: &str) -> Result<Program, NtStatus> {
        let file = self.open(&OpenOptions::new(path).execute())?;
        let started = started_from(&file, path);
        let closed = file.close();
        let program = started?;
        closed?;
        Ok(program)
    }
}

fn started_from(file: &FileHandle, name: &str) -> Result<Program, NtStatus> {
    let section = file.create_section(PAGE_READONLY, SEC_IMAGE)?;
    section.new_process(name)?.start()
}
