//! The driver's side of the port, in memory: asks for scans, offers sections, keeps the answers.
//! It holds the service to the port's rules: one answer a request, each section closed once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use siloscan_core::wire::{Scan, ScanFlags, ScanReply, ScanRequest, Stop, WireVerdict};
use siloscan_service::platform::{
    ConnectError, Delivery, Platform, Port, PortError, Section, SectionError, Work,
};
use zerocopy::{FromZeros, IntoBytes};

use super::process;

/// A file's bytes, shared by all requests that ask about it.
pub type Bytes = Arc<[u8]>;

/// What the service answered to one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What the request was given to be known by.
    pub tag: u32,
    /// The answer.
    pub verdict: WireVerdict,
    /// What the answer says beside it.
    pub detail: u32,
    /// From the request to the answer.
    pub time: Duration,
}

struct Asked {
    tag: u32,
    at: Instant,
}

#[derive(Default)]
struct State {
    connected: bool,
    messages: VecDeque<(Delivery, Vec<u8>)>,
    waiting: HashMap<u64, Asked>,
    sections: HashMap<u64, Bytes>,
    views: HashSet<u64>,
    answers: Vec<Answer>,
    broken: Vec<String>,
    next: u64,
    stream: Option<Stream>,
}

/// Requests about one file that are asked as others are answered, by whoever answers: a thread of
/// the driver's side would take its time from the service's.
struct Stream {
    file: Bytes,
    deadline_ms: u32,
    left: usize,
    /// Half of these are answered before as many are asked anew.
    under_way: usize,
}

impl State {
    fn ask(&mut self, bytes: &Bytes, tag: u32, deadline_ms: u32) -> u64 {
        self.next += 1;
        let number = self.next;
        let request = ScanRequest {
            request: number,
            section: number,
            size: bytes.len() as u64,
            key: None,
            container: [7; 16],
            process: 4321,
            flags: ScanFlags(ScanFlags::OPEN),
            deadline_ms,
            list: 0,
        };
        let mut scan = Scan::new_zeroed();
        scan.fill(&request, r"\Device\HarddiskVolume9\load.dll".encode_utf16());
        self.sections.insert(number, Arc::clone(bytes));
        let at = Instant::now();
        self.waiting.insert(number, Asked { tag, at });
        let delivery = Delivery {
            message: number,
            reply_capacity: size_of::<ScanReply>() as u32,
        };
        self.messages
            .push_back((delivery, scan.as_bytes().to_vec()));
        number
    }

    /// Asks what the stream has left, as far as it may. True if anything was asked.
    fn ask_more(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let waiting = self.waiting.len();
        if waiting > stream.under_way / 2 {
            return false;
        }
        let many = stream.left.min(stream.under_way - waiting);
        stream.left -= many;
        let (file, deadline_ms) = (Arc::clone(&stream.file), stream.deadline_ms);
        for _ in 0..many {
            self.ask(&file, 0, deadline_ms);
        }
        many > 0
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    message: Condvar,
    answered: Condvar,
    /// Whether copies are measured, and the most bytes of them that were seen at one time.
    copies: AtomicU64,
    watching: AtomicU64,
}

/// The driver's side. Clones share one state.
#[derive(Clone, Default)]
pub struct DriverSide(Arc<Shared>);

impl DriverSide {
    pub(super) fn wait_until_connected(&self) {
        let mut state = self.0.state.lock();
        while !state.connected {
            self.0.answered.wait(&mut state);
        }
    }

    /// Asks for a scan that may take `deadline_ms`. The request's number.
    pub fn ask(&self, bytes: &Bytes, tag: u32, deadline_ms: u32) -> u64 {
        let number = self.0.state.lock().ask(bytes, tag, deadline_ms);
        self.0.message.notify_one();
        number
    }

    /// Asks `count` times about a file, `under_way` of them at one time, and waits until all are
    /// answered. There is always a request for a thread that has nothing to do, and no thread
    /// beside the service's works meanwhile.
    pub fn ask_all(&self, file: &Bytes, count: usize, under_way: usize, deadline_ms: u32) {
        let mut state = self.0.state.lock();
        state.stream = Some(Stream {
            file: Arc::clone(file),
            deadline_ms,
            left: count,
            under_way,
        });
        state.ask_more();
        self.0.message.notify_all();
        while !state.waiting.is_empty() {
            self.0.answered.wait(&mut state);
        }
        state.stream = None;
    }

    /// Nobody waits for this request any more.
    pub fn stop(&self, request: u64) {
        let mut state = self.0.state.lock();
        state.next += 1;
        let delivery = Delivery {
            message: state.next,
            reply_capacity: 0,
        };
        let stop = Stop::new(request, 0).as_bytes().to_vec();
        state.messages.push_back((delivery, stop));
        drop(state);
        self.0.message.notify_one();
    }

    /// Waits until fewer than `most` requests are under way.
    pub fn wait_below(&self, most: usize) {
        let mut state = self.0.state.lock();
        while state.waiting.len() >= most.max(1) {
            self.0.answered.wait(&mut state);
        }
    }

    /// The answers since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.0.state.lock().answers)
    }

    /// What the service did against the rules of the port.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let state = self.0.state.lock();
        let mut broken = state.broken.clone();
        if !state.waiting.is_empty() {
            broken.push(format!("{} requests have no answer", state.waiting.len()));
        }
        if !state.sections.is_empty() || !state.views.is_empty() {
            let (handles, views) = (state.sections.len(), state.views.len());
            broken.push(format!(
                "{handles} sections and {views} views are left open"
            ));
        }
        broken
    }

    /// Measures copies from now on, each time one is filled. Costs a look into `/proc`.
    pub fn watch_copies(&self) {
        self.0.watching.store(1, Ordering::SeqCst);
    }

    /// The most bytes of copies that the service was seen to have at one time.
    #[must_use]
    pub fn most_copied(&self) -> u64 {
        self.0.copies.load(Ordering::SeqCst)
    }
}

/// Threads and time of the system, the port of a [`DriverSide`].
pub struct LoadPlatform {
    start: Instant,
    driver: DriverSide,
}

impl LoadPlatform {
    pub(super) fn new(driver: &DriverSide) -> Self {
        Self {
            start: Instant::now(),
            driver: driver.clone(),
        }
    }
}

impl Platform for LoadPlatform {
    type Port = LoadPort;

    fn connect(&self, _hello: &[u8]) -> Result<LoadPort, ConnectError> {
        self.driver.0.state.lock().connected = true;
        self.driver.0.answered.notify_all();
        Ok(LoadPort(self.driver.clone()))
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

    fn engines_may_measure_time(&self) -> bool {
        true
    }
}

/// The service's end of it.
pub struct LoadPort(DriverSide);

impl Port for LoadPort {
    type Section = LoadSection;

    fn get(&self, body: &mut Vec<u8>, timeout: Duration) -> Result<Delivery, PortError> {
        let shared = &self.0.0;
        let end = Instant::now() + timeout;
        let mut state = shared.state.lock();
        loop {
            if let Some((delivery, bytes)) = state.messages.pop_front() {
                *body = bytes;
                return Ok(delivery);
            }
            if shared.message.wait_until(&mut state, end).timed_out() {
                return Err(PortError::TimedOut);
            }
        }
    }

    fn reply(&self, message: u64, status: i32, body: &[u8]) -> Result<(), PortError> {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        let asked = state.waiting.remove(&message);
        match (asked, ScanReply::decode(body, message)) {
            (Some(asked), Ok(said)) if status == 0 => state.answers.push(Answer {
                tag: asked.tag,
                verdict: said.verdict,
                detail: said.detail,
                time: asked.at.elapsed(),
            }),
            (Some(_), _) => {
                let cause = format!("request {message} has a broken answer ({status:#x})");
                state.broken.push(cause);
            }
            (None, _) => {
                let cause = format!("request {message} is answered twice, or was never asked");
                state.broken.push(cause);
            }
        }
        let more = state.ask_more();
        // Whoever waits for the end of a stream is woken by that alone.
        let told = state.stream.is_none() || state.waiting.is_empty();
        drop(state);
        if more {
            shared.message.notify_all();
        }
        if told {
            shared.answered.notify_all();
        }
        Ok(())
    }

    fn open_section(&self, handle: u64) -> Result<LoadSection, SectionError> {
        let mut state = self.0.0.state.lock();
        let bytes = state.sections.remove(&handle);
        let bytes = bytes.ok_or(SectionError::Unusable(0xC000_0008))?;
        state.views.insert(handle);
        Ok(LoadSection {
            driver: self.0.clone(),
            handle,
            bytes,
        })
    }

    fn close_section(&self, handle: u64) {
        let mut state = self.0.0.state.lock();
        if state.sections.remove(&handle).is_none() {
            let cause = format!("section {handle} is closed twice");
            state.broken.push(cause);
        }
    }
}

/// A file's bytes as the service sees them.
pub struct LoadSection {
    driver: DriverSide,
    handle: u64,
    bytes: Bytes,
}

impl Section for LoadSection {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SectionError> {
        let shared = &self.driver.0;
        if shared.watching.load(Ordering::Relaxed) != 0 {
            shared.copies.fetch_max(process::copies(), Ordering::SeqCst);
        }
        let offset = usize::try_from(offset).map_err(|_| SectionError::Shrunk)?;
        let end = offset.saturating_add(buffer.len());
        let bytes = self.bytes.get(offset..end);
        buffer.copy_from_slice(bytes.ok_or(SectionError::Shrunk)?);
        Ok(())
    }
}

impl Drop for LoadSection {
    fn drop(&mut self) {
        self.driver.0.state.lock().views.remove(&self.handle);
    }
}
