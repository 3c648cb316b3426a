//! Setting a context on an object.

use std::sync::Arc;

use super::{Contexts, Link, lookup, pointer_of};
use crate::fltmgr::guest;
use crate::layout::{FLT_SET_CONTEXT_KEEP_IF_EXISTS, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, PVOID};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_CONTEXT_ALREADY_DEFINED, STATUS_FLT_CONTEXT_ALREADY_LINKED,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// What all `FltSet*Context` functions take.
pub(crate) struct Setting {
    /// `FLT_SET_CONTEXT_*`.
    pub operation: u32,
    /// The context to set.
    pub new: PVOID,
    /// Where the existing one goes; may be null.
    pub old: *mut PVOID,
    /// Kind that fits the object.
    pub kind: u16,
    /// Filter that the object's instance belongs to.
    pub filter: usize,
}

/// Puts a context in its place, as the `FltSet*Context` pages say. The place holds a reference of
/// its own; a context that comes back through `old` carries one for the caller.
pub(crate) fn set(m: &Arc<Machine>, link: Link, setting: &Setting) -> NtStatus {
    guest::write(setting.old, core::ptr::null_mut());
    let Some(new) = lookup(m, setting.new) else {
        return STATUS_INVALID_PARAMETER;
    };
    let operation = setting.operation;
    let known = matches!(
        operation,
        FLT_SET_CONTEXT_KEEP_IF_EXISTS | FLT_SET_CONTEXT_REPLACE_IF_EXISTS
    );
    if new.kind() != setting.kind || new.filter().id() != setting.filter || !known {
        return STATUS_INVALID_PARAMETER;
    }
    let contexts = m.state::<Contexts>();
    let (status, old) = {
        let mut state = contexts.state.lock();
        let current = state.linked.get(&link).cloned();
        if new.link().is_some() {
            return STATUS_FLT_CONTEXT_ALREADY_LINKED;
        }
        match current {
            Some(current) if operation == FLT_SET_CONTEXT_KEEP_IF_EXISTS => {
                if !setting.old.is_null() {
                    current.reference();
                }
                let told = (!setting.old.is_null()).then_some(current);
                (STATUS_FLT_CONTEXT_ALREADY_DEFINED, told)
            }
            current => {
                new.reference();
                new.counts.lock().link = Some(link);
                if let Some(current) = &current {
                    current.counts.lock().link = None;
                }
                state.linked.insert(link, new.clone());
                (STATUS_SUCCESS, current)
            }
        }
    };
    if setting.old.is_null() {
        if let Some(old) = old {
            old.release(m);
        }
    } else {
        guest::write(setting.old, pointer_of(old.as_ref()));
    }
    status
}
