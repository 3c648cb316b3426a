//! Waiting for objects and for time to pass.

use core::ffi::c_void;

use super::dispatcher::{self, Limit};
use crate::exports;
use crate::exports::Call;
use crate::irql;
use crate::memory;
use crate::status::{NTSTATUS, NtStatus, STATUS_SUCCESS, STATUS_USER_APC};
use crate::verifier;

/// `MAXIMUM_WAIT_OBJECTS`.
const OBJECTS_MAX: u32 = 64;
/// Objects that may be waited for without a wait block array (`THREAD_WAIT_OBJECTS`).
const OBJECTS_WITHOUT_BLOCKS: u32 = 3;
/// `UserMode`.
const USER_MODE: i8 = 1;
/// `WaitAll`.
const WAIT_ALL: i32 = 0;

/// Ends the run when a wait that can block is made at too high a level.
fn check_level(c: &Call<'_>, limit: Limit) {
    let level = c.thread.irql();
    if limit != Limit::Now && level > irql::APC {
        c.violation(
            &verifier::wait::IRQL,
            format!("a wait that can block, at {level}"),
        );
    }
    if limit == Limit::Forever {
        verifier::lock_order::wait(c.m, c.thread, c.info.name);
    }
}

/// What ends a wait early: a user-mode wait of a thread that is to end.
fn early(c: &Call<'_>, mode: i8) -> impl FnMut() -> Option<NtStatus> + use<> {
    let thread = c.thread.clone();
    move || (mode == USER_MODE && thread.is_terminating()).then_some(STATUS_USER_APC)
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Waits until an object is signaled, or a time has passed.
    [DISPATCH, 0, "wdm/nf-wdm-kewaitforsingleobject"]
    fn KeWaitForSingleObject(
        c, object: *mut c_void, _reason: i32, mode: i8, _alertable: u8, timeout: *const i64,
    ) -> NTSTATUS {
        let limit = Limit::read(c.m, timeout);
        check_level(c, limit);
        dispatcher::check_object(c.m, object);
        let objects = [object];
        let stop = early(c, mode);
        let name = c.info.name;
        match dispatcher::wait(c.m, c.thread, name, &objects, false, limit, stop) {
            Ok((_, status)) | Err(status) => status,
        }
    }

    /// Waits for one of several objects, or for all.
    [DISPATCH, 0, "wdm/nf-wdm-kewaitformultipleobjects"]
    fn KeWaitForMultipleObjects(
        c, count: u32, objects: *const *mut c_void, kind: i32, _reason: i32, mode: i8,
        _alertable: u8, timeout: *const i64, blocks: *mut c_void,
    ) -> NTSTATUS {
        let limit = Limit::read(c.m, timeout);
        check_level(c, limit);
        if count == 0 || count > OBJECTS_MAX {
            c.violation(&verifier::wait::COUNT, format!("{count} objects; at most {OBJECTS_MAX}"));
        }
        if blocks.is_null() && count > OBJECTS_WITHOUT_BLOCKS {
            c.violation(&verifier::wait::BLOCKS, format!("{count} objects without wait blocks"));
        }
        let list: Vec<_> =
            (0..count as usize).map(|index| memory::read(objects.wrapping_add(index))).collect();
        for object in &list {
            dispatcher::check_object(c.m, *object);
        }
        let all = kind == WAIT_ALL;
        let stop = early(c, mode);
        match dispatcher::wait(c.m, c.thread, c.info.name, &list, all, limit, stop) {
            Ok((index, status)) if !all => {
                NtStatus(status.0.saturating_add(i32::try_from(index).unwrap_or(0)))
            }
            Ok((_, status)) | Err(status) => status,
        }
    }

    /// Sleeps: a negative interval is relative, a positive one a system time.
    [APC, 0, "wdm/nf-wdm-kedelayexecutionthread"]
    fn KeDelayExecutionThread(c, mode: i8, _alertable: u8, interval: *const i64) -> NTSTATUS {
        if interval.is_null() {
            c.stop("access-violation", "the interval is a null pointer");
        }
        let stop = early(c, mode);
        let limit = Limit::read(c.m, interval);
        match dispatcher::wait(c.m, c.thread, c.info.name, &[], false, limit, stop) {
            Err(STATUS_USER_APC) => STATUS_USER_APC,
            _ => STATUS_SUCCESS,
        }
    }

    /// The mode that the current request came from.
    [DISPATCH, 0, "wdm/nf-wdm-exgetpreviousmode"]
    fn ExGetPreviousMode(c) -> i8 {
        i8::from(!c.thread.process().is_system())
    }
}
