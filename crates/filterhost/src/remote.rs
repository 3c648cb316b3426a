//! The bridge: a program outside of the host process uses the machine's communication ports.
//!
//! A client connects to a Unix socket and becomes a simulated process. Its calls (connect, get,
//! reply, send, section, close) are the port functions of `fltlib.dll` and `kernel32.dll`,
//! performed by simulated threads of that process, which can also open, read and delete files by
//! their ids, and listen to what drivers tell the event tracer; a section handle that a driver
//! duplicated into the process can be turned into a read-only file descriptor. When the client dies
//! its process ends, its handles close, and the driver sees its port disconnect, as it would on
//! Windows.
//!
//! Every packet is one frame (`frame.rs`): bounded, self-describing, validated before use. A client
//! opens as many sockets ("lanes") as it has threads in calls at one time: the first one makes the
//! process and lives as long as it; each further one names the process by a random token. One lane
//! carries one call at a time, which one simulated thread performs. Only the free scheduler can
//! wait for the outside world, so a seeded machine refuses to serve.

mod calls;
mod channel;
mod client;
mod files;
mod frame;
mod server;
mod traces;

pub use channel::{Channel, ChannelError};
pub use client::{Client, Message, RemoteError, Section};
pub use frame::{Call, FRAME_BYTES_MAX, Frame, FrameError, HEADER_BYTES, PAYLOAD_BYTES_MAX};
pub use server::{LANES_MAX, PROCESSES_MAX, ServeError, Server, ServerOptions};
pub use traces::{Traced, TracedEvent};
