//! What is remembered about one stream, and about one instance, between opens.
//!
//! That an open was "serviced from a layer" is a property of that open and is never kept here.

use crate::change::ChangeCounter;
use crate::key::FileId;
use crate::sync::const_but_modelled;
use crate::sync::plain::{AtomicU32, AtomicU64, Ordering};
use core::num::NonZeroU64;

/// Names a stream context for as long as the driver runs; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct StreamId(NonZeroU64);

impl StreamId {
    /// The stream of this number, unless zero.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Gives out [`StreamId`]s.
pub struct StreamIds(AtomicU64);

impl StreamIds {
    /// None is given out yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The next one. Any IRQL.
    pub fn next(&self) -> StreamId {
        loop {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if let Some(id) = StreamId::new(number) {
                return id;
            }
        }
    }
}

impl Default for StreamIds {
    fn default() -> Self {
        Self::new()
    }
}

/// The file id of the stream's file, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnId {
    /// Nobody asked yet.
    Unknown,
    /// It was asked for, and there is none that can be used.
    None,
    /// It is this.
    Known(FileId),
}

/// Whether the stream is the file's unnamed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamName {
    /// Nobody asked yet, or the answer could not be had.
    Unknown,
    /// It is the unnamed stream.
    Unnamed,
    /// It is a named stream.
    Named,
}

/// What a stream context remembers. Any IRQL; no lock.
pub struct StreamState {
    id: StreamId,
    flags: AtomicU32,
    low: AtomicU64,
    high: AtomicU64,
    changes: ChangeCounter,
    /// One more than the count of changes at the last verdict; zero before the first.
    settled: AtomicU64,
    /// One more than the count of changes when an open was last let through unscanned.
    unscanned: AtomicU64,
    /// The value of `settled` at the last verdict "infected"; zero before the first.
    infected: AtomicU64,
    /// Changes by operations, as against what the memory manager writes back.
    direct: AtomicU64,
    /// One more than the count of direct changes when the image section was made; zero where none
    /// was seen.
    imaged: AtomicU64,
}

const UNNAMED: u32 = 1;
const NAMED: u32 = 2;
const ID_KNOWN: u32 = 4;
const ID_NONE: u32 = 8;
const WRITABLE_SECTION: u32 = 16;
const OPENED: u32 = 32;
const ID_CLAIMED: u32 = 64;
const IMAGE_UNSURE: u32 = 128;
const DELETED: u32 = 256;
const DECIDED: u32 = 512;
const MAPPED_BEFORE: u32 = 1024;

impl StreamState {
    const_but_modelled! {
        /// A stream of which nothing is known.
        #[must_use]
        pub fn new(id: StreamId) -> Self {
            Self {
                id,
                flags: AtomicU32::new(0),
                low: AtomicU64::new(0),
                high: AtomicU64::new(0),
                changes: ChangeCounter::new(),
                settled: AtomicU64::new(0),
                unscanned: AtomicU64::new(0),
                infected: AtomicU64::new(0),
                direct: AtomicU64::new(0),
                imaged: AtomicU64::new(0),
            }
        }
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Whether no change of it was ever begun.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.changes.mark() == Some(0)
    }

    /// Its counter of changes.
    #[must_use]
    pub const fn changes(&self) -> &ChangeCounter {
        &self.changes
    }

    fn flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set_flag(&self, flag: u32) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    /// The file id, as far as it is known.
    #[must_use]
    pub fn own_id(&self) -> OwnId {
        let flags = self.flags.load(Ordering::Acquire);
        if flags & ID_KNOWN != 0 {
            let low = self.low.load(Ordering::Relaxed);
            let high = self.high.load(Ordering::Relaxed);
            FileId::from_words(low, high).map_or(OwnId::None, OwnId::Known)
        } else if flags & ID_NONE != 0 {
            OwnId::None
        } else {
            OwnId::Unknown
        }
    }

    /// Keeps the answer to the question for the file id. The first answer stays: a stream's file
    /// does not change its id.
    pub fn set_own_id(&self, id: Option<FileId>) {
        let Some(id) = id else {
            self.set_flag(ID_NONE);
            return;
        };
        if self.flags.fetch_or(ID_CLAIMED, Ordering::AcqRel) & ID_CLAIMED == 0 {
            let (low, high) = id.to_words();
            self.low.store(low, Ordering::Relaxed);
            self.high.store(high, Ordering::Relaxed);
            self.set_flag(ID_KNOWN);
        }
    }

    /// Whether it is the unnamed stream.
    #[must_use]
    pub fn name(&self) -> StreamName {
        let flags = self.flags.load(Ordering::Acquire);
        if flags & NAMED != 0 {
            StreamName::Named
        } else if flags & UNNAMED != 0 {
            StreamName::Unnamed
        } else {
            StreamName::Unknown
        }
    }

    /// Keeps what was proven about the name.
    pub fn set_name(&self, unnamed: bool) {
        self.set_flag(if unnamed { UNNAMED } else { NAMED });
    }

    /// Whether a writable section was ever seen.
    #[must_use]
    pub fn writable_section(&self) -> bool {
        self.flag(WRITABLE_SECTION)
    }

    /// A writable section was made.
    pub fn set_writable_section(&self) {
        self.set_flag(WRITABLE_SECTION);
    }

    /// Notes that an open of the stream was decided: its bytes were looked at, or a rule says that
    /// they need not be.
    pub fn note_decided(&self) {
        self.set_flag(DECIDED);
    }

    /// Whether an open of the stream was ever decided. One that was ignored was not.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.flag(DECIDED)
    }

    /// Somebody may have mapped the stream before anything was known of it.
    pub fn note_mapped_before(&self) {
        self.set_flag(MAPPED_BEFORE);
    }

    /// Whether an open of the stream came to its end.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.flag(OPENED)
    }

    /// Notes that an open of the stream came to its end. False the first time: until then a
    /// paging write may come from a mapping that is older than the context.
    pub fn note_open(&self) -> bool {
        self.flags.fetch_or(OPENED, Ordering::AcqRel) & OPENED != 0
    }

    /// Whether a paging write is a change: only if somebody can have written through a mapping.
    #[must_use]
    pub fn paging_write_counts(&self) -> bool {
        let flags = self.flags.load(Ordering::Acquire);
        flags & (WRITABLE_SECTION | MAPPED_BEFORE) != 0 || flags & OPENED == 0
    }

    /// An open was let through without a verdict: the file is to be looked at when it is closed.
    pub fn note_unscanned(&self) {
        let now = self.changes.moved().saturating_add(1);
        self.unscanned.fetch_max(now, Ordering::AcqRel);
    }

    /// A verdict about the bytes as they were at `mark` (see [`ChangeCounter::mark`]).
    pub fn note_verdict(&self, mark: u64) {
        self.settled
            .fetch_max(mark.saturating_add(1), Ordering::AcqRel);
    }

    /// That verdict is "infected".
    pub fn note_infected(&self, mark: u64) {
        self.infected
            .fetch_max(mark.saturating_add(1), Ordering::AcqRel);
    }

    /// Whether the last verdict about the bytes is "infected".
    #[must_use]
    pub fn is_infected(&self) -> bool {
        let infected = self.infected.load(Ordering::Acquire);
        infected != 0 && infected == self.settled.load(Ordering::Acquire)
    }

    /// An operation changes the bytes, other than a paging write.
    pub fn note_direct_change(&self) {
        self.direct.fetch_add(1, Ordering::AcqRel);
    }

    /// An image section is about to be made, where there is none. `mapped`: somebody has the
    /// stream mapped to write to it.
    pub fn note_image(&self, mapped: bool) {
        let unsure = mapped || self.changes.mark().is_none();
        let direct = self.direct.load(Ordering::Acquire);
        if unsure {
            self.set_flag(IMAGE_UNSURE);
        } else {
            self.flags.fetch_and(!IMAGE_UNSURE, Ordering::AcqRel);
        }
        self.imaged
            .store(direct.saturating_add(1), Ordering::Release);
    }

    /// Whether the file may show other bytes than the image section that was made over it: they
    /// were changed since, or could be without our seeing it. Paging writes do not count: they
    /// bring to the disk what was there when the image was made.
    #[must_use]
    pub fn image_overwritten(&self) -> bool {
        let direct = self.direct.load(Ordering::Acquire);
        match self.imaged.load(Ordering::Acquire) {
            0 => direct != 0,
            imaged => self.flag(IMAGE_UNSURE) || direct >= imaged,
        }
    }

    /// A handle that deletes the file was closed.
    pub fn note_deleted(&self) {
        self.set_flag(DELETED);
    }

    /// Whether a handle that deletes the file was closed.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.flag(DELETED)
    }

    /// Whether the bytes changed since the last verdict about them.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        let settled = self.settled.load(Ordering::Acquire);
        let moved = self.changes.moved();
        moved != 0 && settled <= moved
    }

    /// Whether a close must look at the bytes: they changed since the last verdict, or an open
    /// was let through without one.
    #[must_use]
    pub fn wants_close_scan(&self) -> bool {
        let settled = self.settled.load(Ordering::Acquire);
        self.is_unsettled() || self.unscanned.load(Ordering::Acquire) > settled
    }
}

/// What an instance context remembers.
#[derive(Default)]
pub struct InstanceState {
    redirecting: AtomicU32,
    changes: ChangeCounter,
}

impl InstanceState {
    const_but_modelled! {
        /// A volume that shows no layer bytes, as far as is known.
        #[must_use]
        pub fn new() -> Self {
            Self {
                redirecting: AtomicU32::new(0),
                changes: ChangeCounter::new(),
            }
        }
    }

    /// Whether own ids on this volume may show layer bytes.
    #[must_use]
    pub fn redirecting(&self) -> bool {
        self.redirecting.load(Ordering::Acquire) != 0
    }

    /// An acknowledged ECP from a silo was seen. True the first time: the caller then moves the
    /// volume's epoch. Stays until the instance is torn down.
    pub fn set_redirecting(&self) -> bool {
        self.redirecting.load(Ordering::Relaxed) == 0
            && self.redirecting.swap(1, Ordering::AcqRel) == 0
    }

    /// The counter of changes on streams that have no context.
    #[must_use]
    pub const fn changes(&self) -> &ChangeCounter {
        &self.changes
    }
}
