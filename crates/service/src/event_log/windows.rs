//! The Event Log itself. Compiled for Windows; Wine takes the calls and prints them.
#![allow(unsafe_code, reason = "the functions of the Event Log")]

use std::io;
use std::ptr;
use std::time::Instant;

use parking_lot::Mutex;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

use super::{
    A_MINUTE, Brake, Entry, ID_LEFT_OUT, ID_PROGRAM, SOURCE, Severity, cut, entry, inert,
    inert_json,
};
use crate::events::{Event, Mirror};

/// The log "Application", as the source [`SOURCE`].
pub struct EventLog {
    handle: HANDLE,
    begun: Instant,
    brake: Mutex<Brake>,
}

// SAFETY: the handle is one of the system's, which any thread may use.
unsafe impl Send for EventLog {}
// SAFETY: as above; ReportEventW may be called by several threads at a time.
unsafe impl Sync for EventLog {}

impl EventLog {
    /// Opens it. A source that the registry does not know can write, too; its entries then have no
    /// sentence in the viewer.
    ///
    /// # Errors
    /// What the system says.
    pub fn open() -> io::Result<Self> {
        let name = wide(SOURCE);
        // SAFETY: no server, and a name that ends with a zero and outlives the call.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), name.as_ptr()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            handle,
            begun: Instant::now(),
            brake: Mutex::new(Brake::default()),
        })
    }

    /// Tells that the program could not do its work.
    pub fn program(&self, cause: &str) {
        self.line(ID_PROGRAM, Severity::Error, cause);
    }

    /// Tells what is no record.
    pub fn line(&self, id: u16, severity: Severity, text: &str) {
        self.tell(&Entry {
            id,
            severity,
            text: cut(text),
            json: String::new(),
        });
    }

    /// Writes an entry, if its like is not too frequent.
    fn tell(&self, entry: &Entry) {
        let (left_out, admitted) = self.brake.lock().admit(self.begun.elapsed(), entry.id);
        self.tell_left_out(left_out);
        if admitted {
            self.write(entry);
        }
    }

    fn tell_left_out(&self, left_out: Vec<(u16, u32)>) {
        for (id, count) in left_out {
            self.write(&Entry {
                id: ID_LEFT_OUT,
                severity: Severity::Warning,
                text: format!(
                    "{count} entries of number {id} are not here: the log takes {A_MINUTE} in a \
                     minute. Records are in the file of events, if there is one."
                ),
                json: String::new(),
            });
        }
    }

    /// A full or disabled log loses the entry: there is nowhere else to say so.
    fn write(&self, entry: &Entry) {
        let kind = match entry.severity {
            Severity::Error => EVENTLOG_ERROR_TYPE,
            Severity::Warning => EVENTLOG_WARNING_TYPE,
            Severity::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let text = wide(&cut(&inert(&entry.text)));
        let json = wide(&inert_json(&entry.json));
        let strings = [text.as_ptr(), json.as_ptr()];
        // SAFETY: the handle is open; two strings that end with a zero and outlive the call, no
        // user and no data.
        unsafe {
            ReportEventW(
                self.handle,
                kind,
                0,
                u32::from(entry.id),
                ptr::null_mut(),
                2,
                0,
                strings.as_ptr(),
                ptr::null(),
            )
        };
    }
}

impl Mirror for std::sync::Arc<EventLog> {
    fn tell(&mut self, event: &Event, json: &str) {
        if let Some(entry) = entry(event, json) {
            EventLog::tell(self, &entry);
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        let left_out = self.brake.lock().left_out();
        self.tell_left_out(left_out);
        // SAFETY: it is open, and nobody uses it any more.
        unsafe { DeregisterEventSource(self.handle) };
    }
}

/// With a zero at the end, and none before.
fn wide(text: &str) -> Vec<u16> {
    let units = text.encode_utf16().filter(|unit| *unit != 0);
    units.chain([0]).collect()
}
