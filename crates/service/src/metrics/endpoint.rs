//! The HTTP side: one thread that waits for all its guests at once, so that a slow one costs the
//! others nothing. It reads two paths' worth of HTTP and no more.
//!
//! Whoever asks is a stranger. A guest has a bounded head, a bounded time and a bounded number of
//! neighbours; the oldest one goes where one too many comes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::exposition::exposition;
use super::request::{self, Asked};
use super::status::Status;

/// Where Prometheus's text is.
pub const PATH_METRICS: &str = "/metrics";
/// Where the facts are as one JSON object.
pub const PATH_STATUS: &str = "/status";

/// Connections at one time.
const GUESTS_MAX: usize = 16;
/// All that a connection may last.
const GUEST_TIME: Duration = Duration::from_secs(5);
/// What is read and thrown away after the answer, in bytes: a connection that is closed over
/// unread bytes may lose its answer.
const DRAINED_BYTES_MAX: usize = 4 << 20;
/// After a failure to accept, which may be for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const DOOR: Token = Token(0);
const BELL: Token = Token(1);
const FIRST_GUEST: usize = 2;

/// Makes the facts of this moment.
pub type Facts = Box<dyn Fn() -> Status + Send>;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The system did not give the address.
    #[error("cannot tell metrics at {0}: {1}; name another address with --metrics")]
    Bind(SocketAddr, #[source] io::Error),
}

/// An address that is ours, at which nobody is answered yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes an address. There is no login: whether others than this machine may reach it, the
/// configuration decides.
///
/// # Errors
/// [`EndpointError`].
pub fn bind(address: SocketAddr) -> Result<Bound, EndpointError> {
    let failed = |cause| EndpointError::Bind(address, cause);
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// The thread that answers. It ends when this is dropped.
pub struct Endpoint {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    bell: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    /// Starts to answer with `facts`.
    ///
    /// # Errors
    /// [`EndpointError::Bind`] when the system gives no thread, or nothing to wait with.
    pub fn start(self, facts: Facts) -> Result<Endpoint, EndpointError> {
        let address = self.address;
        self.open(facts)
            .map_err(|cause| EndpointError::Bind(address, cause))
    }

    fn open(mut self, facts: Facts) -> io::Result<Endpoint> {
        let poll = Poll::new()?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        poll.registry()
            .register(&mut self.listener, DOOR, Interest::READABLE)?;
        let over = Arc::new(AtomicBool::new(false));
        let house = House {
            poll,
            listener: self.listener,
            facts,
            guests: BTreeMap::new(),
            next: FIRST_GUEST,
            accept_at: None,
        };
        let seen = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || house.work(&seen))?;
        Ok(Endpoint {
            address: self.address,
            over,
            bell,
            thread: Some(thread),
        })
    }
}

impl Endpoint {
    /// Where it answers; the port that the system chose, if any could be.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Err(cause) = self.bell.wake() {
            // It would be waited for until its next guest.
            tracing::error!("cannot end the metrics' thread: {cause}");
            return;
        }
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the metrics' thread panicked");
        }
    }
}

/// What the thread has.
struct House {
    poll: Poll,
    listener: TcpListener,
    facts: Facts,
    /// By their numbers, which rise: the first one is the oldest.
    guests: BTreeMap<usize, Guest>,
    next: usize,
    /// When to look for further guests without being told of one.
    accept_at: Option<Instant>,
}

impl House {
    fn work(mut self, over: &AtomicBool) {
        let mut events = Events::with_capacity(2 * GUESTS_MAX);
        while !over.load(Ordering::SeqCst) {
            let now = Instant::now();
            let ends = self.guests.values().map(|guest| guest.end);
            let due = ends.chain(self.accept_at).min();
            let wait = due.map(|due| due.saturating_duration_since(now));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    tracing::error!("metrics are no longer told: {cause}; restart siloscand");
                    return;
                }
            }
            for event in &events {
                match event.token() {
                    DOOR => self.accept_at = Some(now),
                    BELL => {}
                    Token(number) => self.attend(number),
                }
            }
            let now = Instant::now();
            self.guests.retain(|_, guest| guest.end > now);
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept();
            }
        }
    }

    /// Lets some guests in; those that are left are let in after others were attended to.
    fn accept(&mut self) {
        for _ in 0..GUESTS_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_at = None;
                    return;
                }
                Err(cause) if cause.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(cause) => {
                    tracing::debug!("a connection for metrics was not accepted: {cause}");
                    self.accept_at = Some(Instant::now() + ACCEPT_AGAIN);
                    return;
                }
            }
        }
        self.accept_at = Some(Instant::now());
    }

    fn admit(&mut self, mut stream: TcpStream) {
        let number = self.next;
        self.next = self.next.checked_add(1).unwrap_or(FIRST_GUEST);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if registry.register(&mut stream, Token(number), both).is_err() {
            return;
        }
        while self.guests.len() >= GUESTS_MAX {
            self.guests.pop_first();
        }
        self.guests.insert(number, Guest::new(stream));
        self.attend(number);
    }

    fn attend(&mut self, number: usize) {
        if let Some(guest) = self.guests.get_mut(&number)
            && !guest.go_on(&self.facts)
        {
            self.guests.remove(&number);
        }
    }
}

/// How far a guest has come.
enum Stage {
    /// Its head, so far.
    Asks(Vec<u8>),
    /// The answer, and how much of it is sent.
    IsTold(Vec<u8>, usize),
    /// It has its answer; so many bytes of it were thrown away since.
    Leaves(usize),
}

struct Guest {
    stream: TcpStream,
    stage: Stage,
    end: Instant,
}

impl Guest {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            stage: Stage::Asks(Vec::new()),
            end: Instant::now() + GUEST_TIME,
        }
    }

    /// Goes on as far as the socket lets it. False when it is through.
    fn go_on(&mut self, facts: &Facts) -> bool {
        loop {
            match self.step(facts) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return cause.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn step(&mut self, facts: &Facts) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match &mut self.stage {
            Stage::Asks(head) => {
                let count = self.stream.read(&mut buffer)?;
                head.extend(buffer.iter().take(count));
                match request::read(head) {
                    Asked::Unfinished => return Ok(count > 0),
                    asked => self.stage = Stage::IsTold(answer(asked, facts), 0),
                }
            }
            Stage::IsTold(answer, sent) => {
                *sent += match answer.get(*sent..) {
                    Some(left) if !left.is_empty() => self.stream.write(left)?,
                    _ => {
                        self.stream.shutdown(Shutdown::Write)?;
                        self.stage = Stage::Leaves(0);
                        return Ok(true);
                    }
                };
            }
            Stage::Leaves(drained) => {
                let count = self.stream.read(&mut buffer)?;
                *drained += count;
                return Ok(count > 0 && *drained < DRAINED_BYTES_MAX);
            }
        }
        Ok(true)
    }
}

/// The whole answer.
fn answer(asked: Asked<'_>, facts: &Facts) -> Vec<u8> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let plain = |status: &str, text: &str| response(status, PLAIN, "", text);
    match asked {
        Asked::Get(PATH_METRICS) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            response("200 OK", kind, "", &exposition(&facts()))
        }
        Asked::Get(PATH_STATUS) => match serde_json::to_string(&facts()) {
            Ok(text) => response("200 OK", "application/json", "", &(text + "\n")),
            Err(cause) => plain("500 Internal Server Error", &format!("{cause}\n")),
        },
        Asked::Get(_) => plain("404 Not Found", "there are /metrics and /status\n"),
        Asked::OtherMethod => {
            let text = "only GET is answered\n";
            response("405 Method Not Allowed", PLAIN, "Allow: GET\r\n", text)
        }
        Asked::TooLong => plain(
            "431 Request Header Fields Too Large",
            "the request's head is too long\n",
        ),
        Asked::Garbage | Asked::Unfinished => plain("400 Bad Request", "this is no HTTP/1.1\n"),
    }
}

fn response(status: &str, kind: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
