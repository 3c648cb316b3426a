//! What a changed file that is closed owes to the coverage of its volume: a clean verdict that is
//! kept. Without one the layers on the volume are not covered any more.
#![forbid(unsafe_code)]

use siloscan_core::reason::Event;

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::lock::Raise;
use crate::{state, trace};

/// A changed file that is closed. It goes with the scan, through queue, table and leader: wherever
/// it is dropped unpaid, the coverage of its volume is withdrawn.
#[must_use = "dropped at once, it withdraws the coverage of the volume"]
pub struct Debt {
    stream: Owned<StreamContext>,
    instance: Owned<InstanceContext>,
    /// The stream's count of changes when it was closed.
    changes: u64,
    paid: bool,
}

impl Debt {
    /// The debt of a stream that is closed, if it changed since the last verdict and there is
    /// coverage to lose.
    pub fn of(stream: &Owned<StreamContext>, instance: &Owned<InstanceContext>) -> Option<Self> {
        if !stream.state.is_unsettled() || !is_at_stake(instance) {
            return None;
        }
        Some(Self {
            stream: stream.again(),
            instance: instance.again(),
            changes: stream.state.changes().moved(),
            paid: false,
        })
    }

    /// A clean verdict of the bytes is kept, or there are none.
    pub fn pay(&mut self) {
        self.paid = true;
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        // Whoever changed it again has a close before him, and owes what this one did.
        if !self.paid && self.stream.state.changes().moved() == self.changes {
            withdraw(&self.instance);
        }
    }
}

fn is_at_stake(instance: &InstanceContext) -> bool {
    let ledger = state::ledger();
    instance
        .guid()
        .is_some_and(|guid| ledger.is_some_and(|ledger| ledger.is_cover_at_stake(guid)))
}

/// Bytes on the volume changed, and no scan will tell what they are: its layers are not covered.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn withdraw(instance: &InstanceContext) {
    if !is_at_stake(instance) {
        return;
    }
    if let (Some(guid), Some(ledger)) = (instance.guid(), state::ledger())
        && Raise::with(|token| ledger.uncover(guid, token))
    {
        trace::count(Event::CoverageWithdrawn);
    }
}
