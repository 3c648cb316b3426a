//! What is remembered of a section that is being scanned.
#![expect(
    unsafe_code,
    reason = "contexts are untyped memory of the Filter Manager"
)]

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use siloscan_core::flight::Subject;
use siloscan_core::stream::StreamId;

use super::{Kind, Owned};
use crate::kernel::clock::Time;
use crate::kernel::event::{self, Event};
use crate::kernel::pool::Tag;
use crate::sys::constants::FLT_SECTION_CONTEXT;
use crate::sys::{self, FltContext};

/// What the conflict callback needs to know of a section that is being scanned.
pub struct SectionContext {
    /// What the scan is for.
    pub subject: Subject,
    /// The stream that it reads.
    pub stream: Option<StreamId>,
    /// 0 open, 1 in conflict, 2 closed.
    state: AtomicU32,
    /// Signalled from the close on.
    gone: Event,
}

impl Kind for SectionContext {
    const KIND: u16 = FLT_SECTION_CONTEXT;
    const TAG: Tag = Tag::SECTION;

    unsafe fn place(&self) {
        // SAFETY: the caller vouches that this is the final, nonpaged place, and that it is ours.
        unsafe { self.gone.place(event::Kind::Notification) };
    }
}

impl SectionContext {
    /// The context of a section that is about to be made.
    #[must_use]
    pub const fn new(subject: Subject, stream: Option<StreamId>) -> Self {
        Self {
            subject,
            stream,
            state: AtomicU32::new(0),
            gone: Event::blank(),
        }
    }

    /// Somebody needs the section gone. Returns whether it is still there.
    pub fn conflict(&self) -> bool {
        let before = self
            .state
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
        !matches!(before, Err(2))
    }

    /// Whether a conflict was reported: what was read under it is no verdict.
    #[must_use]
    pub fn in_conflict(&self) -> bool {
        self.state.load(Ordering::Acquire) == 1
    }

    /// The section is closed.
    pub fn closed(&self) {
        self.state.store(2, Ordering::Release);
        self.gone.set();
    }

    /// Waits until the section is closed, but not beyond `deadline`.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn wait_closed(&self, deadline: Time) {
        self.gone.wait(deadline);
    }

    /// Takes another reference to the context that the conflict callback was given.
    ///
    /// # Safety
    /// `context` is the live section context of a callback of ours.
    #[must_use]
    pub unsafe fn from_callback(context: FltContext) -> Option<Owned<Self>> {
        let place = NonNull::new(context.cast::<Self>())?;
        // SAFETY: the caller vouches that the context lives during the callback.
        unsafe { sys::FltReferenceContext(context) };
        core::hint::black_box(());
        Some(Owned(place, PhantomData))
    }
}
