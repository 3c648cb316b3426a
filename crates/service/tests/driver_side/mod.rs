//! The driver's side of the port, played in this process by the test: sends messages, offers
//! sections, sees replies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use siloscan_core::key::Key;
use siloscan_core::wire::{
    Chunk, ChunkReply, Piece, Poll, PollAnswer, PollFlags, PollReply, Scan, ScanAnswer, ScanFlags,
    ScanReply, ScanRequest, Stop, StopReply,
};
use siloscan_service::events::{Event, EventSink};
use siloscan_service::platform::{
    ConnectError, Delivery, Platform, Port, PortError, RemoveError, Section, SectionError, Work,
};
use siloscan_service::scans::Scans;
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;
use zerocopy::{FromZeros, IntoBytes};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A file as a section shows it.
#[derive(Clone, Default)]
pub struct FileBytes {
    pub bytes: Vec<u8>,
    /// Reading takes this long for each call.
    pub slow: Duration,
}

#[derive(Default)]
struct State {
    messages: VecDeque<(Delivery, Vec<u8>)>,
    replies: BTreeMap<u64, Vec<(i32, Vec<u8>)>>,
    sections: BTreeMap<u64, FileBytes>,
    open: u64,
    open_bytes_most: u64,
    open_bytes: u64,
    closed_twice: u64,
    connected: bool,
    refuse: Option<ConnectError>,
    hellos: Vec<Vec<u8>>,
    next: u64,
    /// Files on volumes, which the service may delete.
    files: BTreeMap<Key, Vec<u8>>,
    /// Must be true whenever a file is deleted.
    when_removing: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// The driver's side. Clones share one state.
#[derive(Clone, Default)]
pub struct DriverSide {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl DriverSide {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.0.lock());
        self.state.1.notify_all();
        result
    }

    /// Waits until `ready` gives something.
    pub fn wait<R>(&self, mut ready: impl FnMut() -> Option<R>) -> R {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            assert!(Instant::now() < end, "waited too long");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends raw bytes; returns the message's number.
    pub fn send(&self, bytes: &[u8], reply_capacity: u32) -> u64 {
        self.with(|state| {
            state.next += 1;
            let delivery = Delivery {
                message: state.next,
                reply_capacity,
            };
            state.messages.push_back((delivery, bytes.to_vec()));
            state.next
        })
    }

    /// Makes a section handle for `file`.
    pub fn offer(&self, file: FileBytes) -> u64 {
        self.with(|state| {
            state.next += 1;
            let handle = state.next * 4;
            state.sections.insert(handle, file);
            handle
        })
    }

    /// Asks for a scan of `file` as if it had `size` bytes. The request has the message's number.
    pub fn ask(&self, file: FileBytes, size: u64) -> u64 {
        self.ask_with(file, |request| request.size = size)
    }

    /// Asks for a scan, after `change` to the usual request.
    pub fn ask_with(&self, file: FileBytes, change: impl FnOnce(&mut ScanRequest)) -> u64 {
        let size = file.bytes.len() as u64;
        let section = self.offer(file);
        self.with(|state| {
            state.next += 1;
            let mut request = ScanRequest {
                request: state.next,
                section,
                size,
                key: None,
                container: [7; 16],
                process: 4321,
                flags: ScanFlags(ScanFlags::OPEN),
                deadline_ms: 30_000,
                list: 0,
            };
            change(&mut request);
            let mut scan = Scan::new_zeroed();
            scan.fill(
                &request,
                r"\Device\HarddiskVolume9\Windows\x.dll".encode_utf16(),
            );
            let delivery = Delivery {
                message: state.next,
                reply_capacity: size_of::<ScanReply>() as u32,
            };
            state
                .messages
                .push_back((delivery, scan.as_bytes().to_vec()));
            state.next
        })
    }

    /// Sends a piece of a file; returns the message's number.
    pub fn send_piece(&self, piece: &Piece, bytes: &[u8]) -> u64 {
        let mut chunk = Box::new(Chunk::new_zeroed());
        chunk.describe(piece);
        chunk.bytes[..bytes.len()].copy_from_slice(bytes);
        self.send(chunk.as_bytes(), size_of::<ChunkReply>() as u32)
    }

    /// Asks for the scan of bytes that were sent as `request`; returns the message's number.
    pub fn ask_for_sent(&self, request: u64, size: u64) -> u64 {
        let request = ScanRequest {
            request,
            section: 0,
            size,
            key: None,
            container: [7; 16],
            process: 4321,
            flags: ScanFlags(ScanFlags::OPEN | ScanFlags::SENT),
            deadline_ms: 30_000,
            list: 0,
        };
        let mut scan = Scan::new_zeroed();
        scan.fill(&request, r"\Device\HarddiskVolume9\a.txt".encode_utf16());
        self.send(scan.as_bytes(), size_of::<ScanReply>() as u32)
    }

    pub fn stop(&self, request: u64) {
        self.send(Stop::new(request, 0).as_bytes(), 0);
    }

    /// Wants the section of a request back; returns the message's number.
    pub fn take_back(&self, request: u64, section: u64) -> u64 {
        let stop = Stop::new(request, section);
        self.send(stop.as_bytes(), size_of::<StopReply>() as u32)
    }

    pub fn poll(&self, sequence: u64) -> u64 {
        let poll = Poll::new(sequence, 5, PollFlags(0));
        self.send(poll.as_bytes(), size_of::<PollReply>() as u32)
    }

    /// All replies to a message so far.
    pub fn replies(&self, message: u64) -> Vec<(i32, Vec<u8>)> {
        self.with(|state| state.replies.get(&message).cloned().unwrap_or_default())
    }

    /// Waits for the reply to a message.
    pub fn reply(&self, message: u64) -> (i32, Vec<u8>) {
        self.wait(|| self.replies(message).into_iter().next())
    }

    /// Waits for the answer to a scan.
    pub fn answer(&self, request: u64) -> ScanAnswer {
        let (status, bytes) = self.reply(request);
        assert_eq!(status, 0);
        ScanReply::decode(&bytes, request).expect("a reply of this protocol")
    }

    pub fn poll_answer(&self, message: u64, sequence: u64) -> PollAnswer {
        let (status, bytes) = self.reply(message);
        assert_eq!(status, 0);
        PollReply::decode(&bytes, sequence).expect("a reply of this protocol")
    }

    /// Messages that nobody has taken yet.
    pub fn unread(&self) -> usize {
        self.with(|state| state.messages.len())
    }

    /// Section handles that are not closed; views that are open.
    pub fn sections_left(&self) -> (usize, u64) {
        self.with(|state| (state.sections.len(), state.open))
    }

    pub fn open_views(&self) -> u64 {
        self.with(|state| state.open)
    }

    pub fn most_open_bytes(&self) -> u64 {
        self.with(|state| state.open_bytes_most)
    }

    pub fn closed_twice(&self) -> u64 {
        self.with(|state| state.closed_twice)
    }

    pub fn disconnect(&self) {
        self.with(|state| state.connected = false);
    }

    pub fn refuse(&self, error: Option<ConnectError>) {
        self.with(|state| state.refuse = error);
    }

    /// Puts a file on a volume.
    pub fn store(&self, key: Key, bytes: &[u8]) {
        self.with(|state| state.files.insert(key, bytes.to_vec()));
    }

    /// The files on volumes.
    pub fn stored(&self) -> Vec<Key> {
        self.with(|state| state.files.keys().copied().collect())
    }

    /// What must be true whenever a file is deleted.
    pub fn when_removing(&self, check: impl Fn() -> bool + Send + Sync + 'static) {
        self.with(|state| state.when_removing = Some(Arc::new(check)));
    }

    pub fn hellos(&self) -> Vec<Vec<u8>> {
        self.with(|state| state.hellos.clone())
    }
}

/// Threads and time of the system, the port of a [`DriverSide`].
pub struct TestPlatform {
    start: Instant,
    driver: DriverSide,
}

impl Platform for TestPlatform {
    type Port = TestPort;

    fn connect(&self, hello: &[u8]) -> Result<TestPort, ConnectError> {
        self.driver.with(|state| match state.refuse.clone() {
            Some(error) => Err(error),
            None => {
                state.connected = true;
                state.hellos.push(hello.to_vec());
                Ok(())
            }
        })?;
        Ok(TestPort {
            driver: self.driver.clone(),
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn together(&self, _name: &str, threads: usize, work: Work) {
        thread::scope(|scope| {
            for number in 0..threads {
                let work = Arc::clone(&work);
                scope.spawn(move || work(number));
            }
        });
    }

    fn remove_file(&self, key: &Key, content: &[u8]) -> Result<(), RemoveError> {
        let check = self.driver.with(|state| state.when_removing.clone());
        assert!(check.is_none_or(|check| check()), "it is too early");
        self.driver.with(|state| match state.files.get(key) {
            None => Err(RemoveError::Gone),
            Some(bytes) if bytes != content => Err(RemoveError::Changed),
            Some(_) => {
                state.files.remove(key);
                Ok(())
            }
        })
    }

    fn engines_may_measure_time(&self) -> bool {
        true
    }
}

pub struct TestPort {
    driver: DriverSide,
}

impl Port for TestPort {
    type Section = TestSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let end = Instant::now() + timeout;
        let mut state = self.driver.state.0.lock();
        loop {
            if !state.connected {
                return Err(PortError::Disconnected);
            }
            if let Some((delivery, bytes)) = state.messages.pop_front() {
                *body = bytes;
                return Ok(delivery);
            }
            if self.driver.state.1.wait_until(&mut state, end).timed_out() {
                return Err(PortError::TimedOut);
            }
        }
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        self.driver.with(|state| {
            if !state.connected {
                return Err(PortError::Disconnected);
            }
            state
                .replies
                .entry(message)
                .or_default()
                .push((status, body.to_vec()));
            Ok(())
        })
    }

    fn open_section(&self, handle: u64) -> Result<TestSection, SectionError> {
        self.driver.with(|state| {
            let Some(file) = state.sections.get(&handle).cloned() else {
                return Err(SectionError::Unusable(0xC000_0008));
            };
            state.open += 1;
            state.open_bytes += file.bytes.len() as u64;
            state.open_bytes_most = state.open_bytes_most.max(state.open_bytes);
            Ok(TestSection {
                driver: self.driver.clone(),
                handle,
                file,
            })
        })
    }

    fn close_section(&self, handle: u64) {
        self.driver.with(|state| {
            if state.sections.remove(&handle).is_none() {
                state.closed_twice += 1;
            }
        });
    }
}

pub struct TestSection {
    driver: DriverSide,
    handle: u64,
    file: FileBytes,
}

impl Section for TestSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        thread::sleep(self.file.slow);
        let offset = usize::try_from(offset).unwrap();
        let bytes = self.file.bytes.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(SectionError::Shrunk)?);
        Ok(())
    }
}

impl Drop for TestSection {
    fn drop(&mut self) {
        self.driver.with(|state| {
            state.open -= 1;
            state.open_bytes -= self.file.bytes.len() as u64;
            if state.sections.remove(&self.handle).is_none() {
                state.closed_twice += 1;
            }
        });
    }
}

/// Keeps every event.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().clone()
    }
}

impl EventSink for Events {
    fn report(&self, event: Event) {
        self.0.lock().push(event);
    }
}

/// A service that runs, and both its ends.
pub struct Running {
    pub driver: DriverSide,
    pub service: Arc<Service<TestPlatform>>,
    pub events: Events,
    thread: Option<thread::JoinHandle<Result<(), ConnectError>>>,
}

impl Running {
    pub fn start(engine: impl Into<Scans>, settings: Settings) -> Self {
        Self::start_with(DriverSide::default(), engine, settings)
    }

    pub fn start_with(driver: DriverSide, engine: impl Into<Scans>, settings: Settings) -> Self {
        let events = Events::default();
        let platform = TestPlatform {
            start: Instant::now(),
            driver: driver.clone(),
        };
        let service =
            Service::new(platform, settings, engine, Box::new(events.clone())).expect("settings");
        let own = Arc::clone(&service);
        let thread = thread::spawn(move || own.run());
        let running = Self {
            driver,
            service,
            events,
            thread: Some(thread),
        };
        running
            .driver
            .wait(|| (!running.driver.hellos().is_empty()).then_some(()));
        running
    }

    /// Stops the service and checks that it let go of everything.
    pub fn finish(mut self) -> Arc<Service<TestPlatform>> {
        self.service.stop();
        let ended = self
            .thread
            .take()
            .unwrap()
            .join()
            .expect("no thread panicked");
        assert_eq!(ended, Ok(()));
        assert_eq!(
            self.driver.sections_left(),
            (0, 0),
            "handles and views are closed"
        );
        assert_eq!(self.driver.closed_twice(), 0, "no handle is closed twice");
        Arc::clone(&self.service)
    }
}
