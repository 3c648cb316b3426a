//! A process in the scan service's place that does what a scenario says: it has the service's
//! identity, speaks to the port itself, and may answer anything, or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use filterhost::fltmgr::port::security;
use filterhost::status::{NtStatus, STATUS_SUCCESS};
use filterhost::user::{PortHandle, PortMessage, Process};
use parking_lot::Mutex;
use siloscan_core::reason::Counted;
use siloscan_core::wire::{
    Chunk, ChunkReply, ChunkState, Counts as Told, ExclusionsReply, Hello, Message, News, Piece,
    Poll, PollReply, Scan, ScanReply, ScanRequest, Stop, StopReply, WireVerdict,
};
use siloscan_service::platform::PORT_NAME;
use zerocopy::IntoBytes;

use crate::world::{Counts, SERVICE_SID, World};

/// The rule set that a puppet says it has.
pub const DIGEST: [u8; 32] = [0x77; 32];
/// No message of the driver's is longer.
const ROOM: usize = size_of::<Chunk>();

/// What the driver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Scan this.
    Scan(ScanRequest),
    /// Keep this piece of a file until its scan is asked for.
    Chunk(Piece),
    /// Anything for me? With its number.
    Poll(u64),
    /// Let go of the section of this request.
    Stop(u64),
    /// The counters.
    Counts(Counts),
    /// Bytes that are no message of this version: a defect of the driver's.
    Nonsense(Vec<u8>),
}

/// A message with its number, which a reply names.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// What the driver says.
    pub asked: Asked,
    /// What a reply has to name.
    pub id: u64,
    /// Bytes that the reply may have, without its header; `None` where none is waited for.
    pub room: Option<usize>,
}

/// What a puppet does with each message.
pub trait Habit: Fn(&Puppet, &Delivered) + Send + Sync + 'static {}
impl<F: Fn(&Puppet, &Delivered) + Send + Sync + 'static> Habit for F {}

/// The process.
pub struct Puppet {
    process: Process,
    port: PortHandle,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    messages: Vec<Delivered>,
    /// The numbers of all of them, counters included; the driver's are 1, 2, 3…
    numbers: BTreeSet<u64>,
    counts: Counts,
}

impl Puppet {
    /// Connects as the scan service, with `threads` threads that give each message to `habit`.
    ///
    /// # Errors
    /// Why the driver refused the connection.
    pub fn start(world: &World, threads: usize, habit: impl Habit) -> Result<Arc<Self>, NtStatus> {
        let process = service_process(world);
        let port = process.run(|p| p.connect_port(PORT_NAME, &hello()))?;
        let puppet = Arc::new(Self {
            process,
            port,
            seen: Mutex::default(),
        });
        let habit = Arc::new(habit);
        for _ in 0..threads {
            let (own, habit) = (Arc::clone(&puppet), Arc::clone(&habit));
            puppet.process.spawn("puppet", move |_| own.listen(&*habit));
        }
        Ok(puppet)
    }

    fn listen(&self, habit: &impl Habit) {
        while let Ok(message) = self.port.get_message(ROOM, None) {
            let delivered = delivered(&message);
            {
                let mut seen = self.seen.lock();
                seen.numbers.insert(delivered.id);
                if let Asked::Counts(counts) = &delivered.asked {
                    seen.counts = counts.clone();
                } else {
                    seen.messages.push(delivered.clone());
                }
            }
            self.process.machine().sched().notify();
            habit(self, &delivered);
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its end of the connection.
    #[must_use]
    pub fn port(&self) -> &PortHandle {
        &self.port
    }

    /// Everything that the driver said until now, but for its counters.
    #[must_use]
    pub fn messages(&self) -> Vec<Delivered> {
        self.seen.lock().messages.clone()
    }

    /// The scans that the driver asked for until now.
    #[must_use]
    pub fn scans(&self) -> Vec<ScanRequest> {
        let seen = self.seen.lock();
        let scans = seen
            .messages
            .iter()
            .filter_map(|message| match message.asked {
                Asked::Scan(scan) => Some(scan),
                _ => None,
            });
        scans.collect()
    }

    /// The requests that the driver told it to stop.
    #[must_use]
    pub fn stops(&self) -> Vec<u64> {
        let seen = self.seen.lock();
        let stops = seen
            .messages
            .iter()
            .filter_map(|message| match message.asked {
                Asked::Stop(request) => Some(request),
                _ => None,
            });
        stops.collect()
    }

    /// One counter, as the driver told it last.
    #[must_use]
    pub fn count(&self, reason: impl Counted) -> u64 {
        self.seen.lock().counts.get(reason)
    }

    /// All counters, as the driver told them last.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.seen.lock().counts.clone()
    }

    /// Waits until every counter that had moved before has been told: the driver tells them after
    /// a poll, if any moved.
    ///
    /// # Panics
    /// When the driver has ended the connection.
    pub fn await_counts(&self) {
        let sched = self.process.machine().sched();
        let polls = |seen: &Seen| {
            let polls = seen.messages.iter().filter_map(|it| match it.asked {
                Asked::Poll(_) => Some(it.id),
                _ => None,
            });
            polls.collect::<Vec<_>>()
        };
        let alive = || self.port.connection().is_alive();
        let before = polls(&self.seen.lock()).len();
        let told = || {
            let seen = self.seen.lock();
            let later = polls(&seen).split_off(before);
            // The counters come after a poll, and another thread may still have them in its hands.
            // A message that the driver gave up on never comes.
            let whole = later.get(1).is_some_and(|second| {
                (1..*second).all(|number| seen.numbers.contains(&number)) || later.len() > 4
            });
            (whole || !alive()).then_some(())
        };
        // Without a deadline the wait cannot time out.
        let _polled = sched.wait_until("the next polls", None, told);
        assert!(alive(), "the driver has ended the connection");
    }

    /// Sends bytes as the reply to a message.
    ///
    /// # Errors
    /// As the port says: nobody waits, or the connection is gone.
    pub fn reply(&self, to: &Delivered, status: NtStatus, bytes: &[u8]) -> Result<(), NtStatus> {
        self.port.reply(to.id, status, bytes)
    }

    /// Does what a good service does: answers a poll, takes a piece, answers a scan with `verdict`,
    /// lets go.
    pub fn behave(&self, message: &Delivered, verdict: WireVerdict) {
        let reply = match &message.asked {
            Asked::Poll(sequence) => poll_reply(*sequence),
            Asked::Scan(scan) => {
                self.let_go(scan);
                scan_reply(scan.request, verdict)
            }
            Asked::Chunk(piece) => chunk_reply(piece, ChunkState::TAKEN),
            Asked::Stop(request) if message.room.is_some_and(|room| room > 0) => {
                stop_reply(*request)
            }
            Asked::Stop(_) | Asked::Counts(_) | Asked::Nonsense(_) => return,
        };
        // The driver may have gone, or not wait any more.
        let _nobody_waits = self.reply(message, STATUS_SUCCESS, &reply);
    }

    /// Closes the section of a scan.
    pub fn let_go(&self, scan: &ScanRequest) {
        let handle = usize::try_from(scan.section).unwrap_or(0);
        // It went with the process, where that has ended.
        let _closed = self.process.close_handle(handle);
    }

    /// Ends the connection; the process lives on.
    pub fn hang_up(&self) {
        self.port.close();
    }

    /// Whether the connection is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.port.connection().is_alive()
    }

    /// The process is killed: its threads, its connection and its handles go.
    pub fn kill(&self) {
        self.process.terminate();
    }
}

/// A process with the service's identity.
#[must_use]
pub fn service_process(world: &World) -> Process {
    let process = world.process("puppet");
    let sid = security::sid(5, &SERVICE_SID);
    process.kernel().set_user_sid(Some(sid));
    process
}

/// A good connect context.
#[must_use]
pub fn hello() -> Vec<u8> {
    Hello::new(DIGEST).as_bytes().to_vec()
}

/// A good reply to a poll.
#[must_use]
pub fn poll_reply(sequence: u64) -> Vec<u8> {
    PollReply::new(sequence, DIGEST, News::Nothing)
        .as_bytes()
        .to_vec()
}

/// A reply to a poll that names a list of exclusions.
#[must_use]
pub fn excluding_reply(sequence: u64, list: u32) -> Vec<u8> {
    let reply = PollReply::new(sequence, DIGEST, News::Nothing).excluding(list);
    reply.as_bytes().to_vec()
}

/// A good list of excluded containers.
#[must_use]
pub fn exclusions(list: u32, containers: &[[u8; 16]]) -> Vec<u8> {
    let list = ExclusionsReply::new(list, containers, &[]);
    list.as_bytes().to_vec()
}

/// A good list of excluded layers.
#[must_use]
pub fn excluded_layers(list: u32, layers: &[[u8; 16]]) -> Vec<u8> {
    ExclusionsReply::new(list, &[], layers).as_bytes().to_vec()
}

/// A reply that says that the file lies in the excluded layer of this place.
#[must_use]
pub fn excluded_reply(request: u64, place: u32) -> Vec<u8> {
    let reply = ScanReply::new(request, DIGEST, WireVerdict::EXCLUDED, place, "");
    reply.as_bytes().to_vec()
}

/// A good reply to a scan.
#[must_use]
pub fn scan_reply(request: u64, verdict: WireVerdict) -> Vec<u8> {
    ScanReply::new(request, DIGEST, verdict, 0, "puppet")
        .as_bytes()
        .to_vec()
}

/// The word that the section of a request is let go.
#[must_use]
pub fn stop_reply(request: u64) -> Vec<u8> {
    StopReply::new(request).as_bytes().to_vec()
}

/// A reply to a piece that says so of it, and that the file is held up to its end.
#[must_use]
pub fn chunk_reply(piece: &Piece, state: ChunkState) -> Vec<u8> {
    let held = piece.offset.saturating_add(piece.used.into());
    let reply = ChunkReply::new(piece.request, held, state);
    reply.as_bytes().to_vec()
}

fn delivered(message: &PortMessage) -> Delivered {
    let bytes = message.bytes.as_slice();
    let asked = if let Ok((scan, _)) = Scan::decode(bytes) {
        Asked::Scan(scan)
    } else if let Ok((piece, _)) = Chunk::decode(bytes) {
        Asked::Chunk(piece)
    } else if let Ok(poll) = Poll::view(bytes) {
        Asked::Poll(poll.sequence.get())
    } else if let Ok(stop) = Stop::view(bytes) {
        Asked::Stop(stop.request.get())
    } else if let Ok(counts) = Told::decode(bytes) {
        Asked::Counts(Counts::from_values(counts.collect()))
    } else {
        Asked::Nonsense(bytes.to_vec())
    };
    let room = usize::try_from(message.reply_length).unwrap_or(0);
    Delivered {
        asked,
        id: message.id,
        room: room.checked_sub(filterhost::fltmgr::port::client::HEADER_SIZE),
    }
}
