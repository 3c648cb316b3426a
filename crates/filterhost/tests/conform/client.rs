//! A process at the other end of the communication port, as the situations of ports need it.

use std::sync::Arc;

use filterhost::Machine;
use filterhost::fltmgr::port::client::{self as port, Connection};
use filterhost::status::NtStatus;
use filterhost::user::{Process, Task};
use filterhost::volume::Volume;

use crate::guest::Guest;
use crate::situation::Beside;

/// The name that the C side gives its port.
const PORT: &str = r"\ConformPort";
/// What the client says when it connects.
const CONTEXT: [u8; 8] = [8, 7, 6, 5, 4, 3, 2, 1];
/// Bytes of a message header, and of a reply header.
const HEADER: usize = 16;

/// A connected client, or none.
pub struct Client {
    parts: Option<Parts>,
}

struct Parts {
    m: Arc<Machine>,
    process: Process,
    connection: Arc<Connection>,
    is_closed: bool,
    /// It sends a message once the case has run.
    sends: bool,
    task: Option<Task<Result<(), NtStatus>>>,
}

impl Client {
    /// Opens the port and connects the client that the situation asks for.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn for_case(
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        guest: &Guest,
        beside: Beside,
    ) -> Result<Self, String> {
        let wanted = [
            Beside::Answered,
            Beside::Silent,
            Beside::Deaf,
            Beside::Gone,
            Beside::Leaving,
            Beside::Sending,
        ];
        if !wanted.contains(&beside) {
            return Ok(Self { parts: None });
        }
        guest.run_helper("setup__FltSendMessage__OPEN")?;
        let process = Process::create(m, "service", volume, None);
        process.kernel().set_user_sid(Some(LOCAL_SYSTEM.to_vec()));
        let own = m.clone();
        let connection = process
            .run(move |_| port::connect(&own, PORT, &CONTEXT))
            .map_err(|status| format!("cannot connect: {status}"))?;
        let mut parts = Parts {
            m: m.clone(),
            process,
            connection,
            is_closed: false,
            sends: beside == Beside::Sending,
            task: None,
        };
        parts.play(beside);
        Ok(Self { parts: Some(parts) })
    }

    /// Ends the client and closes the port.
    ///
    /// # Errors
    /// What the client met.
    pub fn finish(self, guest: &Guest) -> Result<(), String> {
        let Some(mut parts) = self.parts else {
            return Ok(());
        };
        if let Some(task) = parts.task.take() {
            let ended = task.join();
            ended.map_err(|status| format!("the client: {status}"))?;
        }
        if parts.sends {
            let connection = parts.connection.clone();
            let sent = parts.process.run(move |_| {
                let mut room = [0_u8; 8];
                port::send(&connection, b"question", &mut room)
            });
            sent.map_err(|status| format!("the message: {status}"))?;
        }
        if !parts.is_closed {
            parts.close();
        }
        guest.run_helper("setup__FltSendMessage__CLOSE")?;
        Ok(())
    }
}

impl Parts {
    fn close(&mut self) {
        let (m, connection) = (self.m.clone(), self.connection.clone());
        self.process.run(move |_| port::close(&m, &connection));
        self.is_closed = true;
    }

    fn play(&mut self, beside: Beside) {
        match beside {
            Beside::Gone => self.close(),
            Beside::Answered => self.receive(|m, connection, id| {
                let mut reply = vec![0; 8];
                reply.extend_from_slice(&id.to_le_bytes());
                reply.extend_from_slice(&[0x0a, 0x0b]);
                port::reply(m, connection, &reply)
            }),
            Beside::Deaf => self.receive(|_, _, _| Ok(())),
            Beside::Leaving => {
                self.is_closed = true;
                self.receive(|m, connection, _| {
                    port::close(m, connection);
                    Ok(())
                });
            }
            _ => {}
        }
    }

    /// Waits for a message on a thread of its own, then does `next` with its id.
    fn receive(&mut self, next: fn(&Arc<Machine>, &Connection, u64) -> Result<(), NtStatus>) {
        let (m, connection) = (self.m.clone(), self.connection.clone());
        let task = self.process.spawn("receiver", move |_| {
            let mut room = [0_u8; 64];
            let length = port::get_message(&m, &connection, &mut room, None)?;
            assert_eq!(room.get(HEADER..length), Some(&[1_u8, 2, 3, 4][..]));
            let id = room.get(8..16).and_then(|bytes| bytes.try_into().ok());
            next(&m, &connection, u64::from_le_bytes(id.unwrap_or_default()))
        });
        self.task = Some(task);
    }
}

/// S-1-5-18, which the port's default descriptor lets in.
const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
