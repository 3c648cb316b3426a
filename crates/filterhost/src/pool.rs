//! Kernel pool: tagged blocks with guards, whose leaks and misuse are seen.
//!
//! Ordinary blocks have a pattern before and behind them that is checked when they are freed;
//! freed blocks are poisoned and kept back for a while, so that a late write is seen. With
//! special pool each block ends at a page that cannot be touched, and its pages cannot be
//! touched after it is freed.

use std::collections::{BTreeMap, VecDeque};

use std::sync::Arc;

use parking_lot::Mutex;

use crate::memory::{self, Block, PAGE_SIZE, Pages};
use crate::paging::{Paging, Slot};
use crate::record::{self, What};
use crate::verifier::{Rule, pool as rules, special_pool};

/// Pattern around a block.
const GUARD: u8 = 0xfd;
/// Content of a block that was not asked to be zeroed.
const FRESH: u8 = 0xcd;
/// Content of a freed block.
const FREED: u8 = 0xdd;
/// Bytes of guard before and behind an ordinary block.
const GUARD_SIZE: usize = 16;
/// Of so many blocks of special pool one begins behind a closed page; the others end before one.
const SPECIAL_SIDES: u64 = 4;
/// Freed blocks that are kept back.
const KEPT_MAX: usize = 2048;

/// What a driver (or the host for it) asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Bytes, above zero.
    pub size: usize,
    /// Pool tag, first character in the low byte.
    pub tag: u32,
    /// Paged memory: not to be touched at `DISPATCH_LEVEL`.
    pub paged: bool,
    /// Zero it; otherwise it holds a pattern.
    pub zeroed: bool,
    /// Alignment beyond the usual 16 bytes; 0 for none.
    pub align: usize,
    /// Return addresses of the driver code that asked, innermost first.
    pub stack: Vec<usize>,
}

/// A block in use.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// Its number: 1 for the first of the machine.
    pub number: u64,
    /// Its address.
    pub address: usize,
    /// What was asked for.
    pub request: Request,
}

/// What is wrong with a block that is freed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No block in use starts there.
    #[error("{0:#x} is no block in use")]
    NotABlock(usize),
    /// The block was freed before.
    #[error("the block at {0:#x} was freed before")]
    Twice(usize),
    /// The tag is not the one that it was allocated with.
    #[error("the block has tag {}, freed with {}", tag_text(*.0), tag_text(*.1))]
    Tag(u32, u32),
    /// Bytes before the block were changed.
    #[error("bytes before the block of {0} bytes were overwritten")]
    UnderRun(usize),
    /// Bytes behind the block were changed.
    #[error("bytes behind the block of {0} bytes were overwritten")]
    OverRun(usize),
    /// A block was written to after it was freed.
    #[error("the block of {0} bytes was written to after it was freed")]
    LateWrite(usize),
}

impl PoolError {
    /// The rule that was broken.
    #[must_use]
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::NotABlock(_) => &rules::BAD_FREE,
            Self::Twice(_) => &rules::DOUBLE_FREE,
            Self::Tag(..) => &rules::TAG,
            Self::UnderRun(_) => &rules::UNDER_RUN,
            Self::OverRun(_) => &rules::OVER_RUN,
            Self::LateWrite(_) => &rules::LATE_WRITE,
        }
    }
}

/// A tag as its four characters.
#[must_use]
pub fn tag_text(tag: u32) -> String {
    let shown = |byte: u8| {
        if byte.is_ascii_graphic() {
            char::from(byte)
        } else {
            '.'
        }
    };
    let text: String = tag.to_le_bytes().map(shown).iter().collect();
    format!("'{text}'")
}

enum Memory {
    /// Held for its memory only.
    Guarded(#[expect(dead_code, reason = "freed when dropped")] Block),
    /// Paged memory that can be taken out.
    Paged(#[expect(dead_code, reason = "freed when dropped")] Slot),
    Special(Pages),
}

struct Used {
    allocation: Allocation,
    memory: Memory,
}

#[derive(Default)]
struct State {
    used: BTreeMap<usize, Used>,
    kept: VecDeque<Used>,
    count: u64,
    bytes: usize,
    peak: usize,
}

/// The pool of one machine.
#[derive(Default)]
pub struct Pool {
    special: bool,
    paging: Arc<Paging>,
    state: Mutex<State>,
}

impl Pool {
    pub(crate) fn new(special: bool, paging: Arc<Paging>) -> Self {
        Self {
            special,
            paging,
            state: Mutex::default(),
        }
    }

    /// Allocates a block; `None` when memory is short. Faults are the caller's to ask for.
    #[must_use]
    pub fn allocate(&self, request: Request) -> Option<usize> {
        record::note(What::Allocated(request.tag, request.size));
        let _resident = self.paging.resident();
        let (memory, address) = if self.special {
            let from_start = self.state.lock().count % SPECIAL_SIDES == SPECIAL_SIDES - 1;
            special(&request, from_start)?
        } else {
            self.guarded(&request)
        };
        let content = if request.zeroed { 0 } else { FRESH };
        memory::fill(pointer(address), content, request.size);
        let mut state = self.state.lock();
        state.count += 1;
        state.bytes += request.size;
        state.peak = state.peak.max(state.bytes);
        let allocation = Allocation {
            number: state.count,
            address,
            request,
        };
        state.used.insert(address, Used { allocation, memory });
        Some(address)
    }

    /// Frees a block. `tag` 0 frees any. A block that is found is freed, whatever is wrong with it.
    ///
    /// # Errors
    /// [`PoolError`] tells what is wrong with the block or the call.
    pub fn free(&self, address: usize, tag: u32) -> Result<(), PoolError> {
        let _resident = self.paging.resident();
        let mut state = self.state.lock();
        let Some(used) = state.used.remove(&address) else {
            let twice = state
                .kept
                .iter()
                .any(|kept| kept.allocation.address == address);
            let error = if twice {
                PoolError::Twice
            } else {
                PoolError::NotABlock
            };
            return Err(error(address));
        };
        let request = &used.allocation.request;
        let good = if tag != 0 && tag != request.tag {
            Err(PoolError::Tag(request.tag, tag))
        } else {
            used.check_guards()
        };
        state.bytes = state.bytes.saturating_sub(request.size);
        match &used.memory {
            Memory::Guarded(_) | Memory::Paged(_) => {
                memory::fill(pointer(address), FREED, request.size);
            }
            Memory::Special(pages) => {
                pages.close(0, pages.size());
            }
        }
        state.kept.push_back(used);
        let oldest = (state.kept.len() > KEPT_MAX)
            .then(|| state.kept.pop_front())
            .flatten();
        good.and_then(|()| oldest.map_or(Ok(()), |oldest| oldest.check_freed()))
    }

    /// Checks the guards of every block in use and the poison of the freed ones kept back; gives
    /// each damage found, and the block that has it.
    #[must_use]
    pub fn check(&self) -> Vec<(PoolError, Allocation)> {
        let _resident = self.paging.resident();
        let state = self.state.lock();
        let damaged = |used: &Used, result: Result<(), PoolError>| {
            result.err().map(|error| (error, used.allocation.clone()))
        };
        let used = state.used.values();
        let used = used.filter_map(|used| damaged(used, used.check_guards()));
        let kept = state.kept.iter();
        used.chain(kept.filter_map(|kept| damaged(kept, kept.check_freed())))
            .collect()
    }

    /// The block in use that holds `address`.
    #[must_use]
    pub fn find(&self, address: usize) -> Option<Allocation> {
        let state = self.state.lock();
        let (start, used) = state.used.range(..=address).next_back()?;
        let inside = address - start < used.allocation.request.size;
        inside.then(|| used.allocation.clone())
    }

    /// The rule that touching `address` breaks, in a closed page beside a block of special pool.
    #[must_use]
    pub fn beside_a_block(&self, address: usize) -> Option<&'static Rule> {
        let state = self.state.try_lock()?;
        let before = state.used.range(..=address).next_back();
        let behind = state.used.range(address..).next();
        let found = before
            .into_iter()
            .chain(behind)
            .find(|(_, used)| match &used.memory {
                Memory::Guarded(_) | Memory::Paged(_) => false,
                Memory::Special(pages) => address.wrapping_sub(pages.address()) < pages.size(),
            });
        found.map(|(start, _)| {
            if address < *start {
                &special_pool::BEFORE_START
            } else {
                &special_pool::PAST_END
            }
        })
    }

    /// The freed block, still kept back, that held `address`.
    #[must_use]
    pub fn find_freed(&self, address: usize) -> Option<Allocation> {
        let state = self.state.try_lock()?;
        let holds = |kept: &&Used| {
            let start = kept.allocation.address;
            address.wrapping_sub(start) < kept.allocation.request.size
        };
        state
            .kept
            .iter()
            .rev()
            .find(holds)
            .map(|kept| kept.allocation.clone())
    }

    /// All blocks in use, by number.
    #[must_use]
    pub fn in_use(&self) -> Vec<Allocation> {
        let state = self.state.lock();
        let mut all: Vec<_> = state
            .used
            .values()
            .map(|used| used.allocation.clone())
            .collect();
        all.sort_by_key(|allocation| allocation.number);
        all
    }

    /// Bytes in use now, and the most that ever were.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.bytes, state.peak)
    }

    /// Number of the newest block: a mark to find later ones.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.state.lock().count
    }
}

impl Used {
    fn check_guards(&self) -> Result<(), PoolError> {
        let address = self.allocation.address;
        let size = self.allocation.request.size;
        let (before, behind) = match &self.memory {
            Memory::Guarded(_) | Memory::Paged(_) => (GUARD_SIZE, GUARD_SIZE),
            Memory::Special(pages) => {
                let from_start = address == pages.address() + PAGE_SIZE;
                let closed = if from_start { 0 } else { PAGE_SIZE };
                let end = pages.address() + pages.size() - closed;
                (0, end - address - size)
            }
        };
        if !holds_only(address - before, before, GUARD) {
            return Err(PoolError::UnderRun(size));
        }
        if !holds_only(address + size, behind, GUARD) {
            return Err(PoolError::OverRun(size));
        }
        Ok(())
    }

    fn check_freed(&self) -> Result<(), PoolError> {
        if let Memory::Special(_) = self.memory {
            return Ok(());
        }
        let size = self.allocation.request.size;
        if holds_only(self.allocation.address, size, FREED) {
            return Ok(());
        }
        Err(PoolError::LateWrite(size))
    }
}

impl Pool {
    /// An ordinary block: 16-byte aligned, page-aligned from a page up, guards on both sides.
    fn guarded(&self, request: &Request) -> (Memory, usize) {
        let least = if request.size >= PAGE_SIZE {
            PAGE_SIZE
        } else {
            16
        };
        let align = request.align.next_power_of_two().max(least);
        let room = request.size.saturating_add(2 * GUARD_SIZE + align);
        let slot = request.paged.then(|| self.paging.allocate(room)).flatten();
        let (memory, start) = match slot {
            Some(slot) => {
                let start = slot.address;
                (Memory::Paged(slot), start)
            }
            None => {
                let block = Block::zeroed(room);
                let start = block.address();
                (Memory::Guarded(block), start)
            }
        };
        let address = (start + GUARD_SIZE).next_multiple_of(align);
        memory::fill(pointer(address - GUARD_SIZE), GUARD, GUARD_SIZE);
        memory::fill(pointer(address + request.size), GUARD, GUARD_SIZE);
        (memory, address)
    }
}

/// A special block: it ends (but for alignment) where a page begins that cannot be touched, or
/// starts where one ends.
fn special(request: &Request, from_start: bool) -> Option<(Memory, usize)> {
    let least = if request.size >= PAGE_SIZE {
        PAGE_SIZE
    } else {
        16
    };
    let align = request.align.next_power_of_two().max(least).min(PAGE_SIZE);
    let room = request.size.checked_next_multiple_of(PAGE_SIZE)?;
    let pages = Pages::map(room.checked_add(PAGE_SIZE)?)?;
    let (closed, first) = if from_start {
        (0, PAGE_SIZE)
    } else {
        (room, 0)
    };
    let end = pages.address() + first + room;
    let address = if from_start {
        pages.address() + PAGE_SIZE
    } else {
        (end - request.size) & !(align - 1)
    };
    memory::fill(
        pointer(address + request.size),
        GUARD,
        end - address - request.size,
    );
    pages
        .close(closed, PAGE_SIZE)
        .then_some((Memory::Special(pages), address))
}

fn holds_only(address: usize, size: usize, byte: u8) -> bool {
    memory::read_bytes(pointer(address), size)
        .iter()
        .all(|found| *found == byte)
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}
