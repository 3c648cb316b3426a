//! The two arrays of a flight table and the lists that run through them.
//!
//! Lists are indices into fixed arrays. An index that is out of range ends a list, so that no
//! mistake here can become a wild access.

use super::{FlightId, Outcome, Request, Subject, WaiterId};
use crate::key::Key;
use crate::stream::StreamId;

/// The end of a list.
const NONE: u16 = u16::MAX;

/// What a flight's place is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing.
    Free,
    /// It waits for a leader.
    Queued,
    /// A leader has it; live if it is listed.
    Leading,
    /// A killed scan at close, which a leader must still let go of.
    Reap,
}

/// Memory of one flight.
#[derive(Clone, Copy, Debug)]
pub struct FlightSlot {
    pub(super) state: State,
    /// It can be found and joined.
    pub(super) listed: bool,
    /// The request went to the service.
    pub(super) sent: bool,
    /// The service was told to stop.
    pub(super) stop_told: bool,
    generation: u32,
    subject: Option<Subject>,
    /// It can be found, and not joined.
    alone: bool,
    file: Option<Key>,
    /// The stream that the leader reads through.
    source: Option<StreamId>,
    source_owner: u64,
    /// The stream that it has a section of, or is about to have, until its place is freed: there
    /// is one section a stream.
    pub(super) reads: Option<StreamId>,
    pub(super) silo: u64,
    /// A scan at close began it.
    pub(super) at_close: bool,
    pub(super) request: u64,
    /// When the attempt under way had to be over; never for one that is only let go of.
    pub(super) deadline: u64,
    /// The waiter whose file object the leader uses.
    pub(super) tried: Option<WaiterId>,
    first_waiter: u16,
    last_waiter: u16,
    previous: u16,
    next: u16,
}

impl FlightSlot {
    /// A place that is not used.
    pub const FREE: Self = Self {
        state: State::Free,
        listed: false,
        sent: false,
        stop_told: false,
        generation: 0,
        subject: None,
        alone: false,
        file: None,
        source: None,
        source_owner: 0,
        reads: None,
        silo: 0,
        at_close: false,
        request: 0,
        deadline: u64::MAX,
        tried: None,
        first_waiter: NONE,
        last_waiter: NONE,
        previous: NONE,
        next: NONE,
    };
}

/// Memory of one waiter.
#[derive(Clone, Copy, Debug)]
pub struct WaiterSlot {
    used: bool,
    /// A leader uses its file object.
    pub(super) lent: bool,
    /// It wanted to leave while it was lent.
    pub(super) leaving: bool,
    /// Nobody waits: a scan at close.
    pub(super) detached: bool,
    generation: u32,
    result: Option<Outcome>,
    pub(super) flight: u16,
    previous: u16,
    next: u16,
    pub(super) silo: u64,
    owner: u64,
    pub(super) cookie: u64,
    pub(super) deadline: u64,
    pub(super) stream: Option<StreamId>,
}

impl WaiterSlot {
    /// A place that is not used.
    pub const FREE: Self = Self {
        used: false,
        lent: false,
        leaving: false,
        detached: false,
        generation: 0,
        result: None,
        flight: NONE,
        previous: NONE,
        next: NONE,
        silo: 0,
        owner: 0,
        cookie: 0,
        deadline: 0,
        stream: None,
    };

    /// The outcome, once there is one and its file object is its own again.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        if self.lent { None } else { self.result }
    }
}

pub(super) struct Waiters<'m> {
    slots: &'m mut [WaiterSlot],
    /// Where the search for a free place begins.
    hint: usize,
}

impl<'m> Waiters<'m> {
    pub(super) fn new(slots: &'m mut [WaiterSlot]) -> Self {
        Self { slots, hint: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn all_free(&self) -> bool {
        self.slots.iter().all(|slot| !slot.used)
    }

    pub(super) fn take(&mut self, request: &Request) -> Option<WaiterId> {
        let index = free_from(self.slots, self.hint, |slot| !slot.used)?;
        self.hint = index.saturating_add(1);
        let slot = self.slots.get_mut(index)?;
        let generation = slot.generation.wrapping_add(1);
        *slot = WaiterSlot {
            used: true,
            detached: request.detached,
            generation,
            silo: request.silo,
            owner: request.owner,
            cookie: request.cookie,
            deadline: request.deadline,
            stream: request.stream,
            ..WaiterSlot::FREE
        };
        Some(WaiterId {
            index: u16::try_from(index).ok()?,
            generation,
        })
    }

    pub(super) fn free(&mut self, index: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            *slot = WaiterSlot {
                generation: slot.generation,
                ..WaiterSlot::FREE
            };
        }
    }

    pub(super) fn at(&self, index: u16) -> Option<&WaiterSlot> {
        self.slots.get(usize::from(index)).filter(|slot| slot.used)
    }

    pub(super) fn get(&self, id: WaiterId) -> Option<&WaiterSlot> {
        self.at(id.index)
            .filter(|slot| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: WaiterId) -> Option<&mut WaiterSlot> {
        let slot = self.slots.get_mut(usize::from(id.index))?;
        if slot.used && slot.generation == id.generation {
            Some(slot)
        } else {
            None
        }
    }

    pub(super) fn id(&self, index: u16) -> Option<WaiterId> {
        self.at(index).map(|slot| WaiterId {
            index,
            generation: slot.generation,
        })
    }

    pub(super) fn next(&self, index: u16) -> Option<u16> {
        self.at(index)
            .map(|slot| slot.next)
            .filter(|next| *next != NONE)
    }

    pub(super) fn is_detached(&self, index: u16) -> bool {
        self.at(index).is_some_and(|slot| slot.detached)
    }

    pub(super) fn flight_of(&self, index: u16) -> Option<u16> {
        self.at(index).map(|slot| slot.flight)
    }

    /// A waiter of this owner that has no outcome yet and is no scan at close.
    pub(super) fn find_owned(&self, owner: u64) -> Option<u16> {
        let found = self.slots.iter().position(|slot| {
            slot.used && slot.owner == owner && slot.result.is_none() && !slot.detached
        })?;
        u16::try_from(found).ok()
    }

    pub(super) fn owner(&self, index: u16) -> Option<u64> {
        self.at(index).map(|slot| slot.owner)
    }

    pub(super) fn set_outcome(&mut self, index: u16, outcome: Outcome) {
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            slot.result = Some(outcome);
        }
    }

    /// Puts a waiter behind `last` in the list of `flight`.
    pub(super) fn link(&mut self, index: u16, flight: u16, last: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(last)) {
            slot.next = index;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            slot.flight = flight;
            slot.previous = last;
            slot.next = NONE;
        }
    }

    /// Takes a waiter out of its list: its neighbours, and its silo.
    pub(super) fn unlink(&mut self, index: u16) -> Option<(u16, u16, u64)> {
        let slot = self.slots.get_mut(usize::from(index))?;
        if slot.flight == NONE {
            return None;
        }
        let (previous, next, silo) = (slot.previous, slot.next, slot.silo);
        slot.flight = NONE;
        slot.previous = NONE;
        slot.next = NONE;
        if let Some(before) = self.slots.get_mut(usize::from(previous)) {
            before.next = next;
        }
        if let Some(after) = self.slots.get_mut(usize::from(next)) {
            after.previous = previous;
        }
        Some((previous, next, silo))
    }
}

pub(super) struct Flights<'m> {
    slots: &'m mut [FlightSlot],
    /// The list of live flights, oldest first.
    first: u16,
    last: u16,
    hint: usize,
}

impl<'m> Flights<'m> {
    pub(super) fn new(slots: &'m mut [FlightSlot]) -> Self {
        Self {
            slots,
            first: NONE,
            last: NONE,
            hint: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn all_free(&self) -> bool {
        self.slots.iter().all(|slot| slot.state == State::Free)
    }

    pub(super) fn at(&self, index: u16) -> Option<&FlightSlot> {
        self.slots.get(usize::from(index))
    }

    pub(super) fn at_mut(&mut self, index: u16) -> Option<&mut FlightSlot> {
        self.slots.get_mut(usize::from(index))
    }

    /// The place of a leader's flight, if it is still that one.
    pub(super) fn led(&self, id: FlightId) -> Option<&FlightSlot> {
        self.at(id.index)
            .filter(|slot| slot.generation == id.generation && slot.state == State::Leading)
    }

    pub(super) fn id(&self, index: u16) -> Option<FlightId> {
        self.at(index).map(|slot| FlightId {
            index,
            generation: slot.generation,
        })
    }

    /// The live flights, oldest first.
    pub(super) fn live(&self) -> impl Iterator<Item = (u16, &FlightSlot)> {
        let mut at = self.first;
        let mut left = self.slots.len();
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let slot = self.at(at)?;
            let index = at;
            at = slot.next;
            Some((index, slot))
        })
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = (u16, &FlightSlot)> {
        (0..NONE).zip(self.slots.iter())
    }

    pub(super) fn first_live(&self) -> Option<u16> {
        self.live().next().map(|(index, _)| index)
    }

    pub(super) fn count_live(&self) -> usize {
        self.live().count()
    }

    pub(super) fn find_live(&self, subject: &Subject) -> Option<u16> {
        self.live()
            .find(|(_, slot)| !slot.alone && slot.subject.as_ref() == Some(subject))
            .map(|(index, _)| index)
    }

    /// A live flight that reads this file, whichever of its streams.
    pub(super) fn find_of_file(&self, file: &Key) -> Option<u16> {
        let subject = Subject::Key(*file);
        self.live()
            .find(|(_, slot)| slot.subject == Some(subject) || slot.file.as_ref() == Some(file))
            .map(|(index, _)| index)
    }

    /// A live flight for this subject, or one that is read through this stream.
    pub(super) fn find_affected(&self, subject: &Subject) -> Option<u16> {
        let source = match subject {
            Subject::Stream(stream) => Some(*stream),
            Subject::Key(_) => None,
        };
        self.live()
            .find(|(_, slot)| {
                slot.subject.as_ref() == Some(subject)
                    || (source.is_some() && slot.source == source)
            })
            .map(|(index, _)| index)
    }

    /// Whether another flight, live or dead, has a section of this stream. One that is queued is
    /// a scan at close, whose section was made when it was queued.
    pub(super) fn is_read_elsewhere(&self, index: u16, stream: StreamId, but_queued: bool) -> bool {
        self.indices().any(|(other, slot)| {
            other != index
                && slot.reads == Some(stream)
                && !(but_queued && slot.state == State::Queued)
        })
    }

    /// The queued scan at close that has a section of this stream.
    pub(super) fn find_queued_reader(&self, stream: StreamId) -> Option<u16> {
        self.live()
            .find(|(_, slot)| slot.state == State::Queued && slot.reads == Some(stream))
            .map(|(index, _)| index)
    }

    /// How many places hold scans at close, in these states.
    pub(super) fn count_at_close(&self, states: &[State]) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.at_close && states.contains(&slot.state))
            .count()
    }

    /// A live flight whose leader reads through a file object of this owner, or whose scan at
    /// close belongs to it.
    pub(super) fn find_led_through(&self, owner: u64) -> Option<u16> {
        self.live()
            .find(|(_, slot)| slot.source_owner == owner && owner != 0)
            .map(|(index, _)| index)
    }

    pub(super) fn take(&mut self, request: &Request) -> Option<u16> {
        let index = free_from(self.slots, self.hint, |slot| slot.state == State::Free)?;
        self.hint = index.saturating_add(1);
        let last = self.last;
        let slot = self.slots.get_mut(index)?;
        let index = u16::try_from(index).ok()?;
        *slot = FlightSlot {
            state: State::Queued,
            listed: true,
            generation: slot.generation.wrapping_add(1),
            subject: Some(request.subject),
            alone: request.alone,
            file: request.file,
            source_owner: if request.detached { request.owner } else { 0 },
            reads: request.stream.filter(|_| request.detached),
            silo: request.silo,
            at_close: request.detached,
            previous: last,
            ..FlightSlot::FREE
        };
        match self.at_mut(last) {
            Some(before) => before.next = index,
            None => self.first = index,
        }
        self.last = index;
        Some(index)
    }

    /// Takes a flight out of the list of live ones. What the filter must forget.
    pub(super) fn unlist(&mut self, index: u16) -> Option<(Subject, Option<StreamId>)> {
        let slot = self.at_mut(index).filter(|slot| slot.listed)?;
        slot.listed = false;
        let (previous, next) = (slot.previous, slot.next);
        slot.previous = NONE;
        slot.next = NONE;
        let forget = (slot.subject?, slot.source.take());
        match self.at_mut(previous) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.at_mut(next) {
            Some(after) => after.previous = previous,
            None => self.last = previous,
        }
        Some(forget)
    }

    /// Frees a place. The silo that started the flight.
    pub(super) fn free(&mut self, index: u16) -> Option<u64> {
        let slot = self.at_mut(index)?;
        if slot.state == State::Free {
            return None;
        }
        let silo = slot.silo;
        *slot = FlightSlot {
            generation: slot.generation,
            ..FlightSlot::FREE
        };
        Some(silo)
    }

    pub(super) fn state(&self, index: u16) -> State {
        self.at(index).map_or(State::Free, |slot| slot.state)
    }

    pub(super) fn set_state(&mut self, index: u16, state: State) {
        if let Some(slot) = self.at_mut(index) {
            slot.state = state;
        }
    }

    pub(super) fn is_leading(&self, index: u16) -> bool {
        self.state(index) == State::Leading
    }

    pub(super) fn first_waiter(&self, index: u16) -> Option<u16> {
        self.at(index)
            .map(|slot| slot.first_waiter)
            .filter(|waiter| *waiter != NONE)
    }

    pub(super) fn has_waiters(&self, index: u16) -> bool {
        self.first_waiter(index).is_some()
    }

    pub(super) fn subject(&self, index: u16) -> Option<Subject> {
        self.at(index)?.subject
    }

    /// From now on the leader reads through this stream. What the filter must forget of before.
    pub(super) fn set_source(
        &mut self,
        index: u16,
        source: Option<StreamId>,
        owner: u64,
    ) -> Option<StreamId> {
        let slot = self.at_mut(index)?;
        slot.source_owner = owner;
        slot.reads = source;
        core::mem::replace(&mut slot.source, source)
    }

    /// Makes `waiter` the last of the list. The one before it.
    pub(super) fn push_waiter(&mut self, index: u16, waiter: u16) -> u16 {
        let Some(slot) = self.at_mut(index) else {
            return NONE;
        };
        let last = core::mem::replace(&mut slot.last_waiter, waiter);
        if last == NONE {
            slot.first_waiter = waiter;
        }
        last
    }

    /// After a waiter between these two was taken out.
    pub(super) fn fix_ends(&mut self, index: u16, previous: u16, next: u16) {
        if let Some(slot) = self.at_mut(index) {
            if previous == NONE {
                slot.first_waiter = next;
            }
            if next == NONE {
                slot.last_waiter = previous;
            }
        }
    }
}

/// The first free place at or after `hint`, around the end.
fn free_from<T>(slots: &[T], hint: usize, is_free: impl Fn(&T) -> bool) -> Option<usize> {
    let usable = slots.len().min(usize::from(NONE));
    let hint = if hint < usable { hint } else { 0 };
    (hint..usable)
        .chain(0..hint)
        .find(|index| slots.get(*index).is_some_and(&is_free))
}
