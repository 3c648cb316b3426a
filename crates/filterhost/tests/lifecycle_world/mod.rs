//! A machine with the small minifilter of `drivers/lifecycle.c`, a disk and a user process.

use std::sync::Arc;

use filterhost::kernel::format::Messages;
use filterhost::status::NtStatus;
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::{FsKind, Volume};
use filterhost::{DriverHandle, LoadOptions, Machine, Mode};

use crate::support;

/// The numbers of `lifecycle.c`.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    Plain = 0,
    DoNotAttach = 1,
    RefuseUnload = 2,
    ChangeWithDirty = 3,
    Cancel = 4,
    Pend = 5,
    PostWhenSafe = 6,
    EcpAttach = 7,
    Complete = 8,
}

/// What a scenario works with.
pub struct World {
    pub m: Arc<Machine>,
    pub driver: DriverHandle,
    pub disk: Arc<Volume>,
    pub process: Process,
}

impl World {
    pub fn new(m: &Arc<Machine>, case: Case, altitude: &str) -> Self {
        let disk = Volume::mount_kind(m, FsKind::Ntfs);
        disk.fs().place("\\file.txt", b"hello").expect("a file");
        let process = Process::create(m, "user.exe", &disk, None);
        let driver = load(m, case, "lifecycle", altitude);
        Self {
            m: m.clone(),
            driver,
            disk,
            process,
        }
    }

    /// Opens and closes the file; gives what the open gave.
    pub fn open(&self) -> Result<(), NtStatus> {
        self.process.run(|process| {
            let file = process.open(&OpenOptions::new("\\file.txt").read())?;
            file.close()
        })
    }

    pub fn said(&self) -> Vec<String> {
        let all = self.m.state::<Messages>().all();
        all.iter().map(|line| line.trim().to_owned()).collect()
    }

    pub fn has_said(&self, line: &str) -> bool {
        self.said().iter().any(|said| said == line)
    }

    pub fn finish(&self) {
        self.driver
            .unload()
            .expect("the driver lets itself be unloaded");
        self.process.exit();
    }
}

pub fn load(m: &Arc<Machine>, case: Case, service: &str, altitude: &str) -> DriverHandle {
    let image = support::driver("lifecycle", &[&format!("-DCASE={}", case as u32)]);
    let options = LoadOptions::new(image, service).instance("one", altitude);
    m.load_driver(&options).expect("the driver loads")
}

/// Runs a scenario free and under seeds, one of them twice.
pub fn on(case: Case, body: impl Fn(&World) + Copy + Send + Sync + 'static) {
    let run = |mode| {
        let outcome = Machine::builder()
            .scheduler(mode)
            .run(move |m| body(&World::new(m, case, "370123")))
            .unwrap_or_else(|report| panic!("{case:?}: {report}"));
        outcome.trace_hash
    };
    run(Mode::Free);
    run(Mode::Seeded(1));
    assert_eq!(run(Mode::Seeded(2)), run(Mode::Seeded(2)));
}
