//! Transactions as far as filters see them: an object, enlistment, notifications, contexts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::instance::{self, Instance};
use super::{FilterManager, call, context, opaque};
use crate::layout::{FILE_OBJECT, PVOID};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_ALREADY_ENLISTED, STATUS_FLT_DELETING_OBJECT,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_4,
    STATUS_NOT_FOUND, STATUS_PENDING, STATUS_SUCCESS,
};
use crate::verifier;
use crate::volume::Volumes;

/// `TRANSACTION_NOTIFY_PREPREPARE`.
pub const NOTIFY_PREPREPARE: u32 = 0x1;
/// `TRANSACTION_NOTIFY_PREPARE`.
pub const NOTIFY_PREPARE: u32 = 0x2;
/// `TRANSACTION_NOTIFY_COMMIT`.
pub const NOTIFY_COMMIT: u32 = 0x4;
/// `TRANSACTION_NOTIFY_ROLLBACK`.
pub const NOTIFY_ROLLBACK: u32 = 0x8;
/// `TRANSACTION_NOTIFY_COMMIT_FINALIZE`.
pub const NOTIFY_COMMIT_FINALIZE: u32 = 0x4000_0000;

/// The longest pause between two steps of a transaction's end, and around what the file system
/// does in one.
const STEP_MICROSECONDS_MAX: u64 = 2_000;

/// What a filter may ask to be told of: all bits of `FLT_MAX_TRANSACTION_NOTIFICATIONS`.
const KNOWN: u32 =
    NOTIFY_PREPREPARE | NOTIFY_PREPARE | NOTIFY_COMMIT | NOTIFY_ROLLBACK | NOTIFY_COMMIT_FINALIZE;

struct Enlistment {
    instance: Arc<Instance>,
    context: Arc<context::Context>,
    mask: u32,
    completed: bool,
}

#[derive(Default)]
struct Transactions {
    live: Mutex<BTreeMap<usize, Vec<Enlistment>>>,
    files: Mutex<HashMap<usize, usize>>,
}

/// A transaction, by its opaque address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction(usize);

impl Transaction {
    /// The address by which drivers know it.
    #[must_use]
    pub fn address(self) -> usize {
        self.0
    }
}

/// Begins a transaction.
pub fn begin(m: &Machine) -> Transaction {
    let id = FilterManager::of(m).next_id();
    m.state::<Transactions>().live.lock().insert(id, Vec::new());
    Transaction(id)
}

/// Says that a file object is opened inside the transaction.
pub fn join(m: &Machine, file: *const FILE_OBJECT, transaction: Transaction) {
    m.state::<Transactions>()
        .files
        .lock()
        .insert(file.addr(), transaction.0);
}

/// Says that a file object is closed.
pub fn leave(m: &Machine, file: *const FILE_OBJECT) {
    m.state::<Transactions>().files.lock().remove(&file.addr());
}

/// The transaction of a file object as callbacks see it; null for none.
pub(crate) fn of_file(m: &Machine, file: *const FILE_OBJECT) -> PVOID {
    let transactions = m.state::<Transactions>();
    let found = transactions.files.lock().get(&file.addr()).copied();
    opaque(found.unwrap_or(0))
}

/// Ends the transaction: the enlisted filters are notified in the order of their enlistment, and
/// what was written in it is there for everybody, or for nobody.
pub fn end(m: &Arc<Machine>, transaction: Transaction, commit: bool) {
    let steps: &[u32] = if commit {
        &[
            NOTIFY_PREPREPARE,
            NOTIFY_PREPARE,
            NOTIFY_COMMIT,
            NOTIFY_COMMIT_FINALIZE,
        ]
    } else {
        &[NOTIFY_ROLLBACK]
    };
    // The file system is told as the filters are, and no page says in which order.
    let file_system_first = m.sched().random() & 1 == 0;
    let settle = || {
        for volume in m.state::<Volumes>().all() {
            let now = m.sched().system_time();
            volume.fs().end_transaction(transaction.0, commit, now);
        }
    };
    for step in steps {
        // Between two steps the log is written, and others run.
        let pause = m.sched().random() % STEP_MICROSECONDS_MAX;
        m.sched().sleep(Duration::from_micros(pause));
        let decides = matches!(*step, NOTIFY_COMMIT | NOTIFY_ROLLBACK);
        if decides && file_system_first {
            settle();
            m.sched().sleep(Duration::from_micros(pause));
        }
        notify(m, transaction.0, *step);
        if decides && !file_system_first {
            settle();
        }
    }
    m.sched().notify();
    let gone = m.state::<Transactions>().live.lock().remove(&transaction.0);
    for enlistment in gone.unwrap_or_default() {
        enlistment.context.release(m);
    }
    m.state::<Transactions>()
        .files
        .lock()
        .retain(|_, other| *other != transaction.0);
    context::transaction_gone(m, transaction.0);
}

fn notify(m: &Arc<Machine>, transaction: usize, step: u32) {
    let transactions = m.state::<Transactions>();
    let listeners: Vec<_> = {
        let live = transactions.live.lock();
        let enlisted = live.get(&transaction).map_or(&[][..], Vec::as_slice);
        let told = enlisted
            .iter()
            .filter(|enlistment| enlistment.mask & step != 0);
        told.map(|enlistment| (enlistment.instance.clone(), enlistment.context.clone()))
            .collect()
    };
    for (instance, told) in listeners {
        let Some(callback) = instance.filter().callbacks().transaction else {
            continue;
        };
        let mut objects = call::objects(&instance);
        objects.transaction = opaque(transaction);
        set_completed(&transactions, transaction, &instance, false);
        let status = call::transaction(callback, &objects, told.pointer(), step);
        if status == STATUS_PENDING {
            let done = || is_completed(&transactions, transaction, &instance).then_some(());
            let waited = m
                .sched()
                .wait_until("a pended transaction notification", None, done);
            debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
        } else if status != STATUS_SUCCESS {
            let detail = format!("a transaction notification callback returned {status}");
            verifier::violation("callback-status", detail);
        }
    }
}

/// An instance is gone: it is told nothing more, and its enlistments let their contexts go.
pub(crate) fn instance_gone(m: &Arc<Machine>, instance: &Instance) {
    let transactions = m.state::<Transactions>();
    let mut gone = Vec::new();
    for enlisted in transactions.live.lock().values_mut() {
        let of = |it: &mut Enlistment| it.instance.id() == instance.id();
        gone.extend(enlisted.extract_if(.., of));
    }
    for enlistment in gone {
        enlistment.context.release(m);
    }
}

fn set_completed(
    transactions: &Transactions,
    transaction: usize,
    instance: &Instance,
    completed: bool,
) -> bool {
    let mut live = transactions.live.lock();
    let enlisted = live.get_mut(&transaction).into_iter().flatten();
    let mut found = false;
    for enlistment in enlisted.filter(|it| it.instance.id() == instance.id()) {
        enlistment.completed = completed;
        found = true;
    }
    found
}

fn is_completed(transactions: &Transactions, transaction: usize, instance: &Instance) -> bool {
    let live = transactions.live.lock();
    let mut enlisted = live.get(&transaction).into_iter().flatten();
    enlisted.any(|it| it.instance.id() == instance.id() && it.completed)
}

fn enlist(
    m: &Arc<Machine>,
    instance: &Arc<Instance>,
    transaction: PVOID,
    told: PVOID,
    mask: u32,
) -> NtStatus {
    if instance.is_going() {
        return STATUS_FLT_DELETING_OBJECT;
    }
    if instance.filter().callbacks().transaction.is_none() {
        return STATUS_INVALID_PARAMETER;
    }
    if mask == 0 || mask & !KNOWN != 0 {
        return STATUS_INVALID_PARAMETER_4;
    }
    let context = context::expect(m, "FltEnlistInTransaction", told);
    let transactions = m.state::<Transactions>();
    let mut live = transactions.live.lock();
    let Some(enlisted) = live.get_mut(&transaction.addr()) else {
        return STATUS_INVALID_PARAMETER;
    };
    if enlisted
        .iter()
        .any(|other| other.instance.id() == instance.id())
    {
        return STATUS_FLT_ALREADY_ENLISTED;
    }
    context.reference();
    let instance = instance.clone();
    enlisted.push(Enlistment {
        instance,
        context,
        mask,
        completed: false,
    });
    STATUS_SUCCESS
}

fn complete(m: &Machine, instance: &Instance, transaction: PVOID) -> NtStatus {
    let transactions = m.state::<Transactions>();
    let found = set_completed(&transactions, transaction.addr(), instance, true);
    m.sched().notify();
    if found {
        STATUS_SUCCESS
    } else {
        STATUS_NOT_FOUND
    }
}

crate::exports! {
    EXPORTS = "fltmgr.sys";

    [APC, 0, "fltkernel/nf-fltkernel-fltenlistintransaction",
     fails STATUS_INSUFFICIENT_RESOURCES]
    fn FltEnlistInTransaction(
        c, instance: PVOID, transaction: PVOID, context: PVOID, mask: u32,
    ) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        enlist(c.m, &instance, transaction, context, mask)
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltcommitcomplete"]
    fn FltCommitComplete(c, instance: PVOID, transaction: PVOID, context: PVOID) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        if !context.is_null() {
            context::expect(c.m, c.info.name, context);
        }
        complete(c.m, &instance, transaction)
    }

    [PASSIVE, 0, "fltkernel/nf-fltkernel-fltrollbackcomplete"]
    fn FltRollbackComplete(c, instance: PVOID, transaction: PVOID, context: PVOID) -> NtStatus {
        let instance = instance::expect(c.m, c.info.name, instance);
        if !context.is_null() {
            context::expect(c.m, c.info.name, context);
        }
        complete(c.m, &instance, transaction)
    }
}
