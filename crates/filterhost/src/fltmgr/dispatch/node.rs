//! What is kept of an operation for one instance until its post-operation callback.
#![expect(
    unsafe_code,
    reason = "callback data is kept by value, with the addresses in it"
)]

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fltmgr::guest;
use crate::fltmgr::instance::{Instance, Phase};
use crate::layout::{FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, PostOperation};

/// Callback data and its parameter block, by value.
#[derive(Clone, Copy)]
pub(super) struct Copied {
    pub data: FLT_CALLBACK_DATA,
    pub block: FLT_IO_PARAMETER_BLOCK,
}

// SAFETY: the addresses inside are never followed by the host, only shown to drivers.
unsafe impl Send for Copied {}
// SAFETY: as for sending; a copy never changes after it was made.
unsafe impl Sync for Copied {}

impl Copied {
    pub fn of(data: *const FLT_CALLBACK_DATA) -> Self {
        Self {
            data: guest::data::copy(data),
            block: guest::data::block(data),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Taken,
}

/// One instance's part in an operation.
pub(crate) struct Node {
    pub(super) instance: Arc<Instance>,
    pub(super) post: Option<PostOperation>,
    pub(super) context: usize,
    pub(super) native: Mutex<Option<Box<dyn Any + Send>>>,
    /// The parameters as this instance and those above it saw them.
    pub(super) copied: Copied,
    /// The pre-operation callback asked for its post in the same thread at <= APC_LEVEL.
    pub(super) synchronized: bool,
    state: Mutex<State>,
}

impl Node {
    pub(super) fn new(
        instance: &Arc<Instance>,
        post: Option<PostOperation>,
        context: usize,
        copied: Copied,
        synchronized: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            instance: instance.clone(),
            post,
            context,
            native: Mutex::new(None),
            copied,
            synchronized,
            state: Mutex::new(State::Waiting),
        })
    }

    /// Lets the instance's teardown find the node.
    pub(super) fn register(self: &Arc<Self>) {
        let mut life = self.instance.life.lock();
        if life.phase != Phase::Gone {
            life.waiting.push(self.clone());
        }
    }

    /// Claims the right to call the post-operation callback: once, by the operation's own thread
    /// or by the instance's teardown. Counts a callback in.
    pub(super) fn claim(self: &Arc<Self>) -> bool {
        let mut life = self.instance.life.lock();
        let mut state = self.state.lock();
        if *state != State::Waiting {
            return false;
        }
        *state = State::Taken;
        life.running += 1;
        life.waiting.retain(|other| !Arc::ptr_eq(other, self));
        true
    }
}
