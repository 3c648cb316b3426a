//! Event tracing: providers register, and what they write goes to the sessions that listen, and is
//! kept for tests to read.

mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use session::{SESSIONS_MAX, Session};
pub use session::{Taken, Wanted};

use crate::crash;
use crate::exports;
use crate::fltmgr::call;
use crate::image::Images;
use crate::layout::{EtwEnable, GUID, PVOID};
use crate::machine::Machine;
use crate::memory;
use crate::sched::Time;
use crate::status::{
    NTSTATUS, NtStatus, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER, STATUS_NO_MEMORY, STATUS_SUCCESS, STATUS_TIMEOUT,
};

/// Most data descriptors of one event (`MAX_EVENT_DATA_DESCRIPTORS`).
const DESCRIPTORS_MAX: u32 = 128;
/// Largest event in bytes.
const EVENT_MAX: usize = 64 << 10;
/// The level up to which events are kept for tests unless told otherwise: informational.
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

/// `EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA`.
const EVENT_METADATA: u8 = 1;
/// `EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA`.
const PROVIDER_METADATA: u8 = 2;

/// An event as a provider wrote it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The provider's id.
    pub provider: GUID,
    /// What sort of event.
    pub descriptor: EventDescriptor,
    /// When it was written: the system time in 100 ns since 1601.
    pub time: i64,
    /// What a self-described event says of itself; empty for others.
    pub metadata: Vec<u8>,
    /// The values of its fields, one after the other.
    pub values: Vec<u8>,
}

impl Event {
    fn bytes(&self) -> usize {
        self.metadata.len() + self.values.len()
    }
}

/// Providers, sessions and events of one machine.
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
    /// The most verbose level that is listened to by tests; `None` while none of them does.
    level: Option<u8>,
    sessions: BTreeMap<u64, Session>,
    /// Providers are being told of the sessions. One at a time tells, so that what a provider
    /// heard last is true, and none goes away in the middle of it.
    telling: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next: 0,
            providers: BTreeMap::new(),
            events: Vec::new(),
            level: Some(LEVEL),
            sessions: BTreeMap::new(),
            telling: false,
        }
    }
}

/// What a provider is told of all sessions together: control code, level, keywords.
type Enabled = (u32, u8, u64);

impl State {
    /// Whether tests listen to an event of this level. Level 0 is for every session.
    fn is_kept(&self, level: u8) -> bool {
        self.level.is_some_and(|most| level <= most)
    }

    /// Whether anybody listens to such an event of a provider.
    fn listens(&self, handle: u64, level: u8, keywords: u64) -> bool {
        let Some(provider) = self.providers.get(&handle) else {
            return false;
        };
        let wanted = |session: &Session| {
            session.wanted.provider == provider.id && session.wanted.listens(level, keywords)
        };
        self.is_kept(level) || self.sessions.values().any(wanted)
    }

    /// What a provider is told of the sessions. 0 stands for all levels, and for all keywords.
    fn enabled(&self, provider: &GUID) -> Enabled {
        let tests = self.level.map(|level| (level, 0));
        let sessions = self.sessions.values().map(|session| session.wanted);
        let sessions = sessions.filter(|wanted| wanted.provider == *provider);
        let all = tests
            .into_iter()
            .chain(sessions.map(|wanted| (wanted.level, wanted.keywords)));
        let joined = all.reduce(|(level, keywords), (other_level, other_keywords)| {
            let all_levels = level == 0 || other_level == 0;
            let all_keywords = keywords == 0 || other_keywords == 0;
            (
                if all_levels {
                    0
                } else {
                    level.max(other_level)
                },
                if all_keywords {
                    0
                } else {
                    keywords | other_keywords
                },
            )
        });
        joined.map_or((DISABLE, 0, 0), |(level, keywords)| {
            (ENABLE, level, keywords)
        })
    }

    /// What to tell whom.
    fn news(&self) -> Vec<(EtwEnable, Enabled, usize)> {
        let news = self.providers.values().filter_map(|provider| {
            let (callback, context) = provider.callback?;
            Some((callback, self.enabled(&provider.id), context))
        });
        news.collect()
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

    /// Up to which level events are kept for tests, if at all; unless told otherwise, everything
    /// but what is verbose. Providers with a callback are told, on the calling simulated thread.
    pub fn listen(&self, m: &Machine, level: Option<u8>) {
        self.tell_after(m, |state| state.level = level);
    }

    /// Level and keywords that the sessions together want of a provider, if there is any; 0 is for
    /// all.
    #[must_use]
    pub fn wanted_of(&self, provider: &GUID) -> Option<(u8, u64)> {
        let (code, level, keywords) = self.state.lock().enabled(provider);
        (code == ENABLE).then_some((level, keywords))
    }

    /// Begins a session. Providers with a callback are told, on the calling simulated thread.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES` while there are 64.
    pub fn begin(&self, m: &Machine, wanted: Wanted) -> Result<u64, NtStatus> {
        self.tell_after(m, |state| {
            if state.sessions.len() >= SESSIONS_MAX {
                return Err(STATUS_INSUFFICIENT_RESOURCES);
            }
            state.next += 1;
            state.sessions.insert(state.next, Session::new(wanted));
            Ok(state.next)
        })
    }

    /// Ends a session: what waits in it is gone, and so is whoever waits for it. Providers with a
    /// callback are told, on the calling simulated thread.
    pub fn end(&self, m: &Machine, session: u64) {
        self.tell_after(m, |state| state.sessions.remove(&session));
    }

    /// Waits until a session has events or has lost some; gives as many events as `fits` lets
    /// through.
    ///
    /// # Errors
    /// `STATUS_INVALID_HANDLE` where there is no such session, or no more; `STATUS_TIMEOUT` at the
    /// deadline.
    pub fn take(
        &self,
        m: &Machine,
        session: u64,
        deadline: Time,
        mut fits: impl FnMut(&Event) -> bool,
    ) -> Result<Taken, NtStatus> {
        let next = || {
            let mut state = self.state.lock();
            match state.sessions.get_mut(&session) {
                None => Some(Err(STATUS_INVALID_HANDLE)),
                Some(session) => session.take(&mut fits).map(Ok),
            }
        };
        m.sched()
            .wait_until("trace session", Some(deadline), next)
            .unwrap_or(Err(STATUS_TIMEOUT))
    }

    /// Changes something, then tells the providers how things are.
    fn tell_after<T>(&self, m: &Machine, change: impl FnOnce(&mut State) -> T) -> T {
        let (changed, news) = {
            let mut state = self.turn(m);
            let changed = change(&mut state);
            (changed, state.news())
        };
        for (callback, enabled, context) in news {
            tell(callback, enabled, context);
        }
        self.state.lock().telling = false;
        m.sched().notify();
        changed
    }

    /// Waits until nobody tells providers anything; from then on it is the caller who does.
    fn turn(&self, m: &Machine) -> MutexGuard<'_, State> {
        let free = || {
            let mut state = self.state.lock();
            if state.telling {
                return None;
            }
            state.telling = true;
            Some(state)
        };
        let turn = m.sched().wait_until("providers are told", None, free);
        turn.unwrap_or_else(|_| self.state.lock())
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

    /// Keeps an event for whoever listens to it. True where a session waited for one.
    fn put(&self, handle: u64, event: Event) -> Result<bool, NTSTATUS> {
        let mut state = self.state.lock();
        let Some(provider) = state.providers.get(&handle).map(|provider| provider.id) else {
            return Err(STATUS_INVALID_HANDLE);
        };
        let event = Arc::new(Event { provider, ..event });
        let (level, keyword) = (event.descriptor.level, event.descriptor.keyword);
        let mut waited = false;
        for session in state.sessions.values_mut() {
            if session.wanted.provider == provider && session.wanted.listens(level, keyword) {
                waited |= session.put(&event);
            }
        }
        if state.is_kept(level) && state.events.len() < KEPT_MAX {
            state.events.push(Arc::unwrap_or_clone(event));
        }
        Ok(waited)
    }
}

fn tell(callback: EtwEnable, enabled: Enabled, context: usize) {
    call::etw_enable(
        callback,
        enabled,
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
            let mut state = tracing.turn(c.m);
            state.next += 1;
            let handle = state.next;
            state.providers.insert(handle, Provider { id, callback, stack });
            (handle, state.enabled(&id))
        };
        memory::write(out, handle);
        if let Some((callback, context)) = callback
            && told.0 == ENABLE
        {
            tell(callback, told, context);
        }
        tracing.state.lock().telling = false;
        c.m.sched().notify();
        STATUS_SUCCESS
    }

    /// Takes a registration back. Its callback does not run afterwards.
    [PASSIVE, 0, "wdm/nf-wdm-etwunregister"]
    fn EtwUnregister(c, handle: u64) -> NTSTATUS {
        let tracing = c.m.state::<Tracing>();
        let removed = {
            let mut state = tracing.turn(c.m);
            state.telling = false;
            state.providers.remove(&handle)
        };
        c.m.sched().notify();
        if removed.is_some() { STATUS_SUCCESS } else { STATUS_INVALID_HANDLE }
    }

    /// Whether anybody listens for an event.
    [ANY, 0, "wdm/nf-wdm-etweventenabled"]
    fn EtwEventEnabled(c, handle: u64, descriptor: *const EventDescriptor) -> u8 {
        if descriptor.is_null() {
            return 0;
        }
        let EventDescriptor { level, keyword, .. } = memory::read(descriptor);
        u8::from(c.m.state::<Tracing>().state.lock().listens(handle, level, keyword))
    }

    /// Whether anybody listens at a level for a keyword.
    [ANY, 0, "wdm/nf-wdm-etwproviderenabled"]
    fn EtwProviderEnabled(c, handle: u64, level: u8, keyword: u64) -> u8 {
        u8::from(c.m.state::<Tracing>().state.lock().listens(handle, level, keyword))
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
        let (mut metadata, mut values) = (Vec::new(), Vec::new());
        for part in &parts {
            // The lowest byte is the type; what the provider says of itself is not the event's.
            match part.kind as u8 {
                EVENT_METADATA => metadata.extend(bytes(part)),
                PROVIDER_METADATA => {}
                _ => values.extend(bytes(part)),
            }
        }
        let (provider, time) = (GUID::default(), c.m.sched().system_time());
        let event = Event { provider, descriptor, time, metadata, values };
        match c.m.state::<Tracing>().put(handle, event) {
            Ok(true) => c.m.sched().notify(),
            Ok(false) => {}
            Err(status) => return status,
        }
        STATUS_SUCCESS
    }
}
