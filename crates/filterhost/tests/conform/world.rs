//! Brings about the situation that a case names, on a machine of its own, and runs the case.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use filterhost::driver::LoadOptions;
use filterhost::fltmgr;
use filterhost::layout::GUID;
use filterhost::registry::Value;
use filterhost::user::{EcpSpec, FileHandle, OpenOptions, Process};
use filterhost::volume::{FsKind, Volume, VolumeOptions};
use filterhost::{Machine, MachineBuilder, Outcome, Report};

use crate::client::Client;
use crate::gate::Gate;
use crate::guest::{Guest, Moment, Symbols};
use crate::situation::{Beside, Disk, Situation, Target, When};

/// The service's name, and where its only instance sits.
const SERVICE: &str = "conform";
const ALTITUDE: &str = "370123";
/// The container of the situations in a silo.
const CONTAINER: GUID = guid(0xc0ff_ee00, 0x1234, 0x5678, [1, 2, 3, 4, 5, 6, 7, 8]);
/// The extra create parameter of the situations with one from user mode.
const FROM_USER: GUID = guid(0x5555_5555, 0x6666, 0x7777, [9; 8]);
const PAGE_READWRITE: u32 = 4;
const SEC_COMMIT: u32 = 0x800_0000;
const SL_OPEN_PAGING_FILE: u8 = 2;

const fn guid(data1: u32, data2: u16, data3: u16, data4: [u8; 8]) -> GUID {
    GUID {
        data1,
        data2,
        data3,
        data4,
    }
}

/// One case: the image that holds it, and its name taken apart.
#[derive(Clone)]
pub struct Case {
    name: String,
    function: String,
    result: String,
    /// What it is to run in.
    pub situation: Situation,
    image: PathBuf,
}

impl Case {
    /// Takes a name apart.
    ///
    /// # Errors
    /// The word of the situation that means nothing.
    pub fn of(name: &str, image: &Path) -> Result<Self, String> {
        let mut parts = name.split("__");
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (situation, function, result) = (part(), part(), part());
        Ok(Self {
            name: name.to_owned(),
            function,
            result,
            situation: Situation::parse(&situation)?,
            image: image.to_owned(),
        })
    }
}

/// Runs a case once on such a machine.
///
/// # Errors
/// The report that ended the run; inside, what the world or the case itself found wrong.
pub fn run(case: Case, machine: MachineBuilder) -> Result<Outcome<Result<(), String>>, Report> {
    machine
        .special_pool(case.situation.special)
        .watchdog(Duration::from_secs(20))
        .run(move |m| World::run(m, case))
}

/// The parts of a run.
struct World {
    m: Arc<Machine>,
    case: Case,
    volume: Arc<Volume>,
    guest: Arc<Guest>,
    user: Process,
}

impl World {
    fn run(m: &Arc<Machine>, case: Case) -> Result<(), String> {
        let symbols = Symbols::read(&case.image);
        let options = load_options(&case, &symbols)?;
        if case.situation.fault && case.situation.when == When::Entry {
            m.faults().fail_call(&case.function, 1);
        }
        if case.situation.dispatch {
            fltmgr::dispatch::set_post_level(m, fltmgr::dispatch::PostLevel::Dispatch);
        }
        if case.situation.beside == Beside::Untraced {
            m.state::<filterhost::kernel::etw::Tracing>()
                .listen(m, None);
        }
        let early = case.situation.mounted.then(|| mount(m, &case.situation));
        if let Some(volume) = &early {
            fltmgr::volume::mounted(m, volume);
        }
        let driver = m.load_driver(&options).map_err(|error| error.to_string())?;
        let guest = Arc::new(Guest::new(driver, symbols));
        if case.situation.when == When::Entry {
            // The harness has registered nothing, so there is nothing to unload.
            return guest.outcome();
        }
        guest.set_switch("ScanInstances", u32::from(case.situation.scan));
        let volume = early.unwrap_or_else(|| mount(m, &case.situation));
        let silo = match case.situation.beside {
            Beside::Silo => Some(m.create_silo(Some(CONTAINER))),
            Beside::AppSilo => Some(m.create_app_silo(None)),
            Beside::Nested => Some(m.create_app_silo(Some(&m.create_silo(Some(CONTAINER))))),
            _ => None,
        };
        let user = Process::create(m, "user", &volume, silo.as_ref());
        let world = Self {
            m: m.clone(),
            case,
            volume,
            guest,
            user,
        };
        world.play()
    }

    fn play(&self) -> Result<(), String> {
        let case = &self.case;
        if case.situation.when == When::Setup {
            self.guest.arm(&case.name, Moment::Setup);
            let _opened = self.user.run(|user| user.read_file(r"C:\nothing"));
            self.guest.outcome()?;
            return self.guest.unload(&self.m);
        }
        self.fill()?;
        let kept = self.neighbour()?;
        match case.situation.when {
            When::Passive => self.passive()?,
            When::During(moment) => self.during(moment)?,
            When::Unload | When::Dismount | When::Unloaded => self.ending()?,
            When::Entry | When::Setup => {}
        }
        self.guest.outcome()?;
        drop(kept);
        if self.guest.driver.is_unloaded() {
            return Ok(());
        }
        self.guest.unload(&self.m)
    }

    /// The files that the cases open. The first operation also sets up the instance.
    fn fill(&self) -> Result<(), String> {
        if self.case.situation.disk == Disk::ReadOnly {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let file = folder.path().join("file.txt");
            std::fs::write(file, b"hello world").map_err(|error| error.to_string())?;
            let imported = self.volume.import_folder(r"\conform", folder.path());
            imported.map_err(|error| error.to_string())?;
            let seen = self.user.run(|user| user.read_file(r"C:\conform\file.txt"));
            return seen
                .map(drop)
                .map_err(|status| format!("cannot read the file: {status}"));
        }
        let filled = self.user.run(|user| {
            user.create_directory(r"C:\conform")?;
            user.write_file(r"C:\conform\file.txt", b"hello world")?;
            user.write_file(r"C:\conform\empty.txt", b"")?;
            Ok::<(), filterhost::status::NtStatus>(())
        });
        filled.map_err(|status| format!("cannot make the files: {status}"))?;
        if self.case.situation.target == Target::Stream {
            let made = self
                .user
                .run(|user| user.write_file(r"C:\conform\file.txt:more", b"more"));
            made.map_err(|status| format!("cannot make the stream: {status}"))?;
        }
        Ok(())
    }

    /// Whoever else uses the file while the case runs.
    fn neighbour(&self) -> Result<Option<Box<dyn Send>>, String> {
        let other = Process::create(&self.m, "neighbour", &self.volume, None);
        let kept: Result<Box<dyn Send>, _> = match self.case.situation.beside {
            Beside::Locked => other.run(|user| {
                let options = OpenOptions::new(r"C:\conform\file.txt").read().write();
                let file = user.open(&options)?;
                file.lock(0, 4, true)?;
                Ok(Box::new(file) as Box<dyn Send>)
            }),
            Beside::Writable => other.run(|user| {
                let options = OpenOptions::new(r"C:\conform\file.txt").read().write();
                let file = user.open(&options)?;
                let view = file.create_section(PAGE_READWRITE, SEC_COMMIT)?.map()?;
                Ok(Box::new((view, file)) as Box<dyn Send>)
            }),
            _ => return Ok(None),
        };
        kept.map(Some)
            .map_err(|status: filterhost::status::NtStatus| format!("the neighbour: {status}"))
    }

    fn passive(&self) -> Result<(), String> {
        let client = self.client(self.case.situation.beside)?;
        let transaction = self.begin_transaction();
        self.fail_next();
        self.guest.run_here(&self.case.name);
        self.guest.outcome()?;
        self.program()?;
        if let Some(transaction) = transaction {
            fltmgr::transaction::end(&self.m, transaction, !self.case.situation.rolled);
            let check = format!("check__{}__{}", self.case.function, self.case.result);
            self.guest.run_helper(&check)?;
        }
        client.finish(&self.guest)
    }

    /// A program is started and ended, where the situation has one; the case looks at it.
    fn program(&self) -> Result<(), String> {
        let refused = match self.case.situation.beside {
            Beside::Program => false,
            Beside::Refused => true,
            _ => return Ok(()),
        };
        let started = self
            .user
            .run(|user| user.start_program(r"C:\conform\file.txt"));
        match started {
            Ok(program) if !refused => program.end(),
            Err(filterhost::status::STATUS_ACCESS_DENIED) if refused => {}
            Ok(_) => return Err("the program was to be refused".to_owned()),
            Err(status) => return Err(format!("the program did not start: {status}")),
        }
        let check = format!("check__{}__{}", self.case.function, self.case.result);
        self.guest.run_helper(&check).map(drop)
    }

    fn begin_transaction(&self) -> Option<fltmgr::transaction::Transaction> {
        let wanted = self.case.situation.transaction;
        let transaction = wanted.then(|| fltmgr::transaction::begin(&self.m))?;
        self.guest
            .set_pointer("TheTransaction", transaction.address());
        Some(transaction)
    }

    fn fail_next(&self) {
        if self.case.situation.fault {
            self.m.faults().fail_call(&self.case.function, 1);
        }
        if self.case.situation.starved {
            self.m.faults().fail_allocation(1);
        }
    }

    fn during(&self, moment: Moment) -> Result<(), String> {
        let client = self.client(self.client_of_open())?;
        let situation = self.case.situation;
        let (guest, name) = (self.guest.clone(), self.case.name.clone());
        let (m, function) = (self.m.clone(), self.case.function.clone());
        let gate = (situation.beside == Beside::Draining).then(|| {
            let gate = Arc::new(Gate::default());
            fltmgr::native::attach(&self.m, &self.volume, gate.clone());
            gate
        });
        let task = self.user.spawn("opener", move |user| {
            guest.arm(&name, moment);
            if situation.fault {
                m.faults().fail_call(&function, 1);
            }
            let file = open(user, &situation)?;
            if situation.beside == Beside::Paging {
                let section = file.create_section(PAGE_READWRITE, SEC_COMMIT)?;
                section.map()?.write(0, b"dirty")?;
                section.close()?;
                file.flush()?;
            }
            let _read = file.read_at(0, 4);
            file.close()
        });
        match situation.beside {
            Beside::Dying => {
                self.m.sched().sleep(Duration::from_millis(50));
                task.terminate();
            }
            Beside::Ending => {
                self.m.sched().sleep(Duration::from_millis(50));
                self.guest.unload(&self.m)?;
            }
            Beside::Draining => {
                let gate = gate.as_ref().ok_or("a gate was made")?;
                gate.wait(&self.m);
                self.guest.unload(&self.m)?;
                gate.open(&self.m);
            }
            Beside::Abort => {
                self.m.sched().sleep(Duration::from_millis(50));
                task.cancel_io();
            }
            _ => {}
        }
        let ended = task.join();
        self.guest.outcome()?;
        client.finish(&self.guest)?;
        self.check_open(ended)
    }

    fn client(&self, beside: Beside) -> Result<Client, String> {
        Client::for_case(&self.m, &self.volume, &self.guest, beside)
    }

    /// A case that sends in an operation needs a client that is silent.
    fn client_of_open(&self) -> Beside {
        match self.case.function.as_str() {
            "FltSendMessage" => Beside::Silent,
            _ => Beside::Nothing,
        }
    }

    fn check_open(&self, ended: Result<(), filterhost::status::NtStatus>) -> Result<(), String> {
        use filterhost::status::STATUS_ACCESS_DENIED;
        match (self.case.situation.beside, ended) {
            (Beside::Cancelled, Err(STATUS_ACCESS_DENIED)) | (_, Ok(())) => Ok(()),
            (Beside::Dying | Beside::Abort, Err(_)) => Ok(()),
            (Beside::Cancelled, other) => Err(format!("the cancelled open gave {other:?}")),
            (_, Err(status)) => Err(format!("the user's open failed: {status}")),
        }
    }

    /// The filter or the volume goes away while a file is open.
    fn ending(&self) -> Result<(), String> {
        let transaction = self.begin_transaction();
        let file = self
            .user
            .run(|user| user.open(&OpenOptions::new(r"C:\conform\file.txt").read()))
            .map_err(|status| format!("cannot open the file: {status}"))?;
        let prepare = format!("prepare__{}__{}", self.case.function, self.case.result);
        self.guest.run_helper(&prepare)?;
        let moment = match self.case.situation.when {
            When::Unloaded => Moment::Unloaded,
            _ => Moment::Teardown,
        };
        self.guest.arm(&self.case.name, moment);
        if self.case.situation.when == When::Dismount {
            fltmgr::volume::dismounted(&self.m, &self.volume);
        } else {
            self.guest.unload(&self.m)?;
        }
        if let Some(transaction) = transaction {
            fltmgr::transaction::end(&self.m, transaction, true);
        }
        let closed = self.user.run(move |_| file.close());
        closed.map_err(|status| format!("cannot close the file: {status}"))
    }
}

fn load_options(case: &Case, symbols: &Symbols) -> Result<LoadOptions, String> {
    let mut options = LoadOptions::new(&case.image, SERVICE);
    if case.situation.beside != Beside::Unlisted {
        options = options.instance("Conform Instance", ALTITUDE);
    }
    options = options.value("Parameters", "Number", Value::dword(7));
    if case.situation.when == When::Entry {
        let distance = symbols.find(&case.name).ok_or("the image lacks the case")?;
        let distance = u32::try_from(distance).map_err(|error| error.to_string())?;
        options = options.value("", "EntryCase", Value::dword(distance));
    }
    Ok(options)
}

fn mount(m: &Arc<Machine>, situation: &Situation) -> Arc<Volume> {
    let disk = situation.disk;
    let named = !matches!(disk, Disk::Network | Disk::Nameless);
    let options = VolumeOptions {
        kind: if disk == Disk::Network {
            FsKind::Lanman
        } else {
            FsKind::Ntfs
        },
        guid: named.then(|| guid(0xdead_0001, 0x2222, 0x3333, [7; 8])),
        read_only: disk == Disk::ReadOnly,
        dax: disk == Disk::Dax,
    };
    Volume::mount(m, &options)
}

fn open(user: &Process, situation: &Situation) -> Result<FileHandle, filterhost::status::NtStatus> {
    let options = match situation.target {
        Target::File => OpenOptions::new(r"C:\conform\file.txt").read(),
        Target::Stream => OpenOptions::new(r"C:\conform\file.txt:more").read(),
        Target::Empty => OpenOptions::new(r"C:\conform\empty.txt").read(),
        Target::Missing => OpenOptions::new(r"C:\conform\missing.txt").read(),
        Target::Directory => OpenOptions::new(r"C:\conform").list(),
        Target::Volume => {
            let place = user.resolve("C:")?;
            OpenOptions::of_volume(&place.volume).read()
        }
        Target::PagingFile => OpenOptions::new(r"C:\pagefile.sys")
            .read()
            .write()
            .create()
            .kernel_mode()
            .operation_flags(SL_OPEN_PAGING_FILE),
    };
    let options = match situation.beside {
        Beside::UserEcp => options.ecp(EcpSpec {
            kind: FROM_USER,
            context: vec![1; 16],
            from_user: true,
            acknowledged: false,
        }),
        Beside::Async => options.asynchronous(),
        Beside::Writing | Beside::Paging => options.write(),
        _ => options,
    };
    user.open(&options)
}
