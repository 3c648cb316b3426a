//! Filter contexts as owned, typed values: what we remember about a volume, a stream, a section
//! that is being scanned. The only place where a context is allocated, set, found or released.
#![expect(
    unsafe_code,
    reason = "contexts are untyped memory of the Filter Manager"
)]

mod section;
mod transaction;

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use siloscan_core::key::VolumeGuid;
use siloscan_core::ledger::{ChangeMark, Hidden, Pin};
use siloscan_core::stream::{InstanceState, StreamId, StreamState};
use siloscan_core::sync::WriteToken;

use crate::kernel::file::{File, Instance};
use crate::kernel::lock::SpinLock;
use crate::kernel::pool::Tag;
use crate::kernel::{Status, clock, irql};
use crate::sys::constants::{
    FLT_INSTANCE_CONTEXT, FLT_SET_CONTEXT_KEEP_IF_EXISTS, FLT_STREAM_CONTEXT, NON_PAGED_POOL_NX,
    STATUS_FLT_CONTEXT_ALREADY_DEFINED, STATUS_UNSUCCESSFUL,
};
use crate::sys::{self, ContextCleanup, FltContext};
use crate::{registration, state};
pub use section::SectionContext;
pub use transaction::{Noted, Transaction, TransactionContext};

/// A kind of context. Its values need no drop: the Filter Manager just frees them.
pub trait Kind: Sync {
    /// The Filter Manager's number of the kind.
    const KIND: u16;
    /// The pool tag.
    const TAG: Tag;
    /// Called before the memory goes.
    const CLEANUP: Option<ContextCleanup> = None;

    /// Finishes a value that has reached its final place, before anybody else sees it.
    ///
    /// # Safety
    /// Called once, by [`Owned::new`], on memory of the context's own in nonpaged pool.
    unsafe fn place(&self) {}
}

/// One counted reference to a context, given back when dropped.
///
/// # Invariants
/// Points to an initialised `T` in nonpaged pool, of which this owns one reference.
#[must_use = "the reference is given back when this is dropped"]
pub struct Owned<T: Kind>(NonNull<T>, PhantomData<T>);

// SAFETY: references are counted by the Filter Manager; the value is `Sync` by `Kind`.
unsafe impl<T: Kind> Send for Owned<T> {}
// SAFETY: shared access gives shared access to a `Sync` value only.
unsafe impl<T: Kind> Sync for Owned<T> {}

impl<T: Kind> Owned<T> {
    /// Allocates a context that holds `value`.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`, or that the filter goes away.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn new(value: T) -> Result<Self, Status> {
        const { assert!(!core::mem::needs_drop::<T>() && align_of::<T>() <= 16) };
        irql::at_most_apc();
        let mut context: FltContext = ptr::null_mut();
        // SAFETY: kind and size are registered; the output outlives the call.
        let status = unsafe {
            sys::FltAllocateContext(
                registration::filter(),
                T::KIND,
                size_of::<T>(),
                NON_PAGED_POOL_NX,
                &raw mut context,
            )
        };
        core::hint::black_box(());
        Status::check(status)?;
        let place = NonNull::new(context.cast::<T>()).ok_or(Status::failure(0))?;
        // SAFETY: the memory is ours alone, large enough and aligned for pool's 16 bytes.
        unsafe { place.write(value) };
        // SAFETY: the value was written above and nobody else knows of it.
        let value = unsafe { place.as_ref() };
        // SAFETY: this is the one call, on nonpaged memory that the value never leaves.
        unsafe { value.place() };
        // INVARIANT: allocated with one reference and initialised above.
        Ok(Self(place, PhantomData))
    }

    /// The Filter Manager's pointer.
    #[must_use]
    pub fn as_ptr(&self) -> FltContext {
        self.0.as_ptr().cast()
    }

    /// Another reference.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn again(&self) -> Self {
        irql::at_most_dispatch();
        // SAFETY: the context lives: this owns a reference.
        unsafe { sys::FltReferenceContext(self.as_ptr()) };
        core::hint::black_box(());
        Self(self.0, PhantomData)
    }

    /// Gives the reference up as a number, for a completion context.
    #[must_use]
    pub fn into_raw(self) -> usize {
        let raw = self.0.addr().get();
        self.0.as_ptr().expose_provenance();
        core::mem::forget(self);
        raw
    }

    /// # Safety
    /// `raw` came from `into_raw` of the same type and is taken back once.
    #[must_use]
    pub unsafe fn from_raw(raw: usize) -> Option<Self> {
        Some(Self(
            NonNull::new(ptr::with_exposed_provenance_mut(raw))?,
            PhantomData,
        ))
    }

    /// Takes over a reference that the Filter Manager gave.
    fn adopt(context: FltContext) -> Result<Self, Status> {
        // INVARIANT: the Filter Manager gives references to what `new` initialised, by kind.
        NonNull::new(context.cast())
            .map(|place| Self(place, PhantomData))
            .ok_or(Status::failure(STATUS_UNSUCCESSFUL))
    }
}

impl<T: Kind> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised and alive while this owns a reference (type invariant).
        unsafe { self.0.as_ref() }
    }
}

impl<T: Kind> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this owns.
        unsafe { sys::FltReleaseContext(self.0.as_ptr().cast()) };
        // Filter Verifier tells callers by return address: no tail call (rules, fact 6).
        core::hint::black_box(());
    }
}

/// What we know of a volume that we are attached to.
pub struct InstanceContext {
    /// The mount manager's GUID; empty while there is none.
    guid: LateGuid,
    /// Core's ledger knows the volume, and is told when the instance goes away.
    pub tracked: AtomicBool,
    /// The file system gives ids that stay.
    pub stable_ids: bool,
    /// A direct-access volume.
    pub dax: bool,
    /// A cluster volume.
    pub csv: bool,
    /// Data-scan sections can be made.
    pub data_scan: bool,
    /// There was no memory to look at the volume. It gets no GUID: its changes could not be told
    /// apart, so it must be no layer's volume either.
    pub unknown: bool,
    /// The instance is being torn down.
    pub dying: AtomicBool,
    /// Somebody may have opened files of the volume, and mapped them, without our seeing it.
    pub unseen: AtomicBool,
    /// What core remembers of an instance.
    pub state: InstanceState,
    /// Changes under way on streams that have no context.
    marks: SpinLock<Marks>,
    /// What hides the volume as a number; zero is nothing.
    hidden: AtomicU64,
}

impl InstanceContext {
    /// A volume that was never seen to change.
    #[must_use]
    pub const fn new(guid: Option<VolumeGuid>) -> Self {
        Self {
            guid: LateGuid::new(guid),
            tracked: AtomicBool::new(false),
            stable_ids: false,
            dax: false,
            csv: false,
            data_scan: false,
            unknown: false,
            dying: AtomicBool::new(false),
            unseen: AtomicBool::new(false),
            state: InstanceState::new(),
            marks: SpinLock::new(Marks::NONE),
            hidden: AtomicU64::new(0),
        }
    }

    /// The mount manager's GUID, as far as it has given one. Any IRQL.
    #[must_use]
    pub fn guid(&self) -> Option<VolumeGuid> {
        self.guid.get()
    }

    /// Whether it is time to ask for the GUID again; true for one caller a second.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn guid_is_due(&self) -> bool {
        self.guid.is_due()
    }

    /// Keeps the GUID of a volume that had none. True for the first who brings it: the caller
    /// then has the volume tracked.
    pub fn name(&self, guid: VolumeGuid) -> bool {
        self.guid.set(guid)
    }

    /// Keeps the volume hidden for as long as the instance lives; `hide` hides it. True the first
    /// time.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn hide(&self, hide: impl FnOnce() -> Option<Hidden>) -> bool {
        /// Taken by whoever hides it; nothing that hides has this number.
        const CLAIMED: u64 = u64::MAX;
        let claim = self
            .hidden
            .compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
        if claim.is_err() {
            return false;
        }
        let hidden = hide().map_or(0, Hidden::into_raw);
        self.hidden.store(hidden, Ordering::Release);
        hidden != 0
    }

    /// Takes back what hides the volume, when the instance goes.
    pub fn take_hidden(&self) -> Option<Hidden> {
        Hidden::from_raw(self.hidden.swap(0, Ordering::AcqRel))
    }

    /// A change of something on the volume that cannot be named begins.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn begin_change(&self, begin: impl FnOnce(&WriteToken<'_>) -> Option<ChangeMark>) {
        self.state.changes().begin();
        self.marks
            .lock_and(|marks, token| marks.begin(|| begin(token)));
    }

    /// It is over, whatever came of it.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn end_change(&self, end: impl FnOnce(ChangeMark, &WriteToken<'_>)) {
        self.marks
            .lock_and(|marks, token| marks.end(|mark| end(mark, token)));
        self.state.changes().end();
    }
}

/// A GUID that may come after its volume.
struct LateGuid {
    low: AtomicU64,
    high: AtomicU64,
    /// 0 none, 1 being written, 2 there.
    state: AtomicU32,
    /// When to ask again, in 100 ns since boot.
    next: AtomicU64,
}

impl LateGuid {
    const fn new(guid: Option<VolumeGuid>) -> Self {
        let (low, high, state) = match guid {
            Some(guid) => {
                let (low, high) = guid.to_words();
                (low, high, 2)
            }
            None => (0, 0, 0),
        };
        Self {
            low: AtomicU64::new(low),
            high: AtomicU64::new(high),
            state: AtomicU32::new(state),
            next: AtomicU64::new(0),
        }
    }

    fn get(&self) -> Option<VolumeGuid> {
        if self.state.load(Ordering::Acquire) != 2 {
            return None;
        }
        let low = self.low.load(Ordering::Relaxed);
        VolumeGuid::from_words(low, self.high.load(Ordering::Relaxed))
    }

    fn is_due(&self) -> bool {
        if self.state.load(Ordering::Acquire) != 0 {
            return false;
        }
        let now = clock::now();
        let next = self.next.load(Ordering::Acquire);
        let later = clock::after(now, GUID_AGAIN_MS);
        now >= next
            && self
                .next
                .compare_exchange(next, later, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    fn set(&self, guid: VolumeGuid) -> bool {
        let claim = self
            .state
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        if claim.is_err() {
            return false;
        }
        let (low, high) = guid.to_words();
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
        self.state.store(2, Ordering::Release);
        true
    }
}

/// Pause between two questions for a GUID that is not there yet, in milliseconds.
const GUID_AGAIN_MS: u64 = 1_000;

/// Changes under way, and core's mark for them: one mark, however many changes overlap.
struct Marks {
    under_way: u32,
    /// Core's mark as a number; zero is none.
    mark: u64,
}

impl Marks {
    const NONE: Self = Self {
        under_way: 0,
        mark: 0,
    };

    fn begin(&mut self, begin: impl FnOnce() -> Option<ChangeMark>) {
        if self.mark == 0 {
            self.mark = begin().map_or(0, |mark| mark.into_raw());
        }
        self.under_way = self.under_way.saturating_add(1);
    }

    fn end(&mut self, end: impl FnOnce(ChangeMark)) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 && self.mark != 0 {
            end(ChangeMark::from_raw(core::mem::take(&mut self.mark)));
        }
    }
}

impl Kind for InstanceContext {
    const KIND: u16 = FLT_INSTANCE_CONTEXT;
    const TAG: Tag = Tag::INSTANCE;
}

impl Owned<InstanceContext> {
    /// The context of an instance; every instance that was set up has one.
    ///
    /// # Errors
    /// `STATUS_NOT_FOUND` while it is being set up or torn down.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn of(instance: Instance<'_>) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut context: FltContext = ptr::null_mut();
        // SAFETY: the instance lives (type); the output outlives the call.
        let status = unsafe { sys::FltGetInstanceContext(instance.as_ptr(), &raw mut context) };
        core::hint::black_box(());
        Status::check(status)?;
        Self::adopt(context)
    }

    /// Ties the context to its instance.
    ///
    /// # Errors
    /// That the instance goes away, or has one.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn attach(&self, instance: Instance<'_>) -> Result<(), Status> {
        irql::at_most_apc();
        // SAFETY: the instance lives (type) and the context is of the instance kind.
        let status = unsafe {
            sys::FltSetInstanceContext(
                instance.as_ptr(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.as_ptr(),
                ptr::null_mut(),
            )
        };
        core::hint::black_box(());
        Status::check(status).map(|_| ())
    }
}

/// What we know of a stream of a file. Never where its bytes come from: that is a property of
/// one open.
pub struct StreamContext {
    /// What core remembers of a stream.
    pub state: StreamState,
    /// Changes under way.
    marks: SpinLock<Marks>,
    /// Core's pin of the stream's key as a number; zero is none.
    pin: AtomicU64,
}

impl Kind for StreamContext {
    const KIND: u16 = FLT_STREAM_CONTEXT;
    const TAG: Tag = Tag::STREAM;
    const CLEANUP: Option<ContextCleanup> = Some(registration::stream_cleanup);
}

impl StreamContext {
    /// A stream of which nothing is known.
    #[must_use]
    pub const fn new(id: StreamId) -> Self {
        Self {
            state: StreamState::new(id),
            marks: SpinLock::new(Marks::NONE),
            pin: AtomicU64::new(0),
        }
    }

    /// Keeps the pin that `pin` makes, unless there is one.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn pin(&self, pin: impl FnOnce() -> Option<Pin>) {
        /// Taken by whoever makes the pin; no pin has this number.
        const CLAIMED: u64 = u64::MAX;
        let claim = self
            .pin
            .compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
        if claim.is_ok() {
            self.pin
                .store(pin().map_or(0, Pin::into_raw), Ordering::Release);
        }
    }

    /// Takes the pin back, when the context goes.
    pub fn take_pin(&self) -> Option<Pin> {
        Pin::from_raw(self.pin.swap(0, Ordering::AcqRel))
    }

    /// # Safety
    /// `context` is a stream context of ours that nobody has a reference to any more.
    pub unsafe fn ending<'a>(context: FltContext) -> Option<&'a Self> {
        // SAFETY: the caller vouches for the context; its value was initialised by `new`.
        unsafe { context.cast::<Self>().as_ref() }
    }

    /// A change of the stream begins. `begin` makes core's mark, where the stream has a key.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn begin_change(&self, begin: impl FnOnce(&WriteToken<'_>) -> Option<ChangeMark>) {
        self.state.changes().begin();
        self.marks
            .lock_and(|marks, token| marks.begin(|| begin(token)));
    }

    /// It is over, whatever came of it.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn end_change(&self, end: impl FnOnce(ChangeMark, &WriteToken<'_>)) {
        self.marks
            .lock_and(|marks, token| marks.end(|mark| end(mark, token)));
        self.state.changes().end();
    }
}

/// What a pre-operation leaves for its post-operation: whose change ends.
#[must_use = "a change that is never ended keeps its key out of the cache for ever"]
pub enum Mark {
    /// A stream's.
    Stream(Owned<StreamContext>),
    /// Something's on the instance's volume.
    Instance(Owned<InstanceContext>),
}

/// Tells the two apart: contexts are aligned to 16 bytes.
const INSTANCE_BIT: usize = 1;

impl Mark {
    /// As a completion context; never zero.
    #[must_use]
    pub fn into_bits(self) -> usize {
        match self {
            Self::Stream(stream) => stream.into_raw(),
            Self::Instance(instance) => instance.into_raw() | INSTANCE_BIT,
        }
    }

    /// Takes the mark of a completion context back.
    ///
    /// # Safety
    /// `bits` came from `into_bits` and is taken back once.
    #[must_use]
    pub unsafe fn from_bits(bits: usize) -> Option<Self> {
        let raw = bits & !INSTANCE_BIT;
        if bits & INSTANCE_BIT == 0 {
            // SAFETY: the caller vouches for the bits; without the bit they are a stream's.
            unsafe { Owned::from_raw(raw) }.map(Self::Stream)
        } else {
            // SAFETY: the caller vouches for the bits; with the bit they are an instance's.
            unsafe { Owned::from_raw(raw) }.map(Self::Instance)
        }
    }
}

impl Owned<StreamContext> {
    /// The stream's context.
    ///
    /// # Errors
    /// `STATUS_NOT_FOUND` where it has none, `STATUS_NOT_SUPPORTED` where it can have none.
    ///
    /// # IRQL
    /// At most APC_LEVEL; not in a post-operation other than that of a create.
    pub fn of(instance: Instance<'_>, file: File<'_>) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut context: FltContext = ptr::null_mut();
        // SAFETY: instance and file live (types); the output outlives the call.
        let status =
            unsafe { sys::FltGetStreamContext(instance.as_ptr(), file.as_ptr(), &raw mut context) };
        core::hint::black_box(());
        Status::check(status)?;
        Self::adopt(context)
    }

    /// The stream's context, made where it has none.
    ///
    /// # Errors
    /// Not supported, no memory, or that the instance goes away.
    ///
    /// # IRQL
    /// At most APC_LEVEL; the file is open.
    pub fn of_or_new(instance: Instance<'_>, file: File<'_>) -> Result<Self, Status> {
        Self::of(instance, file).or_else(|_| {
            Self::new(StreamContext::new(state::next_stream()))?.attach(instance, file)
        })
    }

    /// Ties a new context to a stream, or gives the one that somebody else tied to it first.
    ///
    /// # Errors
    /// Not supported, no memory, or that the instance goes away.
    ///
    /// # IRQL
    /// At most APC_LEVEL; the file is open.
    pub fn attach(self, instance: Instance<'_>, file: File<'_>) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut old: FltContext = ptr::null_mut();
        // SAFETY: instance and file live (types) and the context is of the stream kind.
        let status = unsafe {
            sys::FltSetStreamContext(
                instance.as_ptr(),
                file.as_ptr(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.as_ptr(),
                &raw mut old,
            )
        };
        core::hint::black_box(());
        if status == STATUS_FLT_CONTEXT_ALREADY_DEFINED {
            return Self::adopt(old);
        }
        Status::check(status)?;
        Ok(self)
    }
}
