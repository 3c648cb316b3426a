//! Messages from a driver to a process: `FltSendMessage`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Connection, Message, MessageState};
use crate::machine::{self, Machine};
use crate::sched::Time;
use crate::status::{
    NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_PORT_DISCONNECTED, STATUS_SUCCESS,
    STATUS_THREAD_IS_TERMINATING, STATUS_TIMEOUT,
};

/// When a wait with this timeout ends. No timeout, or 0, is for ever; negative values are
/// relative, positive ones system times, in 100 ns.
pub(super) fn deadline(m: &Machine, timeout: Option<i64>) -> Option<Time> {
    let timeout = timeout.filter(|timeout| *timeout != 0)?;
    let ticks = if timeout < 0 {
        timeout.unsigned_abs()
    } else {
        u64::try_from(timeout.saturating_sub(m.sched().system_time())).unwrap_or(0)
    };
    Some(
        m.sched()
            .now()
            .after(Duration::from_nanos(ticks.saturating_mul(100))),
    )
}

/// Sends a message and waits for its delivery, and for the reply when `room` says that one is
/// expected. Gives the status and the bytes of the reply.
pub(super) fn send(
    m: &Arc<Machine>,
    connection: &Connection,
    bytes: Vec<u8>,
    room: Option<u32>,
    until: Option<Time>,
) -> (NtStatus, Vec<u8>) {
    let message = {
        let mut pipe = connection.pipe.lock();
        if pipe.closed || pipe.disconnected {
            return (STATUS_PORT_DISCONNECTED, Vec::new());
        }
        pipe.next += 1;
        let state = Mutex::new(MessageState::default());
        let message = Arc::new(Message {
            id: pipe.next,
            bytes,
            room,
            state,
        });
        pipe.queue.push_back(message.clone());
        message
    };
    m.sched().notify();
    let thread = machine::current_thread();
    let ended = || {
        let state = message.state.lock();
        if let Some(reply) = &state.reply {
            return Some(Ok(reply.clone()));
        }
        if state.delivered && message.room.is_none() {
            return Some(Ok((STATUS_SUCCESS, Vec::new())));
        }
        drop(state);
        if thread.is_terminating() {
            return Some(Err(STATUS_THREAD_IS_TERMINATING));
        }
        let pipe = connection.pipe.lock();
        (pipe.closed || pipe.disconnected).then_some(Err(STATUS_PORT_DISCONNECTED))
    };
    let result = m.sched().wait_until("FltSendMessage", until, ended);
    match result.unwrap_or(Err(STATUS_TIMEOUT)) {
        Ok((status, reply)) => finish(&message, status, reply),
        Err(status) => (abandon(connection, &message, status), Vec::new()),
    }
}

/// A reply that is too long is cut off, and the status says so.
fn finish(message: &Message, status: NtStatus, mut reply: Vec<u8>) -> (NtStatus, Vec<u8>) {
    let room = message.room.unwrap_or(0) as usize;
    if reply.len() > room {
        reply.truncate(room);
        return (STATUS_BUFFER_OVERFLOW, reply);
    }
    (status, reply)
}

/// Nobody waits for the message any more: it is not delivered, a reply finds no waiter.
fn abandon(connection: &Connection, message: &Arc<Message>, status: NtStatus) -> NtStatus {
    message.state.lock().abandoned = true;
    let mut pipe = connection.pipe.lock();
    pipe.queue.retain(|other| other.id != message.id);
    pipe.waiting.remove(&message.id);
    status
}
