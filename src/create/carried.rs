//! What pre-create hands to post-create.
#![forbid(unsafe_code)]

use siloscan_core::route::OpenFacts;

use crate::ecp::Attached;

/// What pre-create learnt, carried to post-create in the completion context itself: nothing is
/// allocated for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    pub(super) open: OpenFacts,
    pub(super) attached: Attached,
}

impl Carried {
    /// As a completion context.
    #[must_use]
    pub fn to_bits(self) -> usize {
        let attached = match self.attached {
            Attached::Nothing => 0,
            Attached::Fresh => 1,
            Attached::Reused => 2,
            Attached::Shared => 3,
            Attached::Tainted => 4_usize,
        };
        self.open.bits() as usize | (attached << 32)
    }

    /// From a completion context of `to_bits`.
    #[must_use]
    pub fn from_bits(bits: usize) -> Self {
        let attached = match bits >> 32 {
            1 => Attached::Fresh,
            2 => Attached::Reused,
            3 => Attached::Shared,
            4 => Attached::Tainted,
            _ => Attached::Nothing,
        };
        Self {
            open: OpenFacts::from_bits(bits as u32),
            attached,
        }
    }
}
