//! The server side of the bridge, inside the host process.
//!
//! An operating-system thread accepts lanes. The first frame of a lane says whose it is; from
//! then on a simulated thread of that process receives calls, performs them and answers. The first
//! lane of a process carries no calls: when it closes, the process ends, whatever its other lanes
//! are doing, and its handles are closed as Windows closes those of a dead process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::calls::{Caller, Ports, close_ports};
use super::channel::{Channel, ChannelError, Listener};
use super::frame::{Call, Frame};
use crate::machine::Machine;
use crate::process::Process;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS,
};

/// Processes that may be connected at one time.
pub const PROCESSES_MAX: usize = 16;
/// Lanes of one process at one time, the first one not counted.
pub const LANES_MAX: usize = 512;
/// Longest program name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// A lane that says nothing for so long after it was opened is closed.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// How often the accepting thread looks whether the machine's run is over.
const LOOK_UP: Duration = Duration::from_millis(250);

/// How a machine is to be served.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to make the socket. A file that is there already is an error.
    pub path: PathBuf,
    /// Binary SID of the user as which connecting programs run.
    pub user_sid: Option<Vec<u8>>,
}

/// Why a machine cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A seed cannot decide what another process does.
    #[error("a seeded machine has no outside: run the program's code on simulated threads")]
    Seeded,
    /// The socket cannot be made.
    #[error("cannot listen at {}: {cause}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A machine's bridge. Dropping it cuts all lanes; [`Server::stop`] also waits for the processes.
pub struct Server {
    hub: Arc<Hub>,
}

struct Hub {
    m: Arc<Machine>,
    listener: Listener,
    options: ServerOptions,
    stopping: AtomicBool,
    guests: Mutex<BTreeMap<u32, Arc<Guest>>>,
}

/// A process that lives outside.
struct Guest {
    process: Arc<Process>,
    token: u64,
    control: Arc<Channel>,
    ports: Ports,
    /// Its other lanes by number; a lane leaves when its thread ends.
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    open: BTreeMap<u64, Arc<Channel>>,
    opened: u64,
    /// The process ends: no further lane.
    ended: bool,
}

impl Server {
    /// Listens. Free scheduler only.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(m: &Arc<Machine>, options: ServerOptions) -> Result<Self, ServeError> {
        if m.sched().is_seeded() {
            return Err(ServeError::Seeded);
        }
        let listen = |path: &Path| {
            let listener = Listener::bind(path)?;
            listener.set_accept_timeout(LOOK_UP)?;
            Ok(listener)
        };
        let failed = |cause| ServeError::Listen {
            path: options.path.clone(),
            cause,
        };
        let listener = listen(&options.path).map_err(failed)?;
        let hub = Arc::new(Hub {
            m: Arc::clone(m),
            listener,
            options: options.clone(),
            stopping: AtomicBool::new(false),
            guests: Mutex::new(BTreeMap::new()),
        });
        let own = Arc::clone(&hub);
        std::thread::Builder::new()
            .name("bridge".to_owned())
            .spawn(move || own.accept())
            .map_err(failed)?;
        Ok(Self { hub })
    }

    /// Processes that are connected now.
    #[must_use]
    pub fn processes(&self) -> Vec<Arc<Process>> {
        let guests = self.hub.guests.lock();
        guests
            .values()
            .map(|guest| Arc::clone(&guest.process))
            .collect()
    }

    /// Ends all connected processes and waits for that. Runs on a simulated thread.
    pub fn stop(self) {
        self.hub.cut();
        let gone = || self.hub.guests.lock().is_empty().then_some(());
        let ended = self.hub.m.sched().wait_until("bridge stops", None, gone);
        debug_assert!(ended.is_ok(), "a wait without deadline cannot time out");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hub.cut();
    }
}

impl Hub {
    /// Stops listening and cuts every lane; each process ends on its own thread.
    fn cut(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.listener.close();
        let guests: Vec<_> = self.guests.lock().values().cloned().collect();
        for guest in guests {
            guest.control.close();
        }
        // The path may be gone with its folder already.
        let _ = std::fs::remove_file(&self.options.path);
    }

    /// Body of the accepting thread.
    fn accept(self: &Arc<Self>) {
        while !self.stopping.load(Ordering::SeqCst) {
            if self.m.is_over() {
                self.cut();
                return;
            }
            let channel = match self.listener.accept() {
                Ok(Some(channel)) => channel,
                Ok(None) => continue,
                Err(_) => {
                    // Out of descriptors, or closed: look again later.
                    std::thread::sleep(LOOK_UP);
                    continue;
                }
            };
            let hub = Arc::clone(self);
            // Without a thread the lane is dropped, which the other side sees.
            let _ = std::thread::Builder::new()
                .name("bridge greeting".to_owned())
                .spawn(move || hub.greet(channel));
        }
    }

    /// Reads the first frame of a lane and gives the lane to a simulated thread.
    fn greet(self: &Arc<Self>, channel: Channel) {
        let first = channel
            .set_receive_timeout(Some(GREETING_TIME))
            .map_err(ChannelError::from)
            .and_then(|()| channel.receive());
        let Ok((frame, _)) = first else {
            return;
        };
        if channel.set_receive_timeout(None).is_err() {
            return;
        }
        let channel = Arc::new(channel);
        let admitted = match Call(frame.code) {
            Call::NEW_PROCESS => self.new_process(&channel, &frame),
            Call::JOIN_PROCESS => self.join_process(&channel, &frame),
            _ => Err(STATUS_INVALID_PARAMETER),
        };
        if let Err(status) = admitted {
            // The other side may be gone; then nobody wants to know.
            let _ = channel.send(&refusal(status), None);
        }
    }

    fn new_process(self: &Arc<Self>, channel: &Arc<Channel>, first: &Frame) -> Admitted {
        let name = std::str::from_utf8(&first.payload)
            .ok()
            .filter(|name| name.len() <= NAME_BYTES_MAX && !name.is_empty())
            .ok_or(STATUS_INVALID_PARAMETER)?;
        let guest = {
            let mut guests = self.guests.lock();
            if guests.len() >= PROCESSES_MAX || self.stopping.load(Ordering::SeqCst) {
                return Err(STATUS_INSUFFICIENT_RESOURCES);
            }
            let process = self.m.create_process(name, None);
            process.set_user_sid(self.options.user_sid.clone());
            let guest = Arc::new(Guest {
                process: Arc::clone(&process),
                token: self.m.sched().random(),
                control: Arc::clone(channel),
                ports: Ports::default(),
                lanes: Mutex::default(),
            });
            guests.insert(process.id(), Arc::clone(&guest));
            guest
        };
        let hub = Arc::clone(self);
        let process = Arc::clone(&guest.process);
        self.m
            .sched()
            .spawn_on(&self.m, &process, "bridge process", move || {
                hub.live(&guest)
            });
        Ok(())
    }

    /// Body of a process's first thread: answers the greeting, then waits for the end.
    fn live(&self, guest: &Guest) {
        let id = u64::from(guest.process.id());
        let answer = Frame::new(code(STATUS_SUCCESS), [id, guest.token, 0]);
        if guest.control.send(&answer, None).is_ok() {
            // Nothing is to be said on this lane: whatever comes ends the process.
            let _ = guest.control.receive();
        }
        guest.control.close();
        self.end(guest);
    }

    fn end(&self, guest: &Guest) {
        {
            let mut lanes = guest.lanes.lock();
            lanes.ended = true;
            lanes.open.values().for_each(|lane| lane.close());
        }
        // Closing the connections ends the waits of the other threads.
        close_ports(&self.m, &guest.ports);
        let sched = self.m.sched();
        let quiet = || guest.lanes.lock().open.is_empty().then_some(());
        let ended = sched.wait_until("bridge threads end", None, quiet);
        debug_assert!(ended.is_ok(), "a wait without deadline cannot time out");
        close_ports(&self.m, &guest.ports);
        close_handles(&self.m, &guest.process);
        guest.process.set_exited();
        self.guests.lock().remove(&guest.process.id());
        sched.notify();
    }

    fn join_process(self: &Arc<Self>, channel: &Arc<Channel>, first: &Frame) -> Admitted {
        let [id, token, _] = first.arguments;
        let id = u32::try_from(id).map_err(|_| STATUS_ACCESS_DENIED)?;
        let guest = self
            .guests
            .lock()
            .get(&id)
            .cloned()
            .ok_or(STATUS_ACCESS_DENIED)?;
        if guest.token != token {
            return Err(STATUS_ACCESS_DENIED);
        }
        let number = {
            let mut lanes = guest.lanes.lock();
            if lanes.ended || lanes.open.len() >= LANES_MAX {
                return Err(STATUS_INSUFFICIENT_RESOURCES);
            }
            lanes.opened += 1;
            let number = lanes.opened;
            lanes.open.insert(number, Arc::clone(channel));
            number
        };
        let hub = Arc::clone(self);
        let lane = Arc::clone(channel);
        let process = Arc::clone(&guest.process);
        self.m
            .sched()
            .spawn_on(&self.m, &process, "bridge lane", move || {
                let (m, process, ports) = (&hub.m, &guest.process, &guest.ports);
                serve(&Caller { m, process, ports }, &lane);
                lane.close();
                guest.lanes.lock().open.remove(&number);
                hub.m.sched().notify();
            });
        Ok(())
    }
}

type Admitted = Result<(), NtStatus>;

/// Body of a lane's thread: performs one call after the other until the lane closes.
fn serve(caller: &Caller<'_>, lane: &Channel) {
    let mut answer = (Frame::new(code(STATUS_SUCCESS), [0; 3]), None);
    loop {
        let descriptor: Option<OwnedFd> = answer.1;
        if lane
            .send(&answer.0, descriptor.as_ref().map(AsFd::as_fd))
            .is_err()
        {
            return;
        }
        // A descriptor that came with a call has no meaning and is closed here.
        let Ok((request, _)) = lane.receive() else {
            return;
        };
        answer = match caller.perform(&request) {
            Ok(answer) => answer,
            Err(status) => (refusal(status), None),
        };
    }
}

/// The status as it goes over the bridge.
fn code(status: NtStatus) -> u32 {
    status.0.cast_unsigned()
}

fn refusal(status: NtStatus) -> Frame {
    Frame::new(code(status), [0; 3])
}

/// Closes every handle of the process, the newest first.
fn close_handles(m: &Arc<Machine>, process: &Arc<Process>) {
    loop {
        let newest = process
            .handles
            .lock()
            .iter()
            .last()
            .map(|(handle, _)| handle);
        let Some(handle) = newest else {
            return;
        };
        if m.objects().close_handle(m, process, handle).is_err() {
            return;
        }
    }
}
