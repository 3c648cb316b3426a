//! Nonpaged memory with a tag per kind of object, and the allocator for Rust's own collections,
//! which no path of an open uses.
//!
//! `ExAllocatePool2` exists from Windows 10 2004 on, and `wdk-alloc` calls it. A symbol of that
//! name defined here wins over the import library, so the image never imports it.
#![expect(unsafe_code, reason = "hands out raw memory as typed slices")]

use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::{Status, irql, routine};
use crate::sys::constants::{NON_PAGED_POOL_NX, STATUS_INSUFFICIENT_RESOURCES};
use crate::sys::{self, P};

/// Reserved for use outside of every path that an open takes; see `wdk_alloc`.
#[global_allocator]
static ALLOCATOR: wdk_alloc::WdkAllocator = wdk_alloc::WdkAllocator;

/// A pool tag. All of them are listed here: `!poolused` and the filter host name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(u32);

impl Tag {
    /// Instance contexts.
    pub const INSTANCE: Self = Self(u32::from_le_bytes(*b"SsIn"));
    /// Stream contexts.
    pub const STREAM: Self = Self(u32::from_le_bytes(*b"SsSt"));
    /// Section contexts.
    pub const SECTION: Self = Self(u32::from_le_bytes(*b"SsSe"));
    /// Transaction contexts.
    pub const TRANSACTION: Self = Self(u32::from_le_bytes(*b"SsTr"));
    /// The redirection ECP; freed by the I/O manager.
    pub const ECP: Self = Self(u32::from_le_bytes(*b"SsEc"));
    /// The private ECP that says that the redirection ECP beside it is ours.
    pub const MARKER: Self = Self(u32::from_le_bytes(*b"SsMk"));
    /// The cache of verdicts and the table of changes.
    pub const CACHE: Self = Self(u32::from_le_bytes(*b"SsCa"));
    /// Flights, waiters and their events.
    pub const FLIGHT: Self = Self(u32::from_le_bytes(*b"SsFl"));
    /// Messages to and from the service.
    pub const MESSAGE: Self = Self(u32::from_le_bytes(*b"SsMs"));

    /// Where the registry's values are.
    pub const SETTINGS: Self = Self(u32::from_le_bytes(*b"SsRe"));

    /// The tag as the pool takes it.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// A slice in nonpaged pool, freed when dropped.
///
/// # Invariants
/// `start` points to `length` initialised values that this owns alone.
pub struct PoolSlice<T> {
    start: NonNull<T>,
    length: usize,
    tag: Tag,
}

// SAFETY: the slice owns its values, so it may go where they may go.
unsafe impl<T: Send> Send for PoolSlice<T> {}
// SAFETY: shared access to the slice is shared access to its values.
unsafe impl<T: Sync> Sync for PoolSlice<T> {}

impl<T> PoolSlice<T> {
    /// `length` values made by `make`, in order.
    ///
    /// # Errors
    /// `STATUS_INSUFFICIENT_RESOURCES`, also for a length that does not fit or an alignment that
    /// the pool does not give: 16 bytes below a page, a page from a page up.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn new(length: usize, tag: Tag, mut make: impl FnMut(usize) -> T) -> Result<Self, Status> {
        let start = allocate::<T>(length, tag)?;
        for index in 0..length {
            // SAFETY: `index` is below the length that was allocated.
            let place = unsafe { start.add(index) };
            // SAFETY: the place is allocated for one value and not yet initialised.
            unsafe { place.write(make(index)) };
        }
        // INVARIANT: all `length` values were written above, and nobody else has the memory.
        Ok(Self { start, length, tag })
    }

    /// `length` values of zero bytes.
    ///
    /// # Safety
    /// Zero bytes must be a valid value of `T`, or every value is initialised before use.
    ///
    /// # Errors
    /// As [`PoolSlice::new`].
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub unsafe fn zeroed(length: usize, tag: Tag) -> Result<Self, Status> {
        let start = allocate::<T>(length, tag)?;
        // SAFETY: the memory is allocated for `length` values of `T`.
        unsafe { ptr::write_bytes(start.as_ptr(), 0, length) };
        // INVARIANT: the caller promises that zero bytes serve as values.
        Ok(Self { start, length, tag })
    }

    /// `length` values of zero bytes, of a type for which that is a value: made in place, for what
    /// is too large for a kernel stack.
    ///
    /// # Errors
    /// As [`PoolSlice::new`].
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn zeros(length: usize, tag: Tag) -> Result<Self, Status>
    where
        T: zerocopy::FromZeros,
    {
        // SAFETY: `FromZeros` says that zero bytes are a value of the type.
        unsafe { Self::zeroed(length, tag) }
    }

    /// Lends the values for longer than a borrow can say.
    ///
    /// # Safety
    /// Called once; the slice is not used otherwise, and not dropped before the loan's last use.
    pub unsafe fn lend(&mut self) -> &'static mut [T] {
        // SAFETY: `length` initialised values are there; the caller vouches for their life.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// The values, to be changed.
    pub fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: `length` initialised values are there and borrowed mutably (type invariant).
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T> Deref for PoolSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised values are there (type invariant).
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for PoolSlice<T> {
    fn drop(&mut self) {
        let values: *mut [T] = self.as_mut();
        // SAFETY: the values are initialised and are not used after this.
        unsafe { ptr::drop_in_place(values) };
        // SAFETY: the memory came from the pool with this tag and is freed once.
        unsafe { wdk_sys::ntddk::ExFreePoolWithTag(self.start.as_ptr().cast(), self.tag.raw()) };
    }
}

/// The size from which on the pool aligns to pages.
const PAGE: usize = 4096;

/// Uninitialised, aligned memory for `length` values.
fn allocate<T>(length: usize, tag: Tag) -> Result<NonNull<T>, Status> {
    irql::at_most_dispatch();
    let no_memory = Status::failure(STATUS_INSUFFICIENT_RESOURCES);
    let mut bytes = size_of::<T>()
        .checked_mul(length)
        .filter(|n| *n > 0)
        .ok_or(no_memory)?;
    if align_of::<T>() > PAGE {
        return Err(no_memory);
    }
    if align_of::<T>() > 16 {
        bytes = bytes.max(PAGE);
    }
    // SAFETY: size and tag are not zero; the pool type exists on every supported Windows.
    let memory = unsafe { sys::ExAllocatePoolWithTag(NON_PAGED_POOL_NX, bytes, tag.raw()) };
    NonNull::new(memory.cast()).ok_or(no_memory)
}

type AllocatePool2 = unsafe extern "system" fn(u64, usize, u32) -> P;

static POOL2: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Looks up the newer allocation routine. Called once by `DriverEntry`.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn init() {
    irql::passive();
    let address = routine::kernel(routine::name!("ExAllocatePool2"));
    POOL2.store(
        address.map_or(ptr::null_mut(), NonNull::as_ptr),
        Ordering::Release,
    );
}

/// Forwards to the system's routine where it has one, else to the one that every version has,
/// with zeroed memory that cannot be executed.
///
/// # Safety
/// As the system's routine: the memory is freed with `ExFreePool`.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ExAllocatePool2(flags: u64, size: usize, tag: u32) -> P {
    irql::at_most_dispatch();
    let system = POOL2.load(Ordering::Acquire);
    if !system.is_null() {
        // SAFETY: the kernel exports a routine of this name with this signature only.
        let system: AllocatePool2 = unsafe { core::mem::transmute(system) };
        // SAFETY: the caller owes the routine what it owes this function.
        return unsafe { system(flags, size, tag) };
    }
    // SAFETY: the caller owes the same IRQL; size and tag are passed on as they are.
    let memory = unsafe { sys::ExAllocatePoolWithTag(NON_PAGED_POOL_NX, size, tag) };
    if !memory.is_null() {
        // SAFETY: the pool returned at least `size` bytes that nobody else has.
        unsafe { ptr::write_bytes(memory.cast::<u8>(), 0, size) };
    }
    memory
}
