//! A user process of a scenario: threads, drives, files.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::FileHandle;
use super::options::OpenOptions;
use super::path::{Place, resolve_absolute};
use crate::fltmgr::port::client::{self, Connection};
use crate::machine::Machine;
use crate::object::Object;
use crate::process::Process as Kernel;
use crate::sched::ThreadRef;
use crate::status::{NtStatus, STATUS_OBJECT_PATH_NOT_FOUND};
use crate::volume::Volume;
use crate::volume::name::units;

/// A user process. Cloning gives another handle on the same process.
#[derive(Clone)]
pub struct Process {
    m: Arc<Machine>,
    kernel: Arc<Kernel>,
    drives: Arc<Mutex<BTreeMap<char, Arc<Volume>>>>,
    threads: Arc<Mutex<Vec<ThreadRef>>>,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
}

/// A thread of a user process, and the value that its function will give.
pub struct Task<T> {
    m: Arc<Machine>,
    thread: ThreadRef,
    value: Arc<Mutex<Option<T>>>,
}

impl<T> Task<T> {
    /// Waits for the thread's end and takes its value.
    ///
    /// # Panics
    /// If the thread ended without one, which only a panic in it can cause.
    pub fn join(self) -> T {
        self.m.sched().join(&self.thread);
        self.value
            .lock()
            .take()
            .expect("a thread that ended has left its value")
    }

    /// True once the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The thread.
    #[must_use]
    pub fn thread(&self) -> &ThreadRef {
        &self.thread
    }

    /// Kills the thread: cancellable waits in the kernel end with THREAD_IS_TERMINATING.
    pub fn terminate(&self) {
        self.thread.terminate();
        self.m.sched().notify();
    }
}

impl<T> Task<T> {
    /// Freezes the thread where it waits, or will wait next, as `SuspendThread` does.
    pub fn suspend(&self) {
        self.thread.suspend();
        self.m.sched().notify();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.thread.resume();
        self.m.sched().notify();
    }

    /// Asks for the cancellation of what the thread has under way, as `CancelSynchronousIo`.
    pub fn cancel_io(&self) {
        crate::fltmgr::dispatch::cancel_io(&self.m, self.thread.id());
    }
}

impl Process {
    /// Makes a process whose drive C is `system`, in a silo if one is given.
    pub fn create(
        m: &Arc<Machine>,
        name: &str,
        system: &Arc<Volume>,
        silo: Option<&Arc<Object>>,
    ) -> Self {
        let kernel = m.create_process(name, silo.cloned());
        let drives = BTreeMap::from([('C', Arc::clone(system))]);
        Self {
            m: Arc::clone(m),
            kernel,
            drives: Arc::new(Mutex::new(drives)),
            threads: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// A process that is there already, whose drive C is `system`.
    pub(crate) fn of_kernel(m: &Arc<Machine>, kernel: &Arc<Kernel>, system: &Arc<Volume>) -> Self {
        Self {
            m: Arc::clone(m),
            kernel: Arc::clone(kernel),
            drives: Arc::new(Mutex::new(BTreeMap::from([('C', Arc::clone(system))]))),
            threads: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// A process that this one makes: in the same silo, with the same drives.
    pub(super) fn child(&self, name: &str) -> Self {
        let kernel = self.m.create_process(name, self.kernel.silo().cloned());
        Self {
            m: Arc::clone(&self.m),
            kernel,
            drives: Arc::new(Mutex::new(self.drives.lock().clone())),
            threads: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.m
    }

    /// The kernel's side of the process.
    #[must_use]
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.kernel.id()
    }

    /// Gives a volume a drive letter in this process.
    pub fn set_drive(&self, letter: char, volume: &Arc<Volume>) {
        self.drives
            .lock()
            .insert(letter.to_ascii_uppercase(), Arc::clone(volume));
    }

    /// Starts a thread of this process.
    pub fn spawn<T, F>(&self, name: &str, body: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> T + Send + 'static,
    {
        let value = Arc::new(Mutex::new(None));
        let (own, slot) = (self.clone(), Arc::clone(&value));
        let thread = self.m.sched().spawn(&self.kernel, name, move || {
            let result = body(&own);
            *slot.lock() = Some(result);
        });
        self.threads.lock().push(Arc::clone(&thread));
        Task {
            m: Arc::clone(&self.m),
            thread,
            value,
        }
    }

    /// Runs a function on a thread of this process and waits for it.
    pub fn run<T, F>(&self, body: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> T + Send + 'static,
    {
        self.spawn("run", body).join()
    }

    /// Kills the process: its threads' cancellable waits end, and once they have ended its
    /// handles are closed.
    pub fn terminate(&self) {
        let threads = self.threads.lock().clone();
        for thread in &threads {
            thread.terminate();
        }
        self.m.sched().notify();
        for thread in &threads {
            self.m.sched().join(thread);
        }
        self.exit();
    }

    /// Ends the process: on a last thread of its own, connections to ports and handles are closed.
    pub fn exit(&self) {
        self.spawn("rundown", Self::run_down).join();
    }

    fn run_down(&self) {
        self.kernel.set_exited();
        for connection in std::mem::take(&mut *self.connections.lock()) {
            client::close(&self.m, &connection);
        }
        let handles: Vec<_> = {
            let table = self.kernel.handles.lock();
            table.iter().map(|(handle, _)| handle).collect()
        };
        for handle in handles {
            // A handle that somebody else closed meanwhile is closed.
            let _closed = self.m.objects().close_handle(&self.m, &self.kernel, handle);
        }
        self.m.sched().notify();
    }

    pub(super) fn keep_connection(&self, connection: &Arc<Connection>) {
        self.connections.lock().push(Arc::clone(connection));
    }

    /// The volume and name that a path of this process means: `C:\…`, `\…` on drive C, or a
    /// whole name of the object manager.
    ///
    /// # Errors
    /// `OBJECT_PATH_NOT_FOUND` for a drive or volume that is not there.
    pub fn resolve(&self, path: &str) -> Result<Place, NtStatus> {
        let starts = |head: &str| {
            path.get(..head.len())
                .is_some_and(|p| p.eq_ignore_ascii_case(head))
        };
        if starts("\\Device\\") || starts("\\??\\") || starts("\\\\?\\Volume") {
            return resolve_absolute(&self.m, &units(path));
        }
        let mut letters = path.chars();
        let (drive, rest) = match (letters.next(), letters.next()) {
            (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => {
                (letter.to_ascii_uppercase(), path.get(2..).unwrap_or(""))
            }
            _ => ('C', path),
        };
        let volume = self.drives.lock().get(&drive).cloned();
        let volume = volume.ok_or(STATUS_OBJECT_PATH_NOT_FOUND)?;
        Ok(Place {
            volume,
            name: units(rest),
        })
    }

    /// Opens a file.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn open(&self, options: &OpenOptions) -> Result<FileHandle, NtStatus> {
        options.open(self)
    }

    /// Reads a whole file: open, read to the end, close.
    ///
    /// # Errors
    /// Of the first step that fails.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, NtStatus> {
        let file = self.open(&OpenOptions::new(path).read())?;
        let data = file.read_to_end()?;
        file.close()?;
        Ok(data)
    }

    /// Makes or overwrites a whole file: open, write, close.
    ///
    /// # Errors
    /// Of the first step that fails.
    pub fn write_file(&self, path: &str, data: &[u8]) -> Result<(), NtStatus> {
        let file = self.open(&OpenOptions::new(path).write().create_always())?;
        let written = if data.is_empty() {
            Ok(0)
        } else {
            file.write_at(0, data)
        };
        let closed = file.close();
        written?;
        closed
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn create_directory(&self, path: &str) -> Result<(), NtStatus> {
        self.open(&OpenOptions::new(path).directory().create_new())?
            .close()
    }

    /// Deletes a file or empty directory.
    ///
    /// # Errors
    /// Of the open or of the deletion.
    pub fn delete_file(&self, path: &str) -> Result<(), NtStatus> {
        let options = OpenOptions::new(path).delete().open_reparse_point();
        let file = self.open(&options)?;
        let deleted = file.delete();
        let closed = file.close();
        deleted?;
        closed
    }

    /// Renames a file or directory.
    ///
    /// # Errors
    /// Of the open or of the renaming.
    pub fn rename_file(&self, from: &str, to: &str, replace: bool) -> Result<(), NtStatus> {
        let options = OpenOptions::new(from).delete().open_reparse_point();
        let file = self.open(&options)?;
        let renamed = file.rename(to, replace);
        let closed = file.close();
        renamed?;
        closed
    }

    /// Lists a directory: names in the order of enumeration, without `.` and `..`.
    ///
    /// # Errors
    /// Of the open or of the listing.
    pub fn list_directory(&self, path: &str) -> Result<Vec<String>, NtStatus> {
        let file = self.open(&OpenOptions::new(path).list())?;
        let listing = file.list("*");
        let closed = file.close();
        let names = listing?.into_iter().map(|entry| entry.name);
        closed?;
        Ok(names.filter(|name| name != "." && name != "..").collect())
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({} {})", self.kernel.id(), self.kernel.name())
    }
}
