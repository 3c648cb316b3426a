//! A real-time session of Windows' event tracer. Compiled, and not yet run on Windows.
//!
//! There is one session of this name at a time: one that a killed command left behind is stopped
//! first, as Microsoft's page on `StartTraceW` asks for.
#![expect(
    unsafe_code,
    reason = "the event tracer is controlled by system calls, and calls back"
)]

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use siloscan_core::trace::PROVIDER_GUID;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_NO_SYSTEM_RESOURCES, ERROR_SUCCESS, WIN32_ERROR,
};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::Diagnostics::Etw::{
    CONTROLTRACE_HANDLE, CloseTrace, ControlTraceW, EVENT_CONTROL_CODE_ENABLE_PROVIDER,
    EVENT_HEADER_EXT_TYPE_EVENT_SCHEMA_TL, EVENT_HEADER_EXTENDED_DATA_ITEM, EVENT_RECORD,
    EVENT_TRACE_CONTROL, EVENT_TRACE_CONTROL_QUERY, EVENT_TRACE_CONTROL_STOP, EVENT_TRACE_LOGFILEW,
    EVENT_TRACE_LOGFILEW_0, EVENT_TRACE_LOGFILEW_1, EVENT_TRACE_PROPERTIES,
    EVENT_TRACE_REAL_TIME_MODE, EnableTraceEx2, OpenTraceW, PROCESS_TRACE_MODE_EVENT_RECORD,
    PROCESS_TRACE_MODE_REAL_TIME, PROCESSTRACE_HANDLE, ProcessTrace, StartTraceW,
    WNODE_FLAG_TRACED_GUID,
};
use windows_sys::core::{BOOL, GUID, w};

use super::source::{Batch, Raw, Source, SourceError, Wanted};

/// The session's name, in UTF-16 with its end.
const NAME: *const u16 = w!("siloscan-why");
/// Room for the name that the tracer writes back, in units.
const NAME_UNITS: usize = 64;
/// Buffers of the session, in KiB, and how many of them.
const BUFFER_KIB: u32 = 64;
const BUFFERS: (u32, u32) = (16, 64);
/// A buffer that is not full is given out after so many seconds.
const FLUSH_SECONDS: u32 = 1;
/// Events that wait in this process.
const WAITING_MAX: usize = 16_384;
/// Events that are taken at one time.
const BATCH_MAX: usize = 1_024;
/// The clock of the session: the performance counter, which the tracer turns into system time.
const CLOCK_QPC: u32 = 1;

static PROVIDER: GUID = GUID::from_u128(PROVIDER_GUID);

/// What the tracer's functions take and give back, with room for the session's name.
#[repr(C)]
struct Properties {
    properties: EVENT_TRACE_PROPERTIES,
    name: [u16; NAME_UNITS],
}

impl Properties {
    fn new() -> Self {
        let mut properties = EVENT_TRACE_PROPERTIES::default();
        properties.Wnode.BufferSize = size_of::<Self>() as u32;
        properties.Wnode.Flags = WNODE_FLAG_TRACED_GUID;
        properties.Wnode.ClientContext = CLOCK_QPC;
        properties.BufferSize = BUFFER_KIB;
        (properties.MinimumBuffers, properties.MaximumBuffers) = BUFFERS;
        properties.LogFileMode = EVENT_TRACE_REAL_TIME_MODE;
        properties.FlushTimer = FLUSH_SECONDS;
        properties.LoggerNameOffset = size_of::<EVENT_TRACE_PROPERTIES>() as u32;
        Self {
            properties,
            name: [0; NAME_UNITS],
        }
    }

    fn as_mut_ptr(&mut self) -> *mut EVENT_TRACE_PROPERTIES {
        (&raw mut *self).cast()
    }
}

/// Where the tracer's thread puts events.
struct Sink {
    events: SyncSender<Raw>,
    /// Those for which there was no room.
    lost: AtomicU64,
}

/// The session, until it is dropped.
pub(super) struct Session {
    control: Control,
    events: Receiver<Raw>,
    /// The tracer's thread uses it until it has ended.
    sink: Arc<Sink>,
    trace: PROCESSTRACE_HANDLE,
    reader: Option<JoinHandle<WIN32_ERROR>>,
    told_lost: u64,
}

/// A session that was started. Dropping it stops it.
struct Control(CONTROLTRACE_HANDLE);

impl Drop for Control {
    fn drop(&mut self) {
        // It fails only where somebody else has stopped it.
        let _ = control(self.0, EVENT_TRACE_CONTROL_STOP);
    }
}

/// Stops or asks a session: by its handle, or by its name where that is zero.
fn control(
    handle: CONTROLTRACE_HANDLE,
    what: EVENT_TRACE_CONTROL,
) -> Result<Properties, WIN32_ERROR> {
    let mut properties = Properties::new();
    // SAFETY: the name ends with a zero, the properties have the size that they tell.
    let error = unsafe { ControlTraceW(handle, NAME, properties.as_mut_ptr(), what) };
    match error {
        ERROR_SUCCESS => Ok(properties),
        error => Err(error),
    }
}

fn failed(call: &'static str, code: WIN32_ERROR) -> SourceError {
    match code {
        ERROR_ACCESS_DENIED => SourceError::NotAllowed,
        ERROR_NO_SYSTEM_RESOURCES => SourceError::Crowded,
        code => SourceError::System { call, code },
    }
}

impl Session {
    pub(super) fn begin(wanted: Wanted) -> Result<Self, SourceError> {
        // Mostly there is none to stop; one that cannot be stopped is an error of the next call.
        let _ = control(CONTROLTRACE_HANDLE::default(), EVENT_TRACE_CONTROL_STOP);
        let control = start()?;
        enable(&control, wanted)?;
        let (sender, events) = sync_channel(WAITING_MAX);
        let sink = Arc::new(Sink {
            events: sender,
            lost: AtomicU64::new(0),
        });
        let trace = open(&sink)?;
        let reader = std::thread::Builder::new()
            .name("tracing session".to_owned())
            .spawn(move || {
                let handle = trace;
                // SAFETY: the handle was opened, and is closed after this thread has ended only.
                unsafe { ProcessTrace(&raw const handle, 1, ptr::null(), ptr::null()) }
            });
        let mut session = Self {
            control,
            events,
            sink,
            trace,
            reader: None,
            told_lost: 0,
        };
        let ended = |cause: io::Error| SourceError::Ended(format!("no thread to read it: {cause}"));
        session.reader = Some(reader.map_err(ended)?);
        Ok(session)
    }

    /// How many events were lost since the last time.
    fn lost(&mut self) -> u64 {
        let asked = control(self.control.0, EVENT_TRACE_CONTROL_QUERY);
        let by_tracer = asked.map_or(0, |told| u64::from(told.properties.EventsLost));
        let all = by_tracer.saturating_add(self.sink.lost.load(Ordering::Relaxed));
        let more = all.saturating_sub(self.told_lost);
        self.told_lost = self.told_lost.max(all);
        more
    }
}

fn start() -> Result<Control, SourceError> {
    let mut properties = Properties::new();
    let mut handle = CONTROLTRACE_HANDLE::default();
    // SAFETY: the name ends with a zero, the properties have the size that they tell, and both
    // outputs outlive the call.
    let error = unsafe { StartTraceW(&raw mut handle, NAME, properties.as_mut_ptr()) };
    match error {
        ERROR_SUCCESS => Ok(Control(handle)),
        error => Err(failed("StartTraceW", error)),
    }
}

/// Asks the driver for its events.
fn enable(control: &Control, wanted: Wanted) -> Result<(), SourceError> {
    // SAFETY: the session is there, the GUID outlives the call, no parameters are given.
    let error = unsafe {
        EnableTraceEx2(
            control.0,
            &raw const PROVIDER,
            EVENT_CONTROL_CODE_ENABLE_PROVIDER as u32,
            wanted.level,
            wanted.keywords,
            0,
            0,
            ptr::null(),
        )
    };
    match error {
        ERROR_SUCCESS => Ok(()),
        error => Err(failed("EnableTraceEx2", error)),
    }
}

/// Opens the session for reading; its events go to the sink.
fn open(sink: &Arc<Sink>) -> Result<PROCESSTRACE_HANDLE, SourceError> {
    let mut file = EVENT_TRACE_LOGFILEW {
        LoggerName: NAME.cast_mut(),
        Anonymous1: EVENT_TRACE_LOGFILEW_0 {
            ProcessTraceMode: PROCESS_TRACE_MODE_REAL_TIME | PROCESS_TRACE_MODE_EVENT_RECORD,
        },
        Anonymous2: EVENT_TRACE_LOGFILEW_1 {
            EventRecordCallback: Some(record),
        },
        Context: Arc::as_ptr(sink).cast_mut().cast(),
        ..EVENT_TRACE_LOGFILEW::default()
    };
    // SAFETY: the name ends with a zero and is only read; the sink outlives the trace, since the
    // session that holds it closes the trace before it goes.
    let handle = unsafe { OpenTraceW(&raw mut file) };
    if handle.Value == u64::MAX {
        let code = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        return Err(failed("OpenTraceW", code.cast_unsigned()));
    }
    Ok(handle)
}

impl Source for Session {
    fn take(&mut self, wait: Duration) -> Result<Batch, SourceError> {
        let mut events = Vec::new();
        match self.events.recv_timeout(wait) {
            Ok(first) => {
                events.push(first);
                events.extend(self.events.try_iter().take(BATCH_MAX));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if self.reader.as_ref().is_none_or(JoinHandle::is_finished) {
                    return Err(SourceError::Ended("somebody has stopped it".to_owned()));
                }
            }
        }
        let lost = self.lost();
        Ok(Batch { events, lost })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Stopped first: its reader then comes to its end by itself.
        let _ = control(self.control.0, EVENT_TRACE_CONTROL_STOP);
        // SAFETY: the trace was opened by this session and is closed once.
        let _pending_while_the_reader_ends = unsafe { CloseTrace(self.trace) };
        if let Some(reader) = self.reader.take() {
            // The sink may go when nobody calls back any more.
            let _ = reader.join();
        }
    }
}

/// Takes one event.
///
/// # Safety
/// Called by the tracer only, with an event that is valid during the call.
unsafe extern "system" fn record(event: *mut EVENT_RECORD) {
    // SAFETY: the tracer gives a valid event.
    let Some(event) = (unsafe { event.as_ref() }) else {
        return;
    };
    // SAFETY: the context is the sink's address, which lives until the reader has ended.
    let Some(sink) = (unsafe { event.UserContext.cast::<Sink>().as_ref() }) else {
        return;
    };
    let header = &event.EventHeader;
    if !is_the_drivers(&header.ProviderId) {
        return;
    }
    // SAFETY: the tracer gives so many bytes at this address.
    let values = unsafe { bytes(event.UserData, event.UserDataLength) };
    // SAFETY: the tracer gives so many items at this address.
    let items = unsafe { items(event) };
    let schema = items
        .iter()
        .find(|item| u32::from(item.ExtType) == EVENT_HEADER_EXT_TYPE_EVENT_SCHEMA_TL);
    let metadata = schema.map_or(&[][..], |item| {
        let from = ptr::with_exposed_provenance_mut(item.DataPtr as usize);
        // SAFETY: the tracer gives so many bytes at this address.
        unsafe { bytes(from, item.DataSize) }
    });
    let raw = Raw {
        time: header.TimeStamp.cast_unsigned(),
        level: header.EventDescriptor.Level,
        keyword: header.EventDescriptor.Keyword,
        metadata: metadata.to_vec(),
        values: values.to_vec(),
    };
    if sink.events.try_send(raw).is_err() {
        sink.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session also hears of itself and of losses.
fn is_the_drivers(provider: &GUID) -> bool {
    (
        provider.data1,
        provider.data2,
        provider.data3,
        provider.data4,
    ) == (
        PROVIDER.data1,
        PROVIDER.data2,
        PROVIDER.data3,
        PROVIDER.data4,
    )
}

/// # Safety
/// Where the address is not null, so many bytes are there, for as long as the result lives.
unsafe fn bytes<'a>(from: *const c_void, length: u16) -> &'a [u8] {
    if from.is_null() {
        return &[];
    }
    // SAFETY: the caller promises so many bytes at the address.
    unsafe { slice::from_raw_parts(from.cast(), usize::from(length)) }
}

/// # Safety
/// The event is the tracer's and valid.
unsafe fn items(event: &EVENT_RECORD) -> &[EVENT_HEADER_EXTENDED_DATA_ITEM] {
    if event.ExtendedData.is_null() {
        return &[];
    }
    // SAFETY: the caller promises an event of the tracer, which has so many items.
    unsafe { slice::from_raw_parts(event.ExtendedData, usize::from(event.ExtendedDataCount)) }
}

/// Set when the console asks the program to end.
static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Sets `flag` at Ctrl-C; a second one ends the program at once.
pub(super) fn end_on_control(flag: &Arc<AtomicBool>) -> io::Result<()> {
    if ASKED.set(Arc::clone(flag)).is_err() {
        return Err(io::Error::other("somebody waits for it already"));
    }
    // SAFETY: the routine is a function of this program.
    match unsafe { SetConsoleCtrlHandler(Some(asked), 1) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// # Safety
/// Called by the system only.
unsafe extern "system" fn asked(what: u32) -> BOOL {
    let Some(flag) = ASKED.get() else {
        return 0;
    };
    let again = flag.swap(true, Ordering::Relaxed);
    BOOL::from(matches!(what, CTRL_C_EVENT | CTRL_BREAK_EVENT) && !again)
}
