//! Communication ports between filters and user processes.
//!
//! A driver creates a server port; user processes connect to it by name ([`client`]), and each
//! connection is a client port to the driver. Messages go from the driver to the process, with
//! or without a reply, and from the process to the driver's message callback.

pub mod client;
mod functions;
mod message;
pub mod security;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

pub use client::Connection;
pub use functions::EXPORTS;

use super::filter::Filter;
use super::{FilterManager, call, opaque};
use crate::layout::{ConnectNotify, DisconnectNotify, MessageNotify, PVOID};
use crate::machine::Machine;
use crate::verifier;
use security::Descriptor;

/// A port that processes can connect to.
pub(crate) struct Server {
    id: usize,
    filter: Arc<Filter>,
    name: String,
    case_insensitive: bool,
    descriptor: Option<Descriptor>,
    cookie: usize,
    connect: ConnectNotify,
    disconnect: DisconnectNotify,
    message: Option<MessageNotify>,
    max_connections: u32,
    state: Mutex<ServerState>,
}

#[derive(Default)]
struct ServerState {
    closed: bool,
    connections: u32,
}

/// One message on its way to a process, or waiting for its reply.
pub(crate) struct Message {
    id: u64,
    bytes: Vec<u8>,
    /// Room for a reply in bytes; `None` when none is expected.
    room: Option<u32>,
    state: Mutex<MessageState>,
}

#[derive(Default)]
struct MessageState {
    delivered: bool,
    abandoned: bool,
    reply: Option<(crate::status::NtStatus, Vec<u8>)>,
}

/// What both ends of a connection share.
#[derive(Default)]
struct Pipe {
    /// The connect callback has not returned yet: there is nothing to disconnect.
    connecting: bool,
    /// It has refused.
    refused: bool,
    /// The driver has closed its end.
    closed: bool,
    /// The process has closed its end.
    disconnected: bool,
    /// The disconnect callback runs, or ran.
    told: bool,
    /// It has returned.
    returned: bool,
    next: u64,
    queue: VecDeque<Arc<Message>>,
    waiting: BTreeMap<u64, Arc<Message>>,
}

/// The ports of a machine.
#[derive(Default)]
pub(crate) struct Ports {
    servers: Mutex<BTreeMap<usize, Arc<Server>>>,
    clients: Mutex<BTreeMap<usize, Arc<Connection>>>,
}

impl Ports {
    fn find(m: &Machine, name: &str) -> Option<Arc<Server>> {
        let ports = m.state::<Self>();
        let servers = ports.servers.lock();
        let fits = |server: &&Arc<Server>| {
            let folded = server.case_insensitive && server.name.eq_ignore_ascii_case(name);
            server.name == name || folded
        };
        servers.values().find(fits).cloned()
    }

    fn client(m: &Machine, port: PVOID) -> Option<Arc<Connection>> {
        m.state::<Self>().clients.lock().get(&port.addr()).cloned()
    }
}

/// A server port that is still open when its filter unregisters would block that for ever.
pub(crate) fn check_closed(m: &Machine, filter: &Filter) {
    let ports = m.state::<Ports>();
    let open = {
        let servers = ports.servers.lock();
        let own = servers
            .values()
            .find(|server| server.filter.id() == filter.id());
        own.map(|server| server.name.clone())
    };
    if let Some(name) = open {
        let detail = format!("filter {} unregisters with port {name} open", filter.name());
        verifier::violation(&verifier::port::NOT_CLOSED, detail);
        let mut servers = ports.servers.lock();
        servers.retain(|_, server| server.filter.id() != filter.id());
    }
}

/// A filter unregisters: its connections end, their disconnect callbacks run.
pub(crate) fn filter_gone(m: &Arc<Machine>, filter: &Filter) {
    let ports = m.state::<Ports>();
    let own: Vec<_> = {
        let clients = ports.clients.lock();
        let of_filter = clients
            .values()
            .filter(|it| it.server().filter.id() == filter.id());
        of_filter.cloned().collect()
    };
    for connection in own {
        connection.end(m);
        // A callback of the filter's that another thread is in is waited for.
        let returned = || connection.has_returned().then_some(());
        let waited = m
            .sched()
            .wait_until("a disconnect callback", None, returned);
        debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
        if connection.owes_close() {
            let detail = format!(
                "the disconnect callback of {} did not call FltCloseClientPort",
                connection.server().name
            );
            verifier::violation(&verifier::port::CLIENT_NOT_CLOSED, detail);
        }
        ports.clients.lock().remove(&connection.id());
    }
}

fn new_id(m: &Machine) -> usize {
    FilterManager::of(m).next_id()
}

fn disconnect(connection: &Connection) {
    let cookie = connection.cookie();
    call::disconnect(
        connection.server().disconnect,
        core::ptr::with_exposed_provenance_mut(cookie),
    );
}

fn pointer(id: usize) -> PVOID {
    opaque(id)
}
