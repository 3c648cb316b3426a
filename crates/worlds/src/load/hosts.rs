//! Hosts of a fleet: each a machine of its own with the driver and a service whose verdicts are
//! kept in a file and shared through a real Redis. Each starts a container of the same image.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use filterhost::Machine;
use filterhost::container::{Container, ContainerOptions};
use filterhost::fltmgr::port::security;
use filterhost::remote::{Server, ServerOptions};
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Volume, random_guid};
use filterhost::wcifs::Layer;
use siloscan_service::engine::EngineKind;
use siloscan_service::platform::{BridgePlatform, ConnectError};
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;
use siloscan_service::worker::{WorkerSettings, Workers};
use siloscan_verdicts::{FleetSettings, Secret, Verdicts};

use super::engine::Hungry;
use crate::scene::{self, INFECTED};
use crate::world::{Events, SERVICE_SID, World};
use rustix::process::Signal;

/// How long what must come may take.
const LONG: Duration = Duration::from_mins(2);

/// A redis-server of this program's.
pub struct Redis {
    _folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Redis {
    /// Starts one, with a folder and a port of its own, and waits until it listens.
    ///
    /// # Errors
    /// It does not start: redis-server is to be installed.
    pub fn start() -> Result<Self, String> {
        let no = |cause: std::io::Error| format!("redis-server does not start: {cause}");
        let folder = tempfile::tempdir().map_err(no)?;
        // Free a moment ago: a server that finds it taken ends, and that is told.
        let listener = TcpListener::bind("127.0.0.1:0").map_err(no)?;
        let port = listener.local_addr().map_err(no)?.port();
        drop(listener);
        let mut child = Command::new("/usr/bin/redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(no)?;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("redis-server ended at once: {status}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            _folder: folder,
            port,
            child,
        })
    }

    /// Lets it stand still, as a server that is overloaded.
    pub fn freeze(&self) {
        super::process::signal(self.child.id().cast_signed(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        super::process::signal(self.child.id().cast_signed(), Signal::CONT);
    }

    /// Ends it.
    pub fn end(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// Forgets all that it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn wipe(&self) -> std::io::Result<()> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"FLUSHALL\r\n")?;
        stream.read_exact(&mut [0; 5])
    }

    /// The way to it. With `hurried` a look-up waits as long as a product does; else until it is
    /// answered, since a busy machine may take longer than that.
    ///
    /// # Errors
    /// The address is none, which is a defect.
    pub fn fleet(&self, hurried: bool) -> Result<FleetSettings, String> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let url = url
            .parse()
            .map_err(|cause: siloscan_verdicts::UrlError| cause.to_string())?;
        let mut settings = FleetSettings::new(url, Secret::from_bytes([1; 32]));
        if !hurried {
            settings.patience = LONG;
        }
        Ok(settings)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

/// What happens to Redis while a host starts its container, when half of the files are open.
pub type Midway = Arc<dyn Fn() + Send + Sync>;

/// How a host is to be.
#[derive(Clone)]
pub struct Host {
    /// The driver.
    pub image: PathBuf,
    /// The folder with the package files `f0.dll`, `f1.dll` and so on; `bad.dll` is infected.
    pub layer: PathBuf,
    /// How many package files there are.
    pub files: usize,
    /// How workers are started.
    pub workers: WorkerSettings,
    /// Half of the files are open.
    pub midway: Option<Midway>,
}

/// What one host did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Scans that the driver asked for.
    pub asked: u64,
    /// Files that the engine looked at.
    pub scanned: u64,
    /// Verdicts that came from the fleet.
    pub from_fleet: u64,
    /// Seconds until every file had been opened.
    pub seconds: f64,
    /// Clean files that did not open.
    pub refused: u64,
    /// Whether the infected file was denied.
    pub denied: bool,
}

/// Writes the image's files: clean ones that are not alike, and an infected one.
///
/// # Errors
/// What the system says.
pub fn write_image(folder: &Path, files: usize) -> std::io::Result<()> {
    for number in 0..files {
        let text = format!("MZ package file {number} ").repeat(40);
        std::fs::write(folder.join(format!("f{number}.dll")), text)?;
    }
    let bad = siloscan_service::engine::eicar_test_file();
    std::fs::write(folder.join("bad.dll"), bad)
}

/// Boots a host, starts a container and opens every file of its image once.
///
/// # Errors
/// When the host cannot be made.
///
/// # Panics
/// With a defect of the filter host.
pub fn start_container(host: &Host, fleet: Option<FleetSettings>) -> Result<Told, String> {
    let (host, image) = (host.clone(), host.image.clone());
    let machine = Machine::builder().watchdog(Duration::from_hours(1));
    let outcome = machine.run(move |m| {
        let mut options = scene::with_image(image);
        options.engine = None;
        let world = World::boot(m, &options).map_err(|error| error.to_string())?;
        let told = on(&world, &host, fleet);
        world.shut_down();
        told
    });
    outcome.map_err(|report| report.to_string())?.value
}

/// The service as threads of this program, beside the machine.
struct Beside {
    service: Arc<Service<BridgePlatform>>,
    thread: JoinHandle<Result<(), ConnectError>>,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Beside {
    fn start(world: &World, host: &Host, fleet: Option<FleetSettings>) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        let path = folder.path().join("port");
        let options = ServerOptions {
            path: path.clone(),
            user_sid: Some(security::sid(5, &SERVICE_SID)),
        };
        let server = Server::start(world.machine(), options).map_err(|e| e.to_string())?;
        let workers = Workers::start(Hungry.pack(None), host.workers.clone());
        let workers = workers.map_err(|cause| cause.to_string())?;
        let settings = Settings {
            threads: 2,
            ..Settings::default()
        };
        let events = Box::new(Events::default());
        let service = Service::new(BridgePlatform::new(&path), settings, workers, events);
        let service = service.map_err(|cause| cause.to_string())?;
        let kept = siloscan_verdicts::Settings {
            fleet,
            ..siloscan_verdicts::Settings::new(folder.path().join("verdicts"))
        };
        let verdicts = Verdicts::open(kept, Box::new(|_cause| {}));
        service.keep_verdicts(verdicts.map_err(|cause| cause.to_string())?);
        let own = Arc::clone(&service);
        let thread = thread::spawn(move || own.run());
        let beside = Self {
            service,
            thread,
            server,
            _folder: folder,
        };
        let polled = || beside.service.driver_epoch().is_some();
        wait(world, polled).then_some(beside).ok_or_else(|| {
            "the driver did not ask the service; see cargo xtask test --only image".to_owned()
        })
    }

    fn finish(self, world: &World) -> Result<(), String> {
        if let Some(verdicts) = self.service.verdicts() {
            verdicts.flush(Duration::from_secs(10));
        }
        self.service.stop();
        wait(world, || self.thread.is_finished());
        self.server.stop();
        match self.thread.join() {
            Ok(ended) => ended.map_err(|cause| cause.to_string()),
            Err(_) => Err("a thread of the service panicked".to_owned()),
        }
    }
}

fn wait(world: &World, ready: impl Fn() -> bool) -> bool {
    let end = Instant::now() + LONG;
    while !ready() && Instant::now() < end {
        world.machine().sched().sleep(Duration::from_millis(10));
    }
    ready()
}

fn on(world: &World, host: &Host, fleet: Option<FleetSettings>) -> Result<Told, String> {
    let m = world.machine();
    let volume = Volume::mount_kind(m, FsKind::Ntfs);
    let imported = volume.import_folder(r"\", &host.layer);
    imported.map_err(|error| error.to_string())?;
    let beside = Beside::start(world, host, fleet)?;
    let options = ContainerOptions {
        layers: vec![Layer {
            volume,
            root: r"\".to_owned(),
            registered: false,
            remote: false,
        }],
        container_id: Some(random_guid(m)),
        ..ContainerOptions::default()
    };
    let container = m.create_container(&options);
    let told = opened(&container, host, &beside.service);
    container.destroy();
    beside.finish(world)?;
    Ok(told)
}

fn opened(container: &Container, host: &Host, service: &Service<BridgePlatform>) -> Told {
    let (files, midway) = (host.files, host.midway.clone());
    let process = container.process("init");
    let (refused, denied, seconds) = process.run(move |p| {
        let open = |path: &str| p.open(&OpenOptions::new(path).execute())?.close();
        let begun = Instant::now();
        let mut refused = 0;
        for number in 0..files {
            if let Some(midway) = midway.as_ref().filter(|_| number == files / 2) {
                midway();
            }
            refused += u64::from(open(&format!(r"C:\f{number}.dll")).is_err());
        }
        let denied = open(r"C:\bad.dll") == Err(INFECTED);
        (refused, denied, begun.elapsed().as_secs_f64())
    });
    process.exit();
    let figures = service.figures();
    let kept = service
        .verdicts()
        .map(Verdicts::figures)
        .unwrap_or_default();
    Told {
        asked: figures.scan_requests,
        scanned: (figures.clean + figures.infected)
            .saturating_sub(kept.local_hits + kept.fleet_hits),
        from_fleet: kept.fleet_hits,
        seconds,
        refused,
        denied,
    }
}
