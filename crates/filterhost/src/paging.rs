//! Pageable memory that is not there at `DISPATCH_LEVEL`: paged pool and sections named `PAGE…`.
//!
//! In seeded runs one thread runs at a time, so what is in memory can follow the level of that
//! thread: when it is raised, pageable pages lose all access, as if they had been paged out, and
//! get it back when the level falls or another thread runs. In free runs nothing is taken away.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::image::Image;
use crate::irql::{self, Irql};
use crate::memory::{PAGE_SIZE, Pages};

/// Address space for paged pool; memory is used as blocks come.
const ARENA_SIZE: usize = 64 << 20;
/// Smallest block of the arena, as a power of two.
const CLASS_MIN: u32 = 6;

#[derive(Default)]
struct State {
    /// Bytes of the arena that were ever handed out.
    used: usize,
    /// Free blocks by the power of two of their size.
    free: [Vec<usize>; 32],
    images: Vec<Arc<Image>>,
    out: bool,
}

/// The pageable memory of one machine.
#[derive(Default)]
pub(crate) struct Paging {
    arena: Option<Pages>,
    sections: bool,
    state: Mutex<State>,
}

/// A block of the arena.
pub(crate) struct Slot {
    paging: Arc<Paging>,
    /// Where it starts.
    pub address: usize,
    class: u32,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.paging.state.lock();
        if let Some(free) = state.free.get_mut(self.class as usize) {
            free.push(self.address);
        }
    }
}

/// Keeps pageable memory in for as long as the host itself works on it.
pub(crate) struct Resident<'a>(Option<&'a Paging>);

impl Drop for Resident<'_> {
    fn drop(&mut self) {
        if let Some(paging) = self.0 {
            paging.set(true);
        }
    }
}

impl Paging {
    /// Pageable memory that is taken away: pool, sections.
    pub(crate) fn new(pool: bool, sections: bool) -> Arc<Self> {
        Arc::new(Self {
            arena: pool.then(|| Pages::map(ARENA_SIZE)).flatten(),
            sections,
            state: Mutex::default(),
        })
    }

    /// A block of at least `size` bytes; `None` where blocks come from elsewhere.
    pub(crate) fn allocate(self: &Arc<Self>, size: usize) -> Option<Slot> {
        let arena = self.arena.as_ref()?;
        let class = size
            .checked_next_power_of_two()?
            .trailing_zeros()
            .max(CLASS_MIN);
        let mut state = self.state.lock();
        let again = state.free.get_mut(class as usize)?.pop();
        let address = match again {
            Some(address) => address,
            None => {
                let end = state.used.checked_add(1 << class)?;
                if end > arena.size() {
                    return None;
                }
                let start = std::mem::replace(&mut state.used, end);
                arena.address() + start
            }
        };
        let paging = self.clone();
        Some(Slot {
            paging,
            address,
            class,
        })
    }

    pub(crate) fn add(&self, image: &Arc<Image>) {
        if self.sections {
            self.state.lock().images.push(image.clone());
        }
    }

    /// Whether `address` is in paged pool.
    pub(crate) fn is_pool(&self, address: usize) -> bool {
        let inside = |arena: &Pages| address.wrapping_sub(arena.address()) < arena.size();
        self.arena.as_ref().is_some_and(inside)
    }

    /// Whether pageable memory is out now.
    pub(crate) fn is_out(&self) -> bool {
        self.state.try_lock().is_some_and(|state| state.out)
    }

    /// The running thread is at this level now.
    pub(crate) fn follow(&self, level: Irql) {
        if self.arena.is_some() || self.sections {
            self.set(level >= irql::DISPATCH);
        }
    }

    /// Brings everything in until the guard is dropped.
    pub(crate) fn resident(&self) -> Resident<'_> {
        Resident(self.set(false).then_some(self))
    }

    /// Takes pageable memory out, or brings it in; gives how it was.
    pub(crate) fn set(&self, out: bool) -> bool {
        let mut state = self.state.lock();
        let was = std::mem::replace(&mut state.out, out);
        if was == out {
            return was;
        }
        if let Some(arena) = &self.arena {
            let used = state.used.next_multiple_of(PAGE_SIZE);
            if out {
                arena.close(0, used);
            } else {
                arena.open(0, arena.size());
            }
        }
        state.images.retain(|image| image.set_paged_out(out));
        was
    }
}
