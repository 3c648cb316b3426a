//! User memory as a driver meets it: raw addresses of a client that its own code may not touch.
//!
//! On Windows such an address may be touched with a handler for exceptions around it. Drivers
//! here have none, so only functions of the kernel may, and they open the pages for as long.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::layout::PVOID;
use crate::machine::Machine;
use crate::memory::{self, Pages};
use crate::verifier;

/// The user memory that drivers have the addresses of now, by address.
#[derive(Default)]
pub(crate) struct UserRanges {
    ranges: Mutex<BTreeMap<usize, Arc<Pages>>>,
}

impl UserRanges {
    /// Whether an address is in one of them.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.ranges
            .try_lock()
            .is_some_and(|ranges| find(&ranges, address).is_some())
    }

    /// Does `work` while the client's memory at `address`, if it is some, can be read.
    pub(crate) fn opened<R>(&self, address: usize, work: impl FnOnce() -> R) -> R {
        let pages = find(&self.ranges.lock(), address);
        let was_closed = pages.filter(|pages| memory::read_guarded(pages.address(), 1).is_empty());
        if let Some(pages) = &was_closed {
            pages.open(0, pages.size());
        }
        let result = work();
        if let Some(pages) = &was_closed {
            pages.close(0, pages.size());
        }
        result
    }
}

fn find(ranges: &BTreeMap<usize, Arc<Pages>>, address: usize) -> Option<Arc<Pages>> {
    let (start, pages) = ranges.range(..=address).next_back()?;
    (address - start < pages.size()).then(|| pages.clone())
}

/// One buffer of a client; none for no bytes.
pub(crate) struct UserMemory {
    pages: Option<Arc<Pages>>,
    ranges: Arc<UserRanges>,
}

impl UserMemory {
    /// A copy of the client's bytes, closed to the driver.
    pub(crate) fn of(m: &Machine, bytes: &[u8]) -> Self {
        let ranges = m.state::<UserRanges>();
        let pages = (!bytes.is_empty())
            .then(|| Pages::map(bytes.len()))
            .flatten();
        let pages = pages.map(Arc::new);
        if let Some(pages) = &pages {
            memory::write_bytes(pages.pointer(), bytes);
            if m.judges(&verifier::port::USER_ADDRESS) {
                pages.close(0, pages.size());
            }
            ranges.ranges.lock().insert(pages.address(), pages.clone());
        }
        Self { pages, ranges }
    }

    /// The address that the driver gets.
    pub(crate) fn pointer(&self) -> PVOID {
        self.pages
            .as_ref()
            .map_or(core::ptr::null_mut(), |pages| pages.pointer())
    }

    /// Copies what is there now back to the client.
    pub(crate) fn read(&self, to: &mut [u8]) {
        let Some(pages) = &self.pages else { return };
        pages.open(0, pages.size());
        to.copy_from_slice(&memory::read_bytes(pages.pointer(), to.len()));
    }
}

impl Drop for UserMemory {
    fn drop(&mut self) {
        if let Some(pages) = &self.pages {
            self.ranges.ranges.lock().remove(&pages.address());
        }
    }
}
