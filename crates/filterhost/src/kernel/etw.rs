//! Event tracing: providers register, and what they write is kept for tests to read.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::crash;
use crate::exports;
use crate::fltmgr::call;
use crate::image::Images;
use crate::layout::{EtwEnable, GUID, PVOID};
use crate::machine::Machine;
use crate::memory;
use crate::status::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER,
    STATUS_NO_MEMORY, STATUS_SUCCESS,
};

/// Most data descriptors of one event (`MAX_EVENT_DATA_DESCRIPTORS`).
const DESCRIPTORS_MAX: u32 = 128;
/// Largest event in bytes.
const EVENT_MAX: usize = 64 << 10;
/// The level of the session that listens unless told otherwise: informational.
const LEVEL: u8 = 4;
/// `EVENT_CONTROL_CODE_DISABLE_PROVIDER`.
const DISABLE: u32 = 0;
/// `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const ENABLE: u32 = 1;
/// Events that are kept.
const KEPT_MAX: usize = 0x1_0000;

/// An event descriptor: id, version, channel, level, opcode, task, keyword.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDescriptor {
    /// Event id.
    pub id: u16,
    /// Version.
    pub version: u8,
    /// Channel; 11 is TraceLogging.
    pub channel: u8,
    /// Level: 1 critical to 5 verbose.
    pub level: u8,
    /// Opcode.
    pub opcode: u8,
    /// Task.
    pub task: u16,
    /// Keyword bits.
    pub keyword: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DataDescriptor {
    address: u64,
    size: u32,
    kind: u32,
}

/// An event as a provider wrote it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The provider's id.
    pub provider: GUID,
    /// What sort of event.
    pub descriptor: EventDescriptor,
    /// The data descriptors' bytes, one after the other.
    pub data: Vec<Vec<u8>>,
}

/// Providers and events of one machine.
#[derive(Default)]
pub struct Tracing {
    state: Mutex<State>,
}

struct Provider {
    id: GUID,
    /// Told whenever sessions change.
    callback: Option<(EtwEnable, usize)>,
    /// Where it was registered, for the report when it is left at unload.
    stack: Vec<usize>,
}

struct State {
    next: u64,
    providers: BTreeMap<u64, Provider>,
    events: Vec<Event>,
    /// The most verbose level that is listened to; `None` while no session is there.
    level: Option<u8>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next: 0,
            providers: BTreeMap::new(),
            events: Vec::new(),
            level: Some(LEVEL),
        }
    }
}

impl State {
    /// Whether an event of this level is listened to. Level 0 is for every session.
    fn listens(&self, level: u8) -> bool {
        self.level.is_some_and(|most| level <= most)
    }

    /// What providers are told of the sessions.
    fn told(&self) -> (u32, u8) {
        self.level.map_or((DISABLE, 0), |level| (ENABLE, level))
    }
}

impl Tracing {
    /// All events so far, oldest first, at most the first 65,536.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().events.clone()
    }

    /// All events since the last call, oldest first.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().events)
    }

    /// Up to which level a session listens, if one does; unless told otherwise, to everything but
    /// what is verbose. Providers with a callback are told, on the calling simulated thread.
    pub fn listen(&self, level: Option<u8>) {
        let (told, callbacks) = {
            let mut state = self.state.lock();
            state.level = level;
            let providers = state.providers.values();
            let callbacks: Vec<_> = providers.filter_map(|provider| provider.callback).collect();
            (state.told(), callbacks)
        };
        for (callback, context) in callbacks {
            tell(callback, told, context);
        }
    }

    /// Stacks of registrations that are still there and were made by code in `image`.
    pub(crate) fn left_by(&self, image: &crate::image::Image) -> Vec<Vec<usize>> {
        let state = self.state.lock();
        let stacks = state
            .providers
            .values()
            .map(|provider| provider.stack.clone());
        stacks
            .filter(|stack| stack.iter().any(|address| image.contains(*address)))
            .collect()
    }
}

fn is_enabled(m: &Machine, handle: u64, level: u8) -> bool {
    let tracing = m.state::<Tracing>();
    let state = tracing.state.lock();
    state.listens(level) && state.providers.contains_key(&handle)
}

fn tell(callback: EtwEnable, told: (u32, u8), context: usize) {
    call::etw_enable(
        callback,
        told,
        std::ptr::with_exposed_provenance_mut(context),
    );
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Registers a provider. Its callback hears at once of the sessions that are there.
    [PASSIVE, 0, "wdm/nf-wdm-etwregister", fails STATUS_INSUFFICIENT_RESOURCES]
    fn EtwRegister(
        c, id: *const GUID, callback: Option<EtwEnable>, context: PVOID, out: *mut u64,
    ) -> NTSTATUS {
        if id.is_null() || out.is_null() {
            return STATUS_INVALID_PARAMETER;
        }
        let id = memory::read(id);
        let stack = crash::addresses(c.m, c.thread);
        debug_assert!(c.m.state::<Images>().all().len() < KEPT_MAX);
        let tracing = c.m.state::<Tracing>();
        let callback = callback.map(|callback| (callback, context.expose_provenance()));
        let (handle, told) = {
            let mut state = tracing.state.lock();
            state.next += 1;
            let handle = state.next;
            state.providers.insert(handle, Provider { id, callback, stack });
            (handle, state.told())
        };
        memory::write(out, handle);
        if let Some((callback, context)) = callback
            && told.0 == ENABLE
        {
            tell(callback, told, context);
        }
        STATUS_SUCCESS
    }

    /// Takes a registration back.
    [PASSIVE, 0, "wdm/nf-wdm-etwunregister"]
    fn EtwUnregister(c, handle: u64) -> NTSTATUS {
        let tracing = c.m.state::<Tracing>();
        let removed = tracing.state.lock().providers.remove(&handle);
        if removed.is_some() { STATUS_SUCCESS } else { STATUS_INVALID_HANDLE }
    }

    /// Whether anybody listens for an event.
    [ANY, 0, "wdm/nf-wdm-etweventenabled"]
    fn EtwEventEnabled(c, handle: u64, descriptor: *const EventDescriptor) -> u8 {
        u8::from(!descriptor.is_null() && is_enabled(c.m, handle, memory::read(descriptor).level))
    }

    /// Whether anybody listens at a level for a keyword.
    [ANY, 0, "wdm/nf-wdm-etwproviderenabled"]
    fn EtwProviderEnabled(c, handle: u64, level: u8, _keyword: u64) -> u8 {
        u8::from(is_enabled(c.m, handle, level))
    }

    /// Writes an event.
    [ANY, 0, "wdm/nf-wdm-etwwrite", fails STATUS_NO_MEMORY]
    fn EtwWrite(
        c, handle: u64, descriptor: *const EventDescriptor, _activity: *const GUID, count: u32,
        data: *const DataDescriptor,
    ) -> NTSTATUS {
        if descriptor.is_null() || count > DESCRIPTORS_MAX || (count != 0 && data.is_null()) {
            return STATUS_INVALID_PARAMETER;
        }
        let descriptor = memory::read(descriptor);
        let parts: Vec<_> =
            (0..count as usize).map(|index| memory::read(data.wrapping_add(index))).collect();
        let total: usize = parts.iter().map(|part| part.size as usize).sum();
        if total > EVENT_MAX {
            return STATUS_INVALID_PARAMETER;
        }
        let bytes = |part: &DataDescriptor| {
            let from = usize::try_from(part.address).unwrap_or(0);
            memory::read_bytes(std::ptr::with_exposed_provenance(from), part.size as usize)
        };
        let data = parts.iter().map(bytes).collect();
        let tracing = c.m.state::<Tracing>();
        let mut state = tracing.state.lock();
        let Some(provider) = state.providers.get(&handle).map(|provider| provider.id) else {
            return STATUS_INVALID_HANDLE;
        };
        if state.listens(descriptor.level) && state.events.len() < KEPT_MAX {
            state.events.push(Event { provider, descriptor, data });
        }
        STATUS_SUCCESS
    }
}
