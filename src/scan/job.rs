//! What a leader needs to read a file: held in a fixed table, found by the number that core's
//! flights carry. Taken out while a leader uses it, so that nothing is locked meanwhile.
#![forbid(unsafe_code)]

use siloscan_core::flight::Subject;
use siloscan_core::key::Key;

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::Status;
use crate::kernel::file::{Held, Name};
use crate::kernel::lock::SpinLock;
use crate::kernel::pool::{PoolSlice, Tag};
use crate::kernel::section::ScanSection;
use crate::scan::closed::Debt;

/// One opener's, or one closed file's, means to be scanned.
pub struct Job {
    /// The file object, with our instance.
    pub held: Held,
    /// The opened stream; none where the file system gives no contexts.
    pub stream: Option<Owned<StreamContext>>,
    /// The volume.
    pub instance: Owned<InstanceContext>,
    /// The opened file's own key, which all its streams share.
    pub file: Option<Key>,
    /// The file's name, for reports.
    pub name: Option<Name>,
    /// Made already, for a file that is being closed.
    pub section: Option<ScanSection>,
    /// Of a file that is being closed: what it owes to the coverage of its volume.
    pub debt: Option<Debt>,
    /// What the verdict is filed under.
    pub key: Option<Key>,
    /// The verdict may be kept.
    pub keeps: bool,
    /// The bytes come from a layer.
    pub layer: bool,
    /// The bytes are a container's own, under this key.
    pub scratch: bool,
    /// The scan is for one opener alone: what an earlier one sees may be other bytes.
    pub alone: bool,
    /// A changed file that was closed.
    pub closed: bool,
    /// The process that opened or wrote the file.
    pub process: u64,
    /// The container's id, or zero.
    pub container: [u8; 16],
}

impl Job {
    /// What the flight is for: the key, or the stream where there is none.
    #[must_use]
    pub fn subject(&self, fallback: impl FnOnce() -> siloscan_core::stream::StreamId) -> Subject {
        match (self.key, &self.stream) {
            (Some(key), _) => Subject::Key(key),
            (None, Some(stream)) => Subject::Stream(stream.state.id()),
            (None, None) => Subject::Stream(fallback()),
        }
    }
}

/// The number of a place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie(u16);

impl Cookie {
    /// As core carries it.
    #[must_use]
    pub const fn to_raw(self) -> u64 {
        self.0 as u64
    }

    /// As core gives it back; `None` for what no cookie is.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        u16::try_from(raw).ok().map(Self)
    }
}

/// A place: free and pointing to the next free one, or taken, its job there or with a leader.
#[expect(
    clippy::large_enum_variant,
    reason = "the table is made once, and a box could not be had when one is needed"
)]
enum Place {
    Free(Option<u16>),
    Taken(Option<Job>),
}

/// The table.
pub struct Jobs {
    places: PoolSlice<SpinLock<Place>>,
    first_free: SpinLock<Option<u16>>,
}

impl Jobs {
    /// A table of `count` places.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn new(count: usize) -> Result<Self, Status> {
        let last = count.saturating_sub(1);
        let next = |index: usize| u16::try_from(index.saturating_add(1)).ok();
        let places = PoolSlice::new(count, Tag::FLIGHT, |index| {
            SpinLock::new(Place::Free(if index == last { None } else { next(index) }))
        })?;
        Ok(Self {
            places,
            first_free: SpinLock::new(Some(0)),
        })
    }

    /// Puts a job in. Gives it back where all places are taken.
    ///
    /// # Errors
    /// The job, where there is no place.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[expect(
        clippy::result_large_err,
        reason = "the job is dropped where no lock is held, and a box could not be had either"
    )]
    pub fn insert(&self, job: Job) -> Result<Cookie, Job> {
        let mut first = self.first_free.lock();
        let Some(index) = *first else { return Err(job) };
        let Some(place) = self.places.get(usize::from(index)) else {
            return Err(job);
        };
        let mut place = place.lock();
        if let Place::Free(next) = &*place {
            *first = *next;
        }
        *place = Place::Taken(Some(job));
        Ok(Cookie(index))
    }

    /// Takes a job out for a time; its place stays taken.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use]
    pub fn borrow(&self, cookie: Cookie) -> Option<Job> {
        match &mut *self.places.get(usize::from(cookie.0))?.lock() {
            Place::Taken(job) => job.take(),
            Place::Free(_) => None,
        }
    }

    /// Puts a borrowed job back.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn give_back(&self, cookie: Cookie, job: Job) {
        if let Some(place) = self.places.get(usize::from(cookie.0)) {
            *place.lock() = Place::Taken(Some(job));
        }
    }

    /// Frees the place. The job is given out, to be dropped where no lock is held.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    #[must_use = "the job is dropped outside of the lock"]
    pub fn remove(&self, cookie: Cookie) -> Option<Job> {
        let mut first = self.first_free.lock();
        let mut place = self.places.get(usize::from(cookie.0))?.lock();
        match core::mem::replace(&mut *place, Place::Free(*first)) {
            Place::Taken(job) => {
                *first = Some(cookie.0);
                job
            }
            free @ Place::Free(_) => {
                *place = free;
                None
            }
        }
    }
}
