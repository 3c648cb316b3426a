//! The way up: post-operation callbacks, and those that are called early because their instance
//! goes away.

use std::sync::Arc;

use super::down::{check_changes, violation};
use super::node::{Copied, Node};
use super::{Resume, Run, Stage, operation, runs_at_dispatch};
use crate::fltmgr::{call, guest};
use crate::irql;
use crate::layout::{
    FLT_CALLBACK_DATA, FLT_POSTOP_DISALLOW_FSFILTER_IO, FLT_POSTOP_FINISHED_PROCESSING,
    FLT_POSTOP_MORE_PROCESSING_REQUIRED, FLTFL_CALLBACK_DATA_DRAINING_IO,
    FLTFL_CALLBACK_DATA_IRP_OPERATION, FLTFL_CALLBACK_DATA_POST_OPERATION,
    FLTFL_POST_OPERATION_DRAINING, IRP_MJ_CREATE, IRP_MJ_QUERY_OPEN, PVOID,
};
use crate::machine::Machine;
use crate::status::{NtStatus, STATUS_PENDING, STATUS_REPARSE};
use crate::verifier::callback_data::CompletionContexts;
use crate::verifier::{draining, post_operation, pre_operation};

impl Run<'_> {
    /// Runs the post-operation callbacks from the lowest to the highest.
    pub(super) fn up(&mut self) {
        let flags = guest::data::flags(self.data) | FLTFL_CALLBACK_DATA_POST_OPERATION;
        guest::data::set_flags(self.data, flags);
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if !node.claim() {
                continue;
            }
            self.operation
                .enter_stage(Stage::Post, Some(&node.instance));
            // This instance and those above see the parameters as they were when it was called.
            guest::data::set_block(self.data, node.copied.block);
            let native = node.native.lock().take();
            match (native, node.instance.native_filter()) {
                (Some(context), Some(filter)) => filter.post(self.m, self.data, context),
                _ => self.post_image(&node),
            }
            node.instance.leave(self.m);
        }
    }

    fn post_image(&self, node: &Node) {
        let Some(callback) = node.post else { return };
        let before = Copied::of(self.data);
        let mut objects = call::objects(&node.instance);
        objects.file_object = before.block.target_file_object;
        objects.transaction = crate::fltmgr::transaction::of_file(self.m, objects.file_object);
        let context: PVOID = core::ptr::with_exposed_provenance_mut(node.context);
        let invoke = || call::post(callback, self.data, &objects, context, 0);
        let result = if self.is_raised(node) {
            call::at_level(irql::DISPATCH, invoke)
        } else {
            invoke()
        };
        match result {
            FLT_POSTOP_FINISHED_PROCESSING => {}
            FLT_POSTOP_MORE_PROCESSING_REQUIRED => {
                if !self.is_irp() {
                    violation(
                        &post_operation::MORE_PROCESSING,
                        "FLT_POSTOP_MORE_PROCESSING_REQUIRED for what is no IRP",
                        self.data,
                    );
                }
                self.wait_for_completion();
            }
            FLT_POSTOP_DISALLOW_FSFILTER_IO if before.block.major_function == IRP_MJ_QUERY_OPEN => {
            }
            _ => violation(
                &post_operation::UNKNOWN,
                "a post-operation status that does not fit",
                self.data,
            ),
        }
        check_changes(self.data, &before, "post-operation callback");
        self.check_status(&before);
    }

    fn is_irp(&self) -> bool {
        guest::data::flags(self.data) & FLTFL_CALLBACK_DATA_IRP_OPERATION != 0
    }

    /// Post-operation callbacks other than post-create may run at DISPATCH_LEVEL.
    fn is_raised(&self, node: &Node) -> bool {
        let major = node.copied.block.major_function;
        self.is_irp()
            && !node.synchronized
            && major != IRP_MJ_CREATE
            && call::may_wait()
            && runs_at_dispatch(self.m)
    }

    fn wait_for_completion(&self) {
        let resumed = || self.operation.take_resume();
        let how = self
            .m
            .sched()
            .wait_until("FltCompletePendedPostOperation", None, resumed);
        if !matches!(how, Ok(Resume::Post)) {
            violation(
                &pre_operation::WRONG_COMPLETION,
                "a pended post-operation was completed as a pre-operation",
                self.data,
            );
        }
    }

    fn check_status(&self, before: &Copied) {
        let old = NtStatus(before.data.io_status.status);
        let new = guest::data::status(self.data);
        if new == STATUS_PENDING {
            violation(
                &post_operation::PENDING,
                "a post-operation callback set STATUS_PENDING",
                self.data,
            );
        }
        if before.block.major_function != IRP_MJ_CREATE {
            return;
        }
        let was_open = NtStatus::is_success(old) && old != STATUS_REPARSE;
        let is_open = NtStatus::is_success(new) && new != STATUS_REPARSE;
        let cancelled = self.operation.is_cancelled();
        if was_open && !is_open && !cancelled {
            violation(
                &post_operation::FAILED_OPEN,
                "a create failed in post-create without FltCancelFileOpen",
                self.data,
            );
        }
        if cancelled && is_open {
            violation(
                &post_operation::CANCELLED_SUCCEEDS,
                "a create succeeded after FltCancelFileOpen",
                self.data,
            );
        }
        if is_open && !was_open {
            violation(
                &post_operation::REVIVED,
                "a failed create was turned into a success",
                self.data,
            );
        }
    }
}

/// Calls the post-operation callback of an instance that is being torn down while the operation
/// is still below it. The callback sees a copy of the data, with the draining flag.
pub(crate) fn drain(m: &Arc<Machine>, node: &Arc<Node>) {
    if !node.claim() {
        return;
    }
    if let Some(callback) = node.post {
        let mut block = Box::new(node.copied.block);
        let mut copy = Box::new(node.copied.data);
        copy.iopb = &raw mut *block;
        copy.flags |= FLTFL_CALLBACK_DATA_DRAINING_IO | FLTFL_CALLBACK_DATA_POST_OPERATION;
        let data: *mut FLT_CALLBACK_DATA = &raw mut *copy;
        let operation = operation::begin_copy(m, data);
        operation.enter_stage(Stage::Post, Some(&node.instance));
        let mut objects = call::objects(&node.instance);
        objects.file_object = block.target_file_object;
        let context: PVOID = core::ptr::with_exposed_provenance_mut(node.context);
        let flags = FLTFL_POST_OPERATION_DRAINING;
        CompletionContexts::drained(m, node.context);
        let result = call::post(callback, data, &objects, context, flags);
        if result != FLT_POSTOP_FINISHED_PROCESSING {
            violation(
                &draining::STATUS,
                "a draining post-operation callback must finish",
                data,
            );
        }
        operation::end(m, data);
    } else {
        drop(node.native.lock().take());
    }
    node.instance.leave(m);
}
