//! An open on a volume of which nothing can be remembered for want of memory: the policy on
//! failures decides.
#![forbid(unsafe_code)]

use siloscan_core::reason::Failure;
use siloscan_core::route::{self, OpenFacts};
use siloscan_core::verdict::{End, Opener};

use super::Tale;
use crate::kernel::Status;
use crate::registration::view::Data;
use crate::sys::constants::STATUS_ACCESS_DENIED;
use crate::{scan, state};

/// Decides the open. One that is none of our business goes on.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn decide(data: &Data<'_>, open: OpenFacts, tale: &Tale) {
    if let Some(reason) = route::ignored(open) {
        return super::tell_ignored(data, tale, reason);
    }
    let opener = Opener {
        in_silo: open.has(OpenFacts::CONTAINER),
        emptied: false,
        handle_exists: data.handle_exists(),
        can_retry: false,
    };
    let no_memory = |_| End::Failed(Failure::NoMemory);
    match scan::decide(
        &opener,
        &state::parameters(),
        |why| tale.failure(why),
        no_memory,
    )
    .0
    {
        Ok(reason) => tale.decision(reason),
        Err(reason) => {
            tale.decision(reason);
            data.refuse(Status::failure(STATUS_ACCESS_DENIED));
        }
    }
}
