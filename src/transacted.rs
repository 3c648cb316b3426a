//! Files that are changed in a transaction: nobody else sees the new bytes until they are
//! committed, and then everybody does at once, without an operation on the file. So a transaction
//! is followed from the first open that may change something to its end. Until then the keys of
//! its files are pinned; with the commit scans of the older bytes die.
#![forbid(unsafe_code)]

use siloscan_core::reason::Event;
use siloscan_core::stream::OwnId;

use crate::context::{InstanceContext, Noted, Owned, StreamContext, TransactionContext};
use crate::kernel::file::Instance;
use crate::kernel::lock::Raise;
use crate::registration::view::Data;
use crate::sys::constants::{
    TRANSACTION_NOTIFY_COMMIT, TRANSACTION_NOTIFY_COMMIT_FINALIZE, TRANSACTION_NOTIFY_ROLLBACK,
};
use crate::{invalidate, scan, state, trace};

/// An operation in a transaction may change its file, or a file that has no stream context.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn joins(
    data: &Data<'_>,
    stream: Option<&Owned<StreamContext>>,
    instance: &Owned<InstanceContext>,
) {
    let Some(transaction) = data.transaction() else {
        return;
    };
    let Ok(context) = Owned::<TransactionContext>::of_or_enlist(data.instance(), transaction)
    else {
        return unfollowed(instance);
    };
    let known =
        stream.filter(|stream| !instance.stable_ids || stream.state.own_id() != OwnId::Unknown);
    let noted = known.map_or(Noted::Full, |stream| {
        context.note(stream, || {
            let key = invalidate::own_key(stream, instance)?;
            Raise::with(|token| state::ledger()?.pin(&key, token))
        })
    });
    match noted {
        Noted::Known => {}
        Noted::Followed => trace::count(Event::TransactionSeen),
        Noted::Full => hide(&context, instance),
    }
}

/// More than is followed: the volume is hidden until the transaction ends.
fn hide(context: &TransactionContext, instance: &InstanceContext) {
    let hidden = context.hide(|| {
        let guid = instance.guid()?;
        Raise::with(|token| state::ledger()?.hide_volume(guid, token))
    });
    if hidden {
        trace::count(Event::TransactionUnseen);
    }
}

/// The end of a transaction cannot be known: the volume is hidden for as long as the instance
/// lives.
fn unfollowed(instance: &InstanceContext) {
    let hidden = instance.hide(|| {
        let guid = instance.guid()?;
        Raise::with(|token| state::ledger()?.hide_volume(guid, token))
    });
    if hidden {
        trace::count(Event::TransactionUnseen);
    }
}

/// The instance is gone: what hid its volume is taken back.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn instance_gone(instance: &InstanceContext) {
    if let (Some(hidden), Some(ledger)) = (instance.take_hidden(), state::ledger()) {
        Raise::with(|token| ledger.show_volume(hidden, token));
    }
}

/// A transaction that we follow comes to its end. Which of the file system and us is told of the
/// commit first is not known, so the keys are dropped then, and again when it is over.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn notified(instance: Instance<'_>, context: &TransactionContext, what: u32) {
    match what {
        TRANSACTION_NOTIFY_COMMIT => commit(instance, context),
        TRANSACTION_NOTIFY_COMMIT_FINALIZE => {
            commit(instance, context);
            release(context);
        }
        TRANSACTION_NOTIFY_ROLLBACK => release(context),
        _ => {}
    }
}

/// The files of the transaction change for everybody.
fn commit(instance: Instance<'_>, context: &TransactionContext) {
    let Ok(instance) = Owned::<InstanceContext>::of(instance) else {
        // Torn down: nothing is known of the volume any more.
        return;
    };
    scan::closed::withdraw(&instance);
    for stream in context.streams() {
        invalidate::changed(&stream, &instance);
        // What others read may have another context, or be a stream without a key.
        if let Some(file) = invalidate::own_key(&stream, &instance) {
            scan::kill_file(&file);
        }
        trace::count(Event::TransactionCommitted);
    }
}

/// Nothing is followed any more.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn release(context: &TransactionContext) {
    let Some(ledger) = state::ledger() else {
        return;
    };
    while let Some((_stream, pin)) = context.release_one() {
        if let Some(pin) = pin {
            ledger.unpin(pin);
        }
    }
    if let Some(hidden) = context.take_hidden() {
        Raise::with(|token| ledger.show_volume(hidden, token));
    }
}
