//! How each cause of a failure is provoked in a world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filterhost::container::Container;
use filterhost::status::{NtStatus, STATUS_SUCCESS};
use filterhost::user::{FileHandle, OpenOptions, Process, Task};
use filterhost::volume::fs::control::FSCTL_REQUEST_BATCH_OPLOCK;
use filterhost::volume::{FsKind, Volume};
use filterhost::wcifs::EcpVariant;
use siloscan_core::limits::SENT_BYTES_MAX;
use siloscan_core::reason::{Event, Failure};
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::puppet::{Asked, Delivered, Puppet};
use siloscan_worlds::scene::{TOOL, containers, layer};
use siloscan_worlds::world::World;

use crate::FILE;

/// Where an open comes from, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A program of the host, and its own file.
    Host,
    /// A container's program and a file that it made.
    Scratch,
    /// A container's program and a package file.
    Layer,
}

/// Every cause but a full queue, which has a test of its own.
pub const CAUSES: [Failure; 16] = [
    Failure::NoService,
    Failure::NoMemory,
    Failure::ShareUsed,
    Failure::Unloading,
    Failure::BadReply,
    Failure::ServiceError,
    Failure::Breaker,
    Failure::Unreadable,
    Failure::Locked,
    Failure::Changing,
    Failure::Conflict,
    Failure::TooSlow,
    Failure::Oplock,
    Failure::NotRecalled,
    Failure::Unscannable,
    Failure::TooLarge,
];

/// Flights of one silo where its share is one percent.
const SHARE: usize = 5;
const MAKES_SECTIONS: &str = "FltCreateSectionForDataScan";

/// One open that cannot be scanned, before it happens.
pub struct Case<'w> {
    world: &'w World,
    cause: Failure,
    /// Who opens.
    pub opener: Process,
    /// What is opened.
    pub path: &'static str,
    /// Somebody who reaches the bytes themselves: for a package file a program of the host.
    owner: Process,
    containers: Arc<Vec<Container>>,
}

/// What lasts until the open is over.
pub struct Provoked {
    pub puppet: Option<Arc<Puppet>>,
    holder: Option<FileHandle>,
    busy: Vec<Task<Result<(), NtStatus>>>,
    ended: Arc<AtomicBool>,
}

impl<'w> Case<'w> {
    /// A container, its layer, and the file.
    pub fn new(world: &'w World, cause: Failure, route: Route) -> Self {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        if cause == Failure::TooLarge {
            containers[0].scratch().refuse_data_scan();
        }
        let (opener, path) = match route {
            Route::Host => (world.process("app"), FILE),
            Route::Scratch => (containers[0].process("app"), FILE),
            Route::Layer => (containers[0].process("app"), TOOL),
        };
        let owner = match route {
            Route::Host | Route::Scratch => opener.clone(),
            Route::Layer => world.process("host"),
        };
        match route {
            Route::Layer => owner.set_drive('C', &layer.volume),
            Route::Host if cause == Failure::TooLarge => {
                let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
                volume.refuse_data_scan();
                opener.set_drive('C', &volume);
            }
            Route::Host | Route::Scratch => {}
        }
        // Created: nothing is refused, and without a service nothing is scanned at its close.
        opener.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
        Self {
            world,
            cause,
            opener,
            path,
            owner,
            containers,
        }
    }

    /// Everything that makes the open fail, a service included.
    pub fn provoke(&self) -> Provoked {
        let holder = self.before_the_service();
        let puppet = service(self.world, self.cause);
        let mut provoked = Provoked {
            puppet,
            holder,
            busy: Vec::new(),
            ended: Arc::default(),
        };
        match self.cause {
            Failure::NoMemory => self.no_memory(true),
            Failure::ShareUsed => self.use_the_share(&mut provoked),
            Failure::Changing => self.change_without_end(&mut provoked),
            _ => {}
        }
        provoked
    }

    /// How the open is asked for.
    pub fn options(&self) -> OpenOptions {
        const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x100;
        let options = OpenOptions::new(self.path).read();
        match self.cause {
            Failure::Oplock => options.options(FILE_COMPLETE_IF_OPLOCKED),
            _ => options,
        }
    }

    /// Whether somebody must be let through to the file before there is a service.
    pub fn is_prepared(cause: Failure) -> bool {
        matches!(
            cause,
            Failure::Locked
                | Failure::Oplock
                | Failure::Changing
                | Failure::NotRecalled
                | Failure::TooLarge
        )
    }

    /// Lets everything go.
    pub fn over(&self, provoked: Provoked) {
        if self.cause == Failure::NoMemory {
            self.no_memory(false);
        }
        provoked.ended.store(true, Ordering::SeqCst);
        for task in provoked.busy {
            let _its_own_end = task.join();
        }
        if let Some(holder) = provoked.holder {
            self.opener
                .run(move |_| holder.close().expect("an open handle"));
        }
        self.containers[0].destroy();
    }

    /// What somebody does with the file while there is no service.
    fn before_the_service(&self) -> Option<FileHandle> {
        const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;
        let (cause, path) = (self.cause, self.path);
        if cause == Failure::ShareUsed {
            self.opener.run(|p| {
                for file in busy_files() {
                    p.write_file(&file, b"busy").expect("a new file");
                }
            });
        }
        // Locks are taken as the container takes them, through its own file system.
        let by = match cause {
            Failure::Locked | Failure::Oplock => &self.opener,
            _ => &self.owner,
        };
        by.run(move |p| {
            let open = |options: OpenOptions| p.open(&options).expect("before the service");
            match cause {
                Failure::Locked => {
                    let file = open(OpenOptions::new(path).read());
                    file.lock(0, 1, true).expect("nobody else has one");
                    Some(file)
                }
                Failure::Oplock => {
                    let file = open(OpenOptions::new(path).read());
                    file.control(FSCTL_REQUEST_BATCH_OPLOCK, &[], 0)
                        .expect("nobody else has it open");
                    Some(file)
                }
                Failure::Changing => Some(open(OpenOptions::new(path).write())),
                Failure::NotRecalled => {
                    let file = open(OpenOptions::new(path).write());
                    file.set_attributes(RECALL_ON_DATA_ACCESS)
                        .expect("settable");
                    None
                }
                Failure::TooLarge => {
                    let file = open(OpenOptions::new(path).write());
                    file.set_end_of_file(SENT_BYTES_MAX + 1).expect("room");
                    None
                }
                _ => None,
            }
        })
    }

    fn no_memory(&self, failing: bool) {
        let faults = self.world.machine().faults();
        faults.fail_every_call(MAKES_SECTIONS, failing);
    }

    /// As many scans of the container's as it may have, none of which ends.
    fn use_the_share(&self, provoked: &mut Provoked) {
        for file in busy_files() {
            let open = self.opener.spawn("busy", move |p| {
                p.open(&OpenOptions::new(&file).read()).map(drop)
            });
            provoked.busy.push(open);
        }
        let puppet = provoked.puppet.as_ref().expect("there is a service");
        let started = || {
            let started = puppet.count(Event::FlightStarted);
            (started >= SHARE as u64).then_some(())
        };
        wait(self.world, "the busy scans", started);
    }

    /// Writes to the file again and again, faster than it can be scanned.
    fn change_without_end(&self, provoked: &mut Provoked) {
        let writer = provoked.holder.take().expect("it was opened for writing");
        let ended = Arc::clone(&provoked.ended);
        let writer = self.owner.spawn("writer", move |p| {
            while !ended.load(Ordering::SeqCst) {
                writer.write_at(0, b"other")?;
                p.machine().sched().sleep(Duration::from_millis(5));
            }
            writer.close()
        });
        provoked.busy.push(writer);
    }
}

fn busy_files() -> impl Iterator<Item = String> {
    (0..SHARE).map(|number| format!(r"C:\busy-{number}.bin"))
}

/// Waits for something that must come.
pub fn wait(world: &World, what: &'static str, there: impl FnMut() -> Option<()>) {
    let waited = world.machine().sched().wait_until(what, None, there);
    assert!(waited.is_ok(), "{what}");
}

/// A service whose answers lead to this failure, where the service's answer does.
fn service(world: &World, cause: Failure) -> Option<Arc<Puppet>> {
    if cause == Failure::NoService {
        return None;
    }
    let puppet = Puppet::start(world, 3, move |puppet: &Puppet, message| {
        answer(puppet, message, cause);
    });
    let puppet = puppet.expect("the driver accepts it");
    if cause == Failure::Breaker {
        let missed = || (puppet.count(Event::HeartbeatMissed) > 0).then_some(());
        wait(world, "the breaker", missed);
    }
    Some(puppet)
}

fn answer(puppet: &Puppet, message: &Delivered, cause: Failure) {
    let verdict = match (&message.asked, cause) {
        (Asked::Poll(_), Failure::Breaker) => return,
        (Asked::Scan(_), Failure::TooSlow | Failure::Unloading | Failure::ShareUsed) => return,
        (Asked::Scan(scan), Failure::BadReply) => {
            puppet.let_go(scan);
            let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &[]);
            return;
        }
        (Asked::Scan(_), Failure::Changing) => {
            let sched = puppet.process().machine().sched();
            sched.sleep(Duration::from_millis(50));
            WireVerdict::CLEAN
        }
        (_, Failure::ServiceError) => WireVerdict::ERROR,
        (_, Failure::Unscannable) => WireVerdict::UNSCANNABLE,
        (_, Failure::Unreadable) => WireVerdict::UNREADABLE,
        (_, Failure::Conflict) => WireVerdict::STOPPED,
        _ => WireVerdict::CLEAN,
    };
    puppet.behave(message, verdict);
}
