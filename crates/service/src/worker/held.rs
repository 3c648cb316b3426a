//! Memory that stays with its worker: the next file is copied into it while the worker is held.
//!
//! Making, clearing and mapping a copy's memory costs more than most scans. Memory that only one
//! worker ever sees can be used again and again: what it shows of an older file, that worker was
//! given itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::leash::Leash;
use super::os::FileCopy;
use super::pool::Shared;
use super::wire::{AGAIN, KEEP};

/// The least that is kept, so that it need not grow with each file.
const KEPT_BYTES_MIN: usize = 64 << 10;

/// Memory that a worker keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) copy: FileCopy,
    /// The worker has it.
    known: bool,
    _counted: Counted,
}

/// A part of what stays with the workers of a set, in bytes, for the figures.
#[derive(Debug)]
struct Counted {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Counted {
    fn new(all: &Arc<AtomicU64>, bytes: usize) -> Self {
        let (all, bytes) = (Arc::clone(all), bytes as u64);
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all, bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Kept {
    /// Room for a file of `size` bytes, in what was kept if it fits; counted among `all`.
    fn fit(kept: Option<Self>, size: usize, all: &Arc<AtomicU64>) -> io::Result<Self> {
        if let Some(mut kept) = kept
            && kept.copy.begin(size)
        {
            return Ok(kept);
        }
        let room = size.next_power_of_two().max(KEPT_BYTES_MIN);
        let mut copy = FileCopy::kept(room)?;
        copy.begin(size);
        Ok(Self {
            copy,
            known: false,
            _counted: Counted::new(all, room),
        })
    }

    /// The order to scan what is in it.
    pub(super) fn order(&self) -> u32 {
        if self.known { AGAIN } else { KEEP }
    }

    /// Notes whether the worker has it now.
    pub(super) fn note(&mut self, known: bool) {
        self.known = known;
    }
}

/// A worker that waits for the file that is being copied into its memory. Dropping this lets it
/// take another one.
pub(crate) struct Held {
    shared: Arc<Shared>,
    /// Nothing where the worker has ended.
    leash: Option<Arc<Leash>>,
    kept: Option<Kept>,
}

impl Held {
    /// Holds `leash`, which is idle, for a file of `size` bytes. Nothing where the system has no
    /// memory.
    pub(super) fn new(shared: &Arc<Shared>, leash: Arc<Leash>, size: usize) -> Option<Self> {
        let kept = Kept::fit(leash.kept.lock().take(), size, &shared.kept_bytes).ok();
        let held = Self {
            shared: Arc::clone(shared),
            leash: Some(leash),
            kept,
        };
        held.kept.is_some().then_some(held)
    }

    /// Whether it is one of these workers.
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The worker and its memory, as long as it lives.
    pub(super) fn worker(&mut self) -> Option<(Arc<Leash>, &mut Kept)> {
        self.leash.clone().zip(self.kept.as_mut())
    }

    /// The worker has ended.
    pub(super) fn note_ended(&mut self) {
        self.leash = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(leash) = self.leash.take() {
            *leash.kept.lock() = self.kept.take();
            self.shared.put_back(&leash);
        }
    }
}

/// The copy of a file.
pub(crate) enum Placed {
    /// In memory of its own.
    Own(FileCopy),
    /// In what a worker keeps.
    Kept(Held),
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Own(_) => "Own",
            Self::Kept(_) => "Kept",
        };
        write!(f, "{kind}({} bytes)", self.bytes().len())
    }
}

impl Placed {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(copy) => copy.bytes(),
            Self::Kept(held) => held.kept.as_ref().map_or(&[], |kept| kept.copy.bytes()),
        }
    }

    /// A part of the bytes, to be filled: see [`FileCopy::part`].
    pub(crate) fn part(&mut self, offset: usize, length: usize) -> io::Result<&mut [u8]> {
        match self {
            Self::Own(copy) => copy.part(offset, length),
            Self::Kept(held) => {
                let kept = held.kept.as_mut().ok_or(io::ErrorKind::NotFound)?;
                kept.copy.part(offset, length)
            }
        }
    }

    /// Lets the worker go: the bytes move to memory of their own, where they are then.
    pub(crate) fn let_worker_go(&mut self) -> io::Result<&FileCopy> {
        if matches!(self, Self::Kept(_)) {
            let size = self.bytes().len();
            let mut copy = FileCopy::new(size)?;
            copy.part(0, size)?.copy_from_slice(self.bytes());
            *self = Self::Own(copy);
        }
        match self {
            Self::Own(copy) => Ok(copy),
            Self::Kept(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
