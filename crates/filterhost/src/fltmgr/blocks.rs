//! Pool memory that the Filter Manager allocates on a driver's behalf.
//!
//! The blocks carry no driver stack: some of them legally outlive the driver (an ECP in a create
//! that is still under way), and leaks of the others are told by their own rules.

use std::sync::Arc;

use crate::kernel;
use crate::layout::PVOID;
use crate::machine::{self, Machine};
use crate::pool::Request;
use crate::verifier;

/// What is asked for.
pub(crate) struct Wanted {
    pub size: usize,
    pub tag: u32,
    pub paged: bool,
    pub zeroed: bool,
}

/// Allocates a block; null when memory is short or a fault was asked for.
pub(crate) fn allocate(m: &Arc<Machine>, wanted: &Wanted) -> PVOID {
    if m.faults().allocation() {
        return core::ptr::null_mut();
    }
    let request = Request {
        size: wanted.size.max(1),
        tag: wanted.tag,
        paged: wanted.paged,
        zeroed: wanted.zeroed,
        ..Request::default()
    };
    let address = m.pool().allocate(request).unwrap_or(0);
    core::ptr::with_exposed_provenance_mut(address)
}

/// Frees what [`allocate`] gave.
pub(crate) fn free(m: &Arc<Machine>, address: PVOID, tag: u32) {
    kernel::pool::locks_gone(m, address.addr());
    if let Err(error) = m.pool().free(address.addr(), tag) {
        verifier::violation(error.rule(), error.to_string());
    }
}

/// As [`allocate`], for memory that the driver must free before it goes: a leak is told with
/// the driver's stack.
pub(crate) fn allocate_traced(m: &Arc<Machine>, wanted: &Wanted) -> PVOID {
    if m.faults().allocation() {
        return core::ptr::null_mut();
    }
    let request = Request {
        size: wanted.size.max(1),
        tag: wanted.tag,
        paged: wanted.paged,
        zeroed: wanted.zeroed,
        stack: crate::crash::addresses(m, &machine::current_thread()),
        ..Request::default()
    };
    let address = m.pool().allocate(request).unwrap_or(0);
    core::ptr::with_exposed_provenance_mut(address)
}
