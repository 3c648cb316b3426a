//! Raw memory that drivers and the host share: owned blocks, and reads and writes by address.
#![expect(
    unsafe_code,
    reason = "memory shared with driver code is reached by address only"
)]
#![expect(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "a bad address is the driver's crash, which the crash handler catches and reports"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// A zeroed block with a stable address, aligned to 16 bytes, freed when dropped.
#[derive(Debug)]
pub struct Block {
    address: usize,
    layout: Layout,
}

impl Block {
    /// A block of at least `size` bytes.
    ///
    /// # Panics
    /// When `size` is absurd (above `isize::MAX`).
    #[must_use]
    pub fn zeroed(size: usize) -> Self {
        let layout = Layout::from_size_align(size.max(1), 16).expect("a block size that fits");
        // SAFETY: the layout has a size above zero, as required.
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        Self {
            address: memory.expose_provenance(),
            layout,
        }
    }

    /// Where the block starts.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// The start as a pointer.
    #[must_use]
    pub fn pointer<T>(&self) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.layout.size()
    }

    /// Fills the whole block with one byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: the block is ours, alive, and `size` bytes long.
        unsafe { std::ptr::write_bytes(self.pointer::<u8>(), byte, self.layout.size()) };
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout, freed once.
        unsafe { dealloc(self.pointer(), self.layout) };
    }
}

/// Whole pages, mapped on their own, whose access can be taken away; unmapped when dropped.
#[derive(Debug)]
pub struct Pages {
    address: usize,
    size: usize,
}

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 0x1000;

impl Pages {
    /// Zeroed pages of at least `size` bytes; `None` when the system has none left.
    #[must_use]
    pub fn map(size: usize) -> Option<Self> {
        let size = size.checked_next_multiple_of(PAGE_SIZE)?.max(PAGE_SIZE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches nothing.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
        let address = memory.expose_provenance();
        (memory != libc::MAP_FAILED).then_some(Self { address, size })
    }

    /// Where the pages start.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// Size of all pages in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The start as a pointer.
    #[must_use]
    pub fn pointer<T>(&self) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.address)
    }

    /// Takes all access away from the pages in `offset..offset + size`; false when refused.
    pub fn close(&self, offset: usize, size: usize) -> bool {
        self.protect(offset, size, libc::PROT_NONE)
    }

    /// Gives the access back that [`Pages::close`] took away.
    pub fn open(&self, offset: usize, size: usize) -> bool {
        self.protect(offset, size, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn protect(&self, offset: usize, size: usize, access: i32) -> bool {
        let size = size.min(self.size.saturating_sub(offset));
        let start = std::ptr::with_exposed_provenance_mut(self.address.wrapping_add(offset));
        // SAFETY: the range was cut to the mapping, which is ours alone.
        unsafe { libc::mprotect(start, size, access) == 0 }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let start = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: mapped in `map` with this size and unmapped once.
        unsafe { libc::munmap(start, self.size) };
    }
}

/// Reads a value at an address that a driver gave. A bad address is a crash that the crash
/// handler puts down to the driver's call.
///
/// The caller answers for `T` being valid for any bytes (integers, plain structures).
pub fn read<T: Copy>(pointer: *const T) -> T {
    // SAFETY: the driver vouches for its pointer; a fault is caught and reported as its crash.
    unsafe { std::ptr::read_unaligned(pointer) }
}

/// Writes a value to an address that a driver gave; see [`read`].
pub fn write<T: Copy>(pointer: *mut T, value: T) {
    // SAFETY: the driver vouches for its pointer; a fault is caught and reported as its crash.
    unsafe { std::ptr::write_unaligned(pointer, value) };
}

/// Copies `length` bytes out of driver memory.
#[must_use]
pub fn read_bytes(pointer: *const u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; length];
    // SAFETY: the target is ours and long enough; the driver vouches for the source.
    unsafe { std::ptr::copy(pointer, bytes.as_mut_ptr(), length) };
    bytes
}

/// Copies bytes into driver memory.
pub fn write_bytes(pointer: *mut u8, bytes: &[u8]) {
    // SAFETY: the source is a slice; the driver vouches for the target.
    unsafe { std::ptr::copy(bytes.as_ptr(), pointer, bytes.len()) };
}

/// Fills driver memory.
pub fn fill(pointer: *mut u8, byte: u8, length: usize) {
    // SAFETY: the driver vouches for the target; a fault is caught and reported as its crash.
    unsafe { std::ptr::write_bytes(pointer, byte, length) };
}

/// Copies driver memory to driver memory; the ranges may overlap.
pub fn copy(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the driver vouches for both ranges; a fault is caught and reported as its crash.
    unsafe { std::ptr::copy(from, to, length) };
}

/// Number of leading bytes that two ranges of driver memory have in common.
#[must_use]
pub fn common_prefix(one: *const u8, two: *const u8, length: usize) -> usize {
    let differs = |at: &usize| read(one.wrapping_add(*at)) != read(two.wrapping_add(*at));
    (0..length).find(differs).unwrap_or(length)
}

/// Longest text without a length that is read from a driver.
const TEXT_MAX: usize = 0x8000;

/// The bytes of a zero-terminated string, without the terminator.
#[must_use]
pub fn c_string(text: *const u8) -> Vec<u8> {
    let bytes = (0..TEXT_MAX).map(|at| read(text.wrapping_add(at)));
    bytes.take_while(|byte| *byte != 0).collect()
}

/// The units of a zero-terminated UTF-16 string, without the terminator.
#[must_use]
pub fn wide_string(text: *const u16) -> Vec<u16> {
    let units = (0..TEXT_MAX).map(|at| read(text.wrapping_add(at)));
    units.take_while(|unit| *unit != 0).collect()
}

/// Copies memory that may not be mapped, without a fault; shorter where it ends.
#[must_use]
pub fn read_guarded(address: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; length];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: length,
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address),
        iov_len: length,
    };
    // SAFETY: takes nothing and gives the process's own id.
    let me = unsafe { libc::getpid() };
    // SAFETY: the target is ours and long enough; the kernel checks the source as it copies.
    let read = unsafe { libc::process_vm_readv(me, &raw const local, 1, &raw const remote, 1, 0) };
    bytes.truncate(usize::try_from(read).unwrap_or(0));
    bytes
}
