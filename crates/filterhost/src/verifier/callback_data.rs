//! Callback data and completion contexts: for how long they are whose.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::machine::Machine;
use crate::pool::Allocation;

super::rules! {
    "Callback data and completion contexts", "callback_data";

    POINTER = "callback-data-pointer": "What is handed in as callback data was once."
        ["FLT_CALLBACK_DATA structure", "fltkernel/ns-fltkernel-_flt_callback_data"]
        off: "The run ends with `crash`: something else is taken for callback data.";
    ENDED = "callback-data-ended":
        "Callback data is not used after its operation was completed."
        ["FLT_CALLBACK_DATA structure", "fltkernel/ns-fltkernel-_flt_callback_data"]
        off: "The run ends with `crash`: freed memory is followed.";
    CONTEXT_LOST = "completion-context-lost":
        "A post-operation callback frees what its pre-operation callback left for it."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The memory is lost.";
}

/// A completion context that is a pool block.
#[derive(Clone, Copy)]
struct Given {
    /// Number of the block.
    block: u64,
    /// The kind of operation.
    major: u8,
    /// It was given to a draining callback.
    drained: bool,
}

/// Pool blocks that were completion contexts, by address.
#[derive(Default)]
pub(crate) struct CompletionContexts {
    given: Mutex<BTreeMap<usize, Given>>,
}

impl CompletionContexts {
    /// A pre-operation callback gives a completion context.
    pub(crate) fn note(m: &Machine, context: usize, major: u8) {
        let Some(found) = m
            .pool()
            .find(context)
            .filter(|found| found.address == context)
        else {
            return;
        };
        let (block, drained) = (found.number, false);
        let given = Given {
            block,
            major,
            drained,
        };
        m.state::<Self>().given.lock().insert(context, given);
    }

    /// A draining post-operation callback has got it.
    pub(crate) fn drained(m: &Machine, context: usize) {
        if let Some(given) = m.state::<Self>().given.lock().get_mut(&context) {
            given.drained = true;
        }
    }

    /// The rule that a leaked block tells of, if it was a completion context, and why.
    pub(crate) fn rule_of(
        m: &Machine,
        leaked: &Allocation,
    ) -> Option<(&'static super::Rule, String)> {
        let contexts = m.state::<Self>();
        let given = contexts.given.lock().get(&leaked.address).copied();
        let given = given.filter(|given| given.block == leaked.number)?;
        let (rule, how) = if given.drained {
            (&super::draining::IGNORED, "draining ")
        } else {
            (&CONTEXT_LOST, "")
        };
        let major = given.major;
        let what = format!(
            "the completion context of an operation (major function {major:#x}) was not freed by \
             its {how}post-operation callback; it was allocated at"
        );
        Some((rule, what))
    }
}
