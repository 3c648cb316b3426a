//! The way down: pre-operation callbacks and what they return.

use std::sync::Arc;

use super::node::{Copied, Node};
use super::{Operation, Resume, Run, Stage};
use crate::fltmgr::filter::OperationEntry;
use crate::fltmgr::instance::{Instance, InstanceRef};
use crate::fltmgr::native::{NativeFilter, Pre};
use crate::fltmgr::{FilterManager, call, guest};
use crate::layout::{
    FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLT_PREOP_COMPLETE, FLT_PREOP_DISALLOW_FASTIO,
    FLT_PREOP_DISALLOW_FSFILTER_IO, FLT_PREOP_PENDING, FLT_PREOP_SUCCESS_NO_CALLBACK,
    FLT_PREOP_SUCCESS_WITH_CALLBACK, FLT_PREOP_SYNCHRONIZE, FLTFL_CALLBACK_DATA_DIRTY,
    FLTFL_CALLBACK_DATA_FAST_IO_OPERATION, FLTFL_CALLBACK_DATA_IRP_OPERATION,
    FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO,
    FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO,
    FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO, FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO,
    FO_VOLUME_OPEN, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_QUERY_OPEN, IRP_MJ_READ, IRP_MJ_SHUTDOWN,
    IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, PVOID,
};
use crate::status::{
    NtStatus, STATUS_FLT_DISALLOW_FAST_IO, STATUS_FLT_INVALID_ASYNCHRONOUS_REQUEST, STATUS_PENDING,
};
use crate::verifier::callback_data::CompletionContexts;
use crate::verifier::{self, Rule, pre_operation};

/// What one instance did with an operation.
enum Flow {
    /// On to the next one.
    Down,
    /// No further: the status block holds the result.
    Turn,
}

impl Run<'_> {
    /// Runs the pre-operation callbacks; true when the operation reaches the file system.
    pub(super) fn down(&mut self, below: Option<&InstanceRef>) -> bool {
        let mut stack = self.volume.stack_below(below);
        let mut at = 0;
        while let Some(instance) = stack.get(at).cloned() {
            at += 1;
            if !instance.enter() {
                continue;
            }
            let flow = self.pre(&instance);
            instance.leave(self.m);
            if matches!(flow, Flow::Turn) {
                return false;
            }
            if let Some(target) = self.redirected(&instance) {
                self.volume = target.volume().clone();
                stack = self.volume.stack_below(Some(&target));
                at = 0;
            }
        }
        true
    }

    fn pre(&mut self, instance: &Arc<Instance>) -> Flow {
        self.operation.enter_stage(Stage::Pre, Some(instance));
        guest::data::set_instance(self.data, instance.pointer());
        if let Some(native) = instance.native_filter() {
            return self.pre_native(instance, native);
        }
        let major = guest::data::major(self.data);
        let entry = instance.filter().callbacks().operations.get(&major);
        match entry {
            Some(entry) if wants(entry, &guest::data::block(self.data)) => {
                self.pre_image(instance, *entry)
            }
            _ => Flow::Down,
        }
    }

    fn pre_native(&mut self, instance: &Arc<Instance>, native: &Arc<dyn NativeFilter>) -> Flow {
        let copied = Copied::of(self.data);
        let result = native.pre(self.m, self.data);
        clear_dirty(self.data);
        match result {
            Pre::NoCallback => Flow::Down,
            Pre::WithCallback(context) => {
                let node = Node::new(instance, None, 0, copied, true);
                *node.native.lock() = Some(context);
                self.push(node);
                Flow::Down
            }
            Pre::Complete => Flow::Turn,
        }
    }

    fn push(&mut self, node: Arc<Node>) {
        node.register();
        self.nodes.push(node);
    }

    fn pre_image(&mut self, instance: &Arc<Instance>, entry: OperationEntry) -> Flow {
        let copied = Copied::of(self.data);
        let Some(callback) = entry.pre else {
            let node = Node::new(instance, entry.post, 0, copied, false);
            self.push(node);
            return Flow::Down;
        };
        let mut objects = call::objects(instance);
        objects.file_object = copied.block.target_file_object;
        objects.transaction = crate::fltmgr::transaction::of_file(self.m, objects.file_object);
        let mut context: PVOID = core::ptr::null_mut();
        let mut result = call::pre(callback, self.data, &objects, &mut context);
        check_changes(self.data, &copied, "pre-operation callback");
        if result == FLT_PREOP_PENDING {
            if !is_irp(self.data) {
                violation(
                    &pre_operation::PENDING,
                    "FLT_PREOP_PENDING for an operation that is no IRP",
                    self.data,
                );
            }
            (result, context) = self.pended(instance);
        }
        self.after_pre(instance, entry, copied, result, context)
    }

    /// Waits until a pended operation is resumed; gives the callback status and context.
    fn pended(&self, instance: &Arc<Instance>) -> (u32, PVOID) {
        instance.hold();
        let resumed = || self.operation.take_resume();
        let how = self
            .m
            .sched()
            .wait_until("FltCompletePendedPreOperation", None, resumed);
        instance.release_hold(self.m);
        match how {
            Ok(Resume::Pre { status, context }) => {
                (status, core::ptr::with_exposed_provenance_mut(context))
            }
            _ => {
                let what = "a pended pre-operation was completed as a post-operation";
                violation(&pre_operation::WRONG_COMPLETION, what, self.data);
                (FLT_PREOP_SUCCESS_NO_CALLBACK, core::ptr::null_mut())
            }
        }
    }

    fn after_pre(
        &mut self,
        instance: &Arc<Instance>,
        entry: OperationEntry,
        copied: Copied,
        result: u32,
        context: PVOID,
    ) -> Flow {
        let with_post = matches!(
            result,
            FLT_PREOP_SUCCESS_WITH_CALLBACK | FLT_PREOP_SYNCHRONIZE
        );
        if with_post {
            self.expect_post(instance, entry, copied, result, context);
            return Flow::Down;
        }
        let data = self.data;
        if !context.is_null() {
            let what = "a completion context without a post-operation callback to come";
            violation(&pre_operation::CONTEXT_WITHOUT_POST, what, data);
        }
        match result {
            FLT_PREOP_SUCCESS_NO_CALLBACK => Flow::Down,
            FLT_PREOP_DISALLOW_FASTIO => {
                if guest::data::flags(data) & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION == 0 {
                    let what = "FLT_PREOP_DISALLOW_FASTIO for what is no fast I/O";
                    violation(&pre_operation::DISALLOW_FAST_IO, what, data);
                    return Flow::Down;
                }
                guest::data::set_status(data, STATUS_FLT_DISALLOW_FAST_IO, 0);
                Flow::Turn
            }
            FLT_PREOP_COMPLETE => {
                check_completed(data);
                Flow::Turn
            }
            FLT_PREOP_DISALLOW_FSFILTER_IO => {
                if copied.block.major_function != IRP_MJ_QUERY_OPEN {
                    let what = "FLT_PREOP_DISALLOW_FSFILTER_IO is for query-open only";
                    violation(&pre_operation::DISALLOW_QUERY, what, data);
                    return Flow::Down;
                }
                guest::data::set_status(data, STATUS_FLT_INVALID_ASYNCHRONOUS_REQUEST, 0);
                Flow::Turn
            }
            _ => {
                let what = "an unknown pre-operation status";
                violation(&pre_operation::UNKNOWN, what, data);
                Flow::Down
            }
        }
    }

    /// Notes the post-operation callback that a pre-operation callback asked for.
    fn expect_post(
        &mut self,
        instance: &Arc<Instance>,
        entry: OperationEntry,
        copied: Copied,
        result: u32,
        context: PVOID,
    ) {
        let major = copied.block.major_function;
        if entry.post.is_none() {
            let what = "asked for a post-operation callback and has none";
            violation(&pre_operation::NO_POST, what, self.data);
        }
        if major == IRP_MJ_SHUTDOWN {
            let what = "IRP_MJ_SHUTDOWN has no post-operation callback";
            violation(&pre_operation::NO_POST, what, self.data);
        }
        let synchronized = result == FLT_PREOP_SYNCHRONIZE && is_irp(self.data);
        let address = context.expose_provenance();
        if address != 0 {
            CompletionContexts::note(self.m, address, major);
        }
        let node = Node::new(instance, entry.post, address, copied, synchronized);
        self.push(node);
    }

    /// Where a filter sent the operation by changing its target instance: the instance of the
    /// same filter at the same altitude on another volume.
    fn redirected(&self, instance: &Arc<Instance>) -> Option<InstanceRef> {
        let target = guest::data::block(self.data).target_instance;
        if target == instance.pointer() {
            return None;
        }
        let target = FilterManager::of(self.m).instance(target).filter(|target| {
            target.filter().id() == instance.filter().id()
                && target.altitude() == instance.altitude()
        });
        if target.is_none() {
            violation(
                &pre_operation::TARGET,
                "the new target is no instance of the same filter and altitude",
                self.data,
            );
        }
        target
    }
}

/// Whether a registration's flags let this operation reach its callbacks.
fn wants(entry: &OperationEntry, block: &FLT_IO_PARAMETER_BLOCK) -> bool {
    let transfers = matches!(block.major_function, IRP_MJ_READ | IRP_MJ_WRITE);
    let paging = block.irp_flags & IRP_PAGING_IO != 0;
    let uncached = block.irp_flags & IRP_NOCACHE != 0;
    let skips = |flag: u32| entry.flags & flag != 0;
    if skips(FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO) {
        let volume_open = guest::file::flags(block.target_file_object) & FO_VOLUME_OPEN != 0;
        if !volume_open {
            return false;
        }
    }
    if !transfers {
        return true;
    }
    if paging {
        return !skips(FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO);
    }
    if uncached {
        return !skips(FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO);
    }
    !skips(FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO)
}

fn is_irp(data: *const FLT_CALLBACK_DATA) -> bool {
    guest::data::flags(data) & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0
}

fn clear_dirty(data: *mut FLT_CALLBACK_DATA) {
    guest::data::set_flags(data, guest::data::flags(data) & !FLTFL_CALLBACK_DATA_DIRTY);
}

/// Parameters may change only with the dirty flag, and some fields never.
pub(super) fn check_changes(data: *mut FLT_CALLBACK_DATA, before: &Copied, what: &str) {
    let after = Copied::of(data);
    let flags = after.data.flags;
    let fixed = after.data.thread != before.data.thread
        || after.data.iopb != before.data.iopb
        || after.data.requestor_mode != before.data.requestor_mode
        || after.block.major_function != before.block.major_function
        || (flags ^ before.data.flags) & !FLTFL_CALLBACK_DATA_DIRTY != 0;
    if fixed {
        violation(
            &pre_operation::FIXED_FIELDS,
            &format!("a {what} changed a field of the callback data that is not its own"),
            data,
        );
    }
    if flags & FLTFL_CALLBACK_DATA_DIRTY == 0 && !same_block(&before.block, &after.block) {
        violation(
            &pre_operation::NOT_DIRTY,
            &format!("a {what} changed parameters without FltSetCallbackDataDirty"),
            data,
        );
    }
    clear_dirty(data);
}

fn same_block(one: &FLT_IO_PARAMETER_BLOCK, other: &FLT_IO_PARAMETER_BLOCK) -> bool {
    one.irp_flags == other.irp_flags
        && one.major_function == other.major_function
        && one.minor_function == other.minor_function
        && one.operation_flags == other.operation_flags
        && one.target_file_object == other.target_file_object
        && one.target_instance == other.target_instance
        && guest::parameters::words(one) == guest::parameters::words(other)
}

fn check_completed(data: *const FLT_CALLBACK_DATA) {
    let status = guest::data::status(data);
    let major = guest::data::major(data);
    if status == STATUS_PENDING {
        violation(
            &pre_operation::COMPLETED_PENDING,
            "completed with STATUS_PENDING",
            data,
        );
    }
    if status == STATUS_FLT_DISALLOW_FAST_IO {
        violation(
            &pre_operation::COMPLETED_DISALLOWED,
            "completed with STATUS_FLT_DISALLOW_FAST_IO",
            data,
        );
    }
    if matches!(major, IRP_MJ_CLEANUP | IRP_MJ_CLOSE) && !NtStatus::is_success(status) {
        violation(
            &pre_operation::CLOSE_FAILED,
            "cleanup and close cannot fail",
            data,
        );
    }
}

/// Notes that a callback broke `rule` in an operation.
pub(super) fn violation(rule: &'static Rule, what: &str, data: *const FLT_CALLBACK_DATA) {
    let major = guest::data::major(data);
    verifier::violation(rule, format!("{what} (major function {major:#x})"));
}

impl Operation {
    /// True when the calling driver's callback is a pre-operation one.
    pub(crate) fn is_going_down(&self) -> bool {
        self.stage() == Stage::Pre
    }
}
