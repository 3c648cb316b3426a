//! What is remembered of a transaction on one volume: the streams that it may change.
#![expect(
    unsafe_code,
    reason = "contexts are untyped memory of the Filter Manager"
)]

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use siloscan_core::ledger::{Hidden, Pin};

use super::{Kind, Owned, StreamContext};
use crate::kernel::file::Instance;
use crate::kernel::lock::SpinLock;
use crate::kernel::pool::Tag;
use crate::kernel::{Status, irql};
use crate::registration;
use crate::sys::constants::{
    FLT_SET_CONTEXT_KEEP_IF_EXISTS, FLT_TRANSACTION_CONTEXT, STATUS_FLT_ALREADY_ENLISTED,
    STATUS_FLT_CONTEXT_ALREADY_DEFINED, TRANSACTION_NOTIFY_COMMIT,
    TRANSACTION_NOTIFY_COMMIT_FINALIZE, TRANSACTION_NOTIFY_ROLLBACK,
};
use crate::sys::{self, ContextCleanup, FltContext, P};

/// Streams that one transaction is followed for; `docs/changes.md` names the number.
const STREAMS: usize = 64;

/// A transaction, as an operation in it names it.
#[derive(Clone, Copy)]
pub struct Transaction<'a>(NonNull<core::ffi::c_void>, PhantomData<&'a ()>);

impl Transaction<'_> {
    /// # Safety
    /// `raw` is null or the live transaction of the callback that the value stays in.
    #[must_use]
    pub unsafe fn borrow(raw: P) -> Option<Self> {
        Some(Self(NonNull::new(raw)?, PhantomData))
    }
}

/// What a transaction may have changed on one volume.
pub struct TransactionContext(SpinLock<Followed>);

struct Followed {
    /// References to stream contexts, as numbers; zero is none.
    streams: [usize; STREAMS],
    /// The pin of each one's key; zero where it has none.
    pins: [u64; STREAMS],
    /// More than that was changed: the volume is hidden. Zero where it is not.
    hidden: u64,
}

/// What became of a stream that a transaction may change.
pub enum Noted {
    /// It is followed to the end from now on.
    Followed,
    /// It was before.
    Known,
    /// There is no room: the volume has to be hidden.
    Full,
}

impl Kind for TransactionContext {
    const KIND: u16 = FLT_TRANSACTION_CONTEXT;
    const TAG: Tag = Tag::TRANSACTION;
    const CLEANUP: Option<ContextCleanup> = Some(registration::transaction_cleanup);
}

impl TransactionContext {
    const fn new() -> Self {
        Self(SpinLock::new(Followed {
            streams: [0; STREAMS],
            pins: [0; STREAMS],
            hidden: 0,
        }))
    }

    /// # Safety
    /// `context` is a transaction context of ours that lives during the callback.
    #[must_use]
    pub unsafe fn of_callback<'a>(context: FltContext) -> Option<&'a Self> {
        // SAFETY: the caller vouches for the context; its value was initialised by `new`.
        unsafe { context.cast::<Self>().as_ref() }
    }

    /// Follows a stream, once; `pin` makes the pin of its key.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn note(&self, stream: &Owned<StreamContext>, pin: impl FnOnce() -> Option<Pin>) -> Noted {
        let place = stream.as_ptr().addr();
        let mut followed = self.0.lock();
        if followed.streams.contains(&place) {
            return Noted::Known;
        }
        let Some(at) = followed.streams.iter().position(|stream| *stream == 0) else {
            return Noted::Full;
        };
        if let Some(stream_at) = followed.streams.get_mut(at) {
            *stream_at = stream.again().into_raw();
        }
        let pin = pin().map_or(0, Pin::into_raw);
        if let Some(pin_at) = followed.pins.get_mut(at) {
            *pin_at = pin;
        }
        Noted::Followed
    }

    /// Keeps the volume hidden to the end of the transaction; `hide` hides it. True the first
    /// time.
    ///
    /// # IRQL
    /// At most DISPATCH_LEVEL.
    pub fn hide(&self, hide: impl FnOnce() -> Option<Hidden>) -> bool {
        let mut followed = self.0.lock();
        if followed.hidden != 0 {
            return false;
        }
        followed.hidden = hide().map_or(0, Hidden::into_raw);
        followed.hidden != 0
    }

    /// The streams that are followed, one after the other.
    pub fn streams(&self) -> impl Iterator<Item = Owned<StreamContext>> {
        (0..STREAMS).filter_map(|at| {
            let followed = self.0.lock();
            let raw = followed.streams.get(at).copied().unwrap_or(0);
            let place = NonNull::new(ptr::with_exposed_provenance_mut::<StreamContext>(raw))?;
            // SAFETY: the context lives: the table owns a reference while the lock is held.
            unsafe { sys::FltReferenceContext(place.as_ptr().cast()) };
            core::hint::black_box(());
            // SAFETY: the reference was taken above and is given out once.
            unsafe { Owned::from_raw(raw) }
        })
    }

    /// Stops following: gives the next pin and stream back, until there is none.
    pub fn release_one(&self) -> Option<(Owned<StreamContext>, Option<Pin>)> {
        let mut followed = self.0.lock();
        let at = followed.streams.iter().position(|stream| *stream != 0)?;
        let raw = core::mem::take(followed.streams.get_mut(at)?);
        let pin = followed.pins.get_mut(at).map_or(0, core::mem::take);
        drop(followed);
        // SAFETY: the number came from `into_raw`, and was taken out of the table under its lock.
        let stream = unsafe { Owned::from_raw(raw) }?;
        Some((stream, Pin::from_raw(pin)))
    }

    /// Takes back what hides the volume.
    pub fn take_hidden(&self) -> Option<Hidden> {
        Hidden::from_raw(core::mem::take(&mut self.0.lock().hidden))
    }
}

impl Owned<TransactionContext> {
    /// The context of a transaction that we follow; the first time we enlist in it.
    ///
    /// # Errors
    /// No memory, or that the instance goes away: the transaction cannot be followed.
    ///
    /// # IRQL
    /// At most APC_LEVEL, in a callback of an operation in the transaction.
    pub fn of_or_enlist(
        instance: Instance<'_>,
        transaction: Transaction<'_>,
    ) -> Result<Self, Status> {
        irql::at_most_apc();
        let mut found: FltContext = ptr::null_mut();
        // SAFETY: instance and transaction live (types); the output outlives the call.
        let status = unsafe {
            sys::FltGetTransactionContext(instance.as_ptr(), transaction.0.as_ptr(), &raw mut found)
        };
        core::hint::black_box(());
        if status >= 0 {
            return Self::adopt(found);
        }
        Self::new(TransactionContext::new())?.enlist(instance, transaction)
    }

    /// Ties a new context to the transaction and asks to be told of its end.
    fn enlist(self, instance: Instance<'_>, transaction: Transaction<'_>) -> Result<Self, Status> {
        const WANTED: u32 = TRANSACTION_NOTIFY_COMMIT
            | TRANSACTION_NOTIFY_COMMIT_FINALIZE
            | TRANSACTION_NOTIFY_ROLLBACK;
        let mut old: FltContext = ptr::null_mut();
        // SAFETY: instance and transaction live (types); the context is of the transaction kind.
        let status = unsafe {
            sys::FltSetTransactionContext(
                instance.as_ptr(),
                transaction.0.as_ptr(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.as_ptr(),
                &raw mut old,
            )
        };
        core::hint::black_box(());
        let own = if status == STATUS_FLT_CONTEXT_ALREADY_DEFINED {
            Self::adopt(old)?
        } else {
            Status::check(status)?;
            self
        };
        // SAFETY: instance and transaction live (types); the context is tied to both.
        let status = unsafe {
            sys::FltEnlistInTransaction(
                instance.as_ptr(),
                transaction.0.as_ptr(),
                own.as_ptr(),
                WANTED,
            )
        };
        core::hint::black_box(());
        // Whoever tied his context first enlists with it, be it a moment later.
        if status == STATUS_FLT_ALREADY_ENLISTED {
            return Ok(own);
        }
        if Status::check(status).is_err() {
            // SAFETY: instance and transaction live (types); nobody is told what was the context.
            unsafe {
                sys::FltDeleteTransactionContext(
                    instance.as_ptr(),
                    transaction.0.as_ptr(),
                    ptr::null_mut(),
                )
            };
            core::hint::black_box(());
        }
        Status::check(status).map(|_| own)
    }
}
