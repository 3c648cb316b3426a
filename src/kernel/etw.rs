//! Events for Windows' own tracing, self-described as TraceLogging does it: names and types
//! travel with the event, so no manifest has to be installed.
#![expect(unsafe_code, reason = "calls the event tracer")]

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use siloscan_core::trace::{FIELDS_MAX, Level, PROVIDER_GUID, TraceEvent, keyword};

use super::irql;
use crate::sys::{EventDataDescriptor, EventDescriptor, Guid};

/// The provider's GUID as the tracer takes it.
static PROVIDER: Guid = Guid {
    data1: (PROVIDER_GUID >> 96) as u32,
    data2: (PROVIDER_GUID >> 80) as u16,
    data3: (PROVIDER_GUID >> 64) as u16,
    data4: (PROVIDER_GUID as u64).to_be_bytes(),
};

/// Size, then the name with its end.
static TRAITS: [u8; 11] = *b"\x0b\x00Siloscan\x00";

/// The channel of self-described events.
const CHANNEL: u8 = 11;
/// What kind of data a descriptor holds.
const EVENT_METADATA: u32 = 1;
const PROVIDER_METADATA: u32 = 2;

static HANDLE: AtomicU64 = AtomicU64::new(0);

/// Whether a session listens for opens: told by the tracer, so that an open asks nobody.
static OPENS: AtomicBool = AtomicBool::new(false);

/// `EVENT_CONTROL_CODE_DISABLE_PROVIDER`.
const DISABLE: u32 = 0;
/// `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const ENABLE: u32 = 1;

/// One piece of an event's data.
#[derive(Clone, Copy)]
pub struct Piece<'a>(pub &'a [u8]);

/// Most pieces of one event: a text is its length and its bytes.
pub const PIECES: usize = 2 * FIELDS_MAX;

/// Registers the provider. Without it there are no events, which is no reason not to load.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn register() {
    irql::passive();
    let mut handle = 0;
    // SAFETY: provider and callback live as long as the image, from which the provider is taken
    // away before it goes; the output outlives the call.
    let status = unsafe {
        wdk_sys::ntddk::EtwRegister(
            (&raw const PROVIDER).cast(),
            Some(enabled),
            ptr::null_mut(),
            &raw mut handle,
        )
    };
    if status >= 0 {
        HANDLE.store(handle, Ordering::Release);
    }
}

/// A session begins or ends to listen. The numbers are those of all sessions together.
/// <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nc-wdm-etwenablecallback>
///
/// # Safety
/// Called by the event tracer only.
///
/// # IRQL
/// PASSIVE_LEVEL.
unsafe extern "C" fn enabled(
    _source: wdk_sys::LPCGUID,
    code: u32,
    level: u8,
    any: u64,
    _all: u64,
    _filter: wdk_sys::PEVENT_FILTER_DESCRIPTOR,
    _context: *mut c_void,
) {
    irql::passive();
    let level_fits = level == 0 || level >= Level::Verbose as u8;
    let kind_fits = any == 0 || any & keyword::OPENS != 0;
    match code {
        ENABLE => OPENS.store(level_fits && kind_fits, Ordering::Relaxed),
        DISABLE => OPENS.store(false, Ordering::Relaxed),
        _ => {}
    }
}

/// Whether a session listens for opens. One relaxed load, and all that tracing costs an open
/// while none does.
///
/// # IRQL
/// Any.
#[must_use]
pub fn opens_wanted() -> bool {
    OPENS.load(Ordering::Relaxed)
}

/// Takes the provider away.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn unregister() {
    irql::passive();
    let handle = HANDLE.swap(0, Ordering::AcqRel);
    if handle != 0 {
        // SAFETY: the swap makes this the only user of a handle that was registered.
        let _nothing_is_left_to_do = unsafe { wdk_sys::ntddk::EtwUnregister(handle) };
    }
}

/// Whether anybody listens for such an event.
///
/// # IRQL
/// Any.
#[must_use]
pub fn is_wanted(event: &TraceEvent) -> bool {
    let handle = HANDLE.load(Ordering::Acquire);
    if handle == 0 {
        return false;
    }
    let descriptor = descriptor(event);
    // SAFETY: the handle is registered and the descriptor outlives the call.
    unsafe { wdk_sys::ntddk::EtwEventEnabled(handle, (&raw const descriptor).cast()) != 0 }
}

/// Writes an event. Pieces beyond [`PIECES`] are left out.
///
/// # IRQL
/// At most APC_LEVEL: the data may be paged.
pub fn write<'a>(event: &TraceEvent, pieces: impl Iterator<Item = Piece<'a>>) {
    irql::at_most_apc();
    let handle = HANDLE.load(Ordering::Acquire);
    if handle == 0 {
        return;
    }
    let mut data = [describe(&[], 0); PIECES + 2];
    let sources = [
        describe(&TRAITS, PROVIDER_METADATA),
        describe(event.metadata, EVENT_METADATA),
    ];
    let all = sources
        .into_iter()
        .chain(pieces.map(|piece| describe(piece.0, 0)));
    let mut count = 0_u32;
    for (slot, source) in data.iter_mut().zip(all) {
        *slot = source;
        count = count.saturating_add(1);
    }
    let descriptor = descriptor(event);
    // SAFETY: handle and descriptor are good; `count` descriptors point to live memory.
    let _a_lost_event_is_no_failure = unsafe {
        wdk_sys::ntddk::EtwWrite(
            handle,
            (&raw const descriptor).cast(),
            ptr::null(),
            count,
            data.as_mut_ptr().cast(),
        )
    };
}

/// What the tracer sorts an event by.
fn descriptor(event: &TraceEvent) -> EventDescriptor {
    EventDescriptor {
        id: 0,
        version: 0,
        channel: CHANNEL,
        level: event.level as u8,
        opcode: 0,
        task: 0,
        keyword: event.keyword,
    }
}

fn describe(bytes: &[u8], reserved: u32) -> EventDataDescriptor {
    EventDataDescriptor {
        ptr: bytes.as_ptr().addr() as u64,
        size: u32::try_from(bytes.len()).unwrap_or(0),
        reserved,
    }
}
