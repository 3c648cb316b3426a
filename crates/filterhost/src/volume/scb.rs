//! The piece of memory that `FsContext` and `SectionObjectPointer` of a file object point to.
//!
//! Drivers may compare these addresses and hand them back; only the host writes here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of FSRTL_ADVANCED_FCB_HEADER, rounded up; the host fills only the first.
const HEADER_WORDS: usize = 16;
/// Words of SECTION_OBJECT_POINTERS: data section, shared cache map, image section.
const SECTION_WORDS: usize = 3;
const WORDS: usize = HEADER_WORDS + SECTION_WORDS;
const DATA_SECTION: usize = HEADER_WORDS;
const IMAGE_SECTION: usize = HEADER_WORDS + 2;
/// NodeTypeCode and NodeByteSize, as every file system fills them.
const HEADER_FIRST: u64 = 0x0080_0705;

/// One stream control block as drivers see it: an address per stream and per period of being open.
pub struct ScbBlock {
    words: Box<[AtomicU64; WORDS]>,
    /// Another one whose `FsContext` is told instead of its own.
    beside: Option<Arc<ScbBlock>>,
}

impl Default for ScbBlock {
    fn default() -> Self {
        let words =
            core::array::from_fn(|at| AtomicU64::new(if at == 0 { HEADER_FIRST } else { 0 }));
        Self {
            words: Box::new(words),
            beside: None,
        }
    }
}

impl ScbBlock {
    /// A block with sections of its own and the `FsContext` of another one.
    #[must_use]
    pub fn beside(other: &Arc<Self>) -> Self {
        Self {
            beside: Some(Arc::clone(other)),
            ..Self::default()
        }
    }

    /// The address for `FsContext`.
    #[must_use]
    pub fn fs_context(&self) -> usize {
        match &self.beside {
            Some(other) => other.fs_context(),
            None => self.own(),
        }
    }

    fn own(&self) -> usize {
        self.words.as_ptr() as usize
    }

    /// The address for `SectionObjectPointer`.
    #[must_use]
    pub fn section_pointers(&self) -> usize {
        self.own() + HEADER_WORDS * size_of::<u64>()
    }

    /// Shows whether data and image sections exist, as the memory manager does: by a pointer that
    /// is not null and that nobody else can follow.
    pub fn show_sections(&self, data: bool, image: bool) {
        self.show(DATA_SECTION, data);
        self.show(IMAGE_SECTION, image);
    }

    fn show(&self, at: usize, on: bool) {
        if let Some(word) = self.words.get(at) {
            let value = if on { self.own() as u64 } else { 0 };
            word.store(value, Ordering::Release);
        }
    }
}

impl fmt::Debug for ScbBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScbBlock({:#x})", self.fs_context())
    }
}
