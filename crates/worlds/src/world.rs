//! A container host: a machine with a system volume, the driver loaded, the scan service running.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use filterhost::fltmgr::port::security;
use filterhost::registry::{Key, Value};
use filterhost::sched::ThreadRef;
use filterhost::user::Process;
use filterhost::volume::{FsKind, Volume};
use filterhost::{DriverHandle, LoadError, LoadOptions, Machine};
use parking_lot::Mutex;
use siloscan_core::key::VolumeGuid;
use siloscan_core::reason::{Counted, CounterIndex, ENTRIES, Event};
use siloscan_core::wire::News;
use siloscan_service::engine::Engine;
use siloscan_service::events::{Event as Told, EventSink};
use siloscan_service::platform::SimulatedPlatform;
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;

/// Name of the driver's service, and of its registry key.
pub const SERVICE: &str = "siloscan";
/// Name of the driver's instance.
pub const INSTANCE: &str = "siloscan Instance";
/// Altitude for tests; a vendor gets its own from Microsoft.
pub const ALTITUDE: &str = "320999.5";
/// Load order group of its service, as the INF has it.
pub const GROUP: &str = "FSFilter Anti-Virus";

/// Numbers of `NT SERVICE\siloscand` after `S-1-5`: 80 and the SHA-1 of the name in upper-case
/// UTF-16, as five little-endian words.
pub const SERVICE_SID: [u32; 6] = [
    80,
    0x4b01_8495,
    0x78ab_d6da,
    0xe7bd_f31c,
    0xba4f_467f,
    0xd1fe_15cc,
];

/// How a container host is to be.
#[derive(Clone)]
pub struct WorldOptions {
    /// The driver image.
    pub image: PathBuf,
    /// Values of the driver's `Parameters` key.
    pub parameters: Vec<(String, u32)>,
    /// More of them, of any type.
    pub values: Vec<(String, Value)>,
    /// The engine of the service; none is a host without a service.
    pub engine: Option<Arc<dyn Engine>>,
    /// Threads of the service that scan.
    pub threads: usize,
    /// Build of Windows that the machine claims to be; 20348 is Server 2022.
    pub build: u32,
    /// Exports that its kernel lacks all the same.
    pub without: Vec<&'static str>,
}

/// Collects what the service reports.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Told>>>);

impl EventSink for Events {
    fn report(&self, event: Told) {
        self.0.lock().push(event);
    }
}

impl Events {
    /// Everything reported until now.
    #[must_use]
    pub fn all(&self) -> Vec<Told> {
        self.0.lock().clone()
    }

    /// Rule and path of each detection until now.
    #[must_use]
    pub fn detections(&self) -> Vec<(String, String)> {
        let events = self.0.lock();
        let found = events.iter().filter_map(|event| match event {
            Told::Detection { rule, scan, .. } => Some((rule.clone(), scan.path.clone())),
            _ => None,
        });
        found.collect()
    }
}

/// The scan service as a process of the machine.
pub struct RunningService {
    service: Arc<Service<SimulatedPlatform>>,
    process: Process,
    thread: ThreadRef,
    events: Events,
}

/// A container host that runs.
pub struct World {
    m: Arc<Machine>,
    system: Arc<Volume>,
    driver: DriverHandle,
    service: Mutex<Option<RunningService>>,
}

impl World {
    /// Boots a host on the calling simulated thread: a system volume, the driver, the service.
    ///
    /// # Errors
    /// Why the driver does not load.
    pub fn boot(m: &Arc<Machine>, options: &WorldOptions) -> Result<Self, LoadError> {
        let system = Volume::mount_kind(m, FsKind::Ntfs);
        let mut load = LoadOptions::new(&options.image, SERVICE)
            .group(GROUP)
            .instance(INSTANCE, ALTITUDE);
        for (name, value) in &options.parameters {
            load = load.value("Parameters", name, Value::dword(*value));
        }
        for (name, value) in &options.values {
            load = load.value("Parameters", name, value.clone());
        }
        let driver = m.load_driver(&load)?;
        let world = Self {
            m: Arc::clone(m),
            system,
            driver,
            service: Mutex::new(None),
        };
        if let Some(engine) = &options.engine {
            world.start_service(Arc::clone(engine), options.threads);
        }
        Ok(world)
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.m
    }

    /// The host's system volume, drive C of its processes.
    #[must_use]
    pub fn system(&self) -> &Arc<Volume> {
        &self.system
    }

    /// The driver's key in the registry, below which `Parameters` lies.
    #[must_use]
    pub fn service_key(&self) -> Arc<Key> {
        self.m.registry().service(SERVICE)
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// A process of the host, outside of any container.
    #[must_use]
    pub fn process(&self, name: &str) -> Process {
        Process::create(&self.m, name, &self.system, None)
    }

    /// Starts the scan service and waits until the driver has asked it for the first time.
    pub fn start_service(&self, engine: Arc<dyn Engine>, threads: usize) {
        let process = self.process("siloscand");
        process
            .kernel()
            .set_user_sid(Some(security::sid(5, &SERVICE_SID)));
        let events = Events::default();
        let settings = Settings {
            threads,
            tell_layers: true,
            ..Settings::default()
        };
        let platform = SimulatedPlatform::new(&self.m, process.kernel()).with_files(&process);
        let service = Service::new(platform, settings, engine, Box::new(events.clone()))
            .expect("the settings are within their bounds");
        let thread = SimulatedPlatform::start(&service);
        let polled = || (service.driver_epoch().is_some()).then_some(());
        let deadline = self.m.sched().now().after(Duration::from_secs(60));
        let waited = self.m.sched().wait_until("service", Some(deadline), polled);
        assert!(
            waited.is_ok(),
            "the driver polls the service: {:?}",
            events.all()
        );
        *self.service.lock() = Some(RunningService {
            service,
            process,
            thread,
            events,
        });
    }

    /// Gives a volume a drive letter in the service's process.
    pub fn set_service_drive(&self, letter: char, volume: &Arc<Volume>) {
        if let Some(running) = &*self.service.lock() {
            running.process.set_drive(letter, volume);
        }
    }

    /// Stops the service: its threads end and its port closes.
    pub fn stop_service(&self) {
        let Some(running) = self.service.lock().take() else {
            return;
        };
        running.service.stop();
        self.m.sched().join(&running.thread);
        running.process.exit();
    }

    /// Gives the service another rule set, and waits until the driver has begun its epoch.
    pub fn use_engine(&self, engine: Arc<dyn Engine>) {
        let Some(service) = self.service() else {
            return;
        };
        let before = service.driver_epoch();
        service.use_engine(engine);
        let moved = || (service.driver_epoch() > before).then_some(());
        let deadline = self.m.sched().now().after(Duration::from_secs(60));
        let waited = self.m.sched().wait_until("epoch", Some(deadline), moved);
        assert!(waited.is_ok(), "the driver learns of the new rule set");
    }

    /// The service says that it begins to scan the layers of a volume; the driver has heard it.
    pub fn covering(&self, volume: &Volume) {
        self.tell_of(volume, News::Covering);
    }

    /// The service says that this scan has ended well; the driver has heard it.
    pub fn covered(&self, volume: &Volume) {
        self.tell_of(volume, News::Covered);
    }

    fn tell_of(&self, volume: &Volume, news: fn(VolumeGuid, u64) -> News) {
        let guid = volume.guid().and_then(|guid| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&guid.data1.to_le_bytes());
            bytes[4..6].copy_from_slice(&guid.data2.to_le_bytes());
            bytes[6..8].copy_from_slice(&guid.data3.to_le_bytes());
            bytes[8..].copy_from_slice(&guid.data4);
            VolumeGuid::from_bytes(bytes)
        });
        let (Some(service), Some(guid)) = (self.service(), guid) else {
            return;
        };
        let heard = [
            Event::CoverageBegun.counter(),
            Event::CoverageReported.counter(),
            Event::CoverageRefused.counter(),
        ];
        let sum = |counts: &Counts| -> u64 { heard.iter().map(|at| counts.at(*at)).sum() };
        let before = sum(&self.counts());
        service.tell(news(guid, service.driver_epoch().unwrap_or(0)));
        let told = self.counts_once(|counts| sum(counts) > before);
        assert!(told.is_some(), "the driver hears what the service says");
    }

    /// The driver's counters as soon as `found` says so of them; nothing if it never does. They
    /// travel as messages of their own, which another message can overtake.
    pub fn counts_once(&self, found: impl Fn(&Counts) -> bool) -> Option<Counts> {
        (0..100).find_map(|_| Some(self.counts()).filter(|counts| found(counts)))
    }

    /// What the service has reported.
    #[must_use]
    pub fn events(&self) -> Events {
        let service = self.service.lock();
        service
            .as_ref()
            .map(|running| running.events.clone())
            .unwrap_or_default()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> Option<Arc<Service<SimulatedPlatform>>> {
        self.service
            .lock()
            .as_ref()
            .map(|running| Arc::clone(&running.service))
    }

    /// Scans that the service was asked for until now.
    #[must_use]
    pub fn scans(&self) -> u64 {
        self.service()
            .map_or(0, |service| service.figures().scan_requests)
    }

    /// All counters of the driver, as it tells them after everything that happened until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Some(service) = self.service() else {
            return Counts(Vec::new());
        };
        // The answer to the poll that is held goes out now; the driver then tells its counters if
        // any moved, and polls again. After the second answer they have arrived.
        for _ in 0..3 {
            let before = service.figures().polls;
            service.tell(News::Nothing);
            let answered = || (service.figures().polls > before).then_some(());
            let deadline = self.m.sched().now().after(Duration::from_secs(30));
            let _polled = self
                .m
                .sched()
                .wait_until("counters", Some(deadline), answered);
        }
        Counts(service.driver_counts())
    }

    /// One counter of the driver.
    #[must_use]
    pub fn count(&self, reason: impl Counted) -> u64 {
        self.counts().get(reason)
    }

    /// Stops the service and unloads the driver; the machine's checkers say what is left.
    pub fn shut_down(&self) {
        self.stop_service();
        self.driver
            .unload()
            .expect("the driver unloads when it is asked to");
    }
}

/// The driver's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// Counters in the order of [`ENTRIES`].
    #[must_use]
    pub fn from_values(values: Vec<u64>) -> Self {
        Self(values)
    }

    /// The count of one reason.
    #[must_use]
    pub fn get(&self, reason: impl Counted) -> u64 {
        self.at(reason.counter())
    }

    fn at(&self, counter: CounterIndex) -> u64 {
        self.0.get(counter.index()).copied().unwrap_or(0)
    }

    /// Kind, name and number of every counter that is not zero.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, &'static str, u64)> {
        let pairs = ENTRIES.iter().zip(&self.0);
        pairs
            .filter(|(_, n)| **n > 0)
            .map(|(entry, n)| (entry.kind, entry.name, *n))
            .collect()
    }
}
