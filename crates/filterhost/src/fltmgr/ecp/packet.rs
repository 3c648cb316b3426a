//! The I/O manager's side of one create: it carries the extra parameters through reissues and
//! frees them at the end.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Ecp, Ecps, New, allocate, find_in, free_list, insert, new_list};
use crate::fltmgr::dispatch;
use crate::layout::{FLT_CALLBACK_DATA, GUID};
use crate::machine::Machine;

#[derive(Default)]
struct State {
    list: Option<usize>,
}

/// One create, from its first pass through the stack to its end.
pub struct OpenPacket {
    /// Made by the Filter Manager for a create whose sender gave none: it ends with the pass.
    implicit: bool,
    /// The list stays its owner's.
    lent: bool,
    state: Mutex<State>,
}

impl OpenPacket {
    /// A packet without parameters.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            implicit: false,
            lent: false,
            state: Mutex::default(),
        })
    }

    /// A packet with a list that stays its owner's when the create is over.
    pub(crate) fn lent(list: usize) -> Arc<Self> {
        Arc::new(Self {
            implicit: false,
            lent: true,
            state: Mutex::new(State { list: Some(list) }),
        })
    }

    pub(crate) fn implicit() -> Arc<Self> {
        Arc::new(Self {
            implicit: true,
            lent: false,
            state: Mutex::default(),
        })
    }

    /// Ties the packet to callback data of a create. To be called before each pass.
    pub fn bind(self: &Arc<Self>, m: &Machine, data: *const FLT_CALLBACK_DATA) {
        dispatch::bind_packet(m, data, self);
    }

    /// Adds a parameter that the caller of the create gives; `from_user` when that is user mode.
    /// `None` when one of its type is there, or memory is short.
    pub fn add(
        &self,
        m: &Arc<Machine>,
        kind: GUID,
        bytes: &[u8],
        from_user: bool,
    ) -> Option<Arc<Ecp>> {
        let list = *self.state.lock().list.get_or_insert_with(|| new_list(m, 0));
        if let Some(list) = m.state::<Ecps>().state.lock().lists.get_mut(&list) {
            list.attached = true;
        }
        if find_in(m, list, kind).is_some() {
            return None;
        }
        let size = bytes.len().max(1);
        let new = New {
            kind,
            size,
            cleanup: None,
            from_user,
            filter: 0,
            lookaside: 0,
            tag: u32::from_le_bytes(*b"IoEc"),
            paged: true,
        };
        let ecp = allocate(m, new)?;
        ecp.write(bytes);
        insert(m, list, &ecp);
        Some(ecp)
    }

    /// The parameter of a type.
    #[must_use]
    pub fn find(&self, m: &Machine, kind: GUID) -> Option<Arc<Ecp>> {
        find_in(m, self.list()?, kind)
    }

    /// The list's opaque address.
    pub(crate) fn list(&self) -> Option<usize> {
        self.state.lock().list
    }

    /// Takes a list over; false when there is one.
    pub(crate) fn set_list(&self, list: usize) -> bool {
        let mut state = self.state.lock();
        if state.list.is_some() {
            return false;
        }
        state.list = Some(list);
        true
    }

    pub(crate) fn end_of_pass(&self, m: &Arc<Machine>) {
        if self.implicit {
            self.finish(m);
        }
    }

    /// The create is over: frees list and parameters, after their cleanup callbacks.
    pub fn finish(&self, m: &Arc<Machine>) {
        let list = self.state.lock().list.take();
        if let Some(list) = list.filter(|_| !self.lent) {
            free_list(m, list);
        }
    }
}

/// The create's packet behind callback data, for native filters.
#[must_use]
pub fn of_data(m: &Machine, data: *const FLT_CALLBACK_DATA) -> Option<Arc<OpenPacket>> {
    dispatch::find(m, "ecp::of_data", data).packet()
}
