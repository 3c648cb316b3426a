//! What to do when a process is made from an image section: nobody opens the file again, so what
//! was decided at its open may be about other bytes.

use crate::reason::Failure;

/// What is known of the image's stream when the process is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StartFacts {
    /// An open of the stream was decided. One that was ignored, to write attributes say, was not.
    pub seen: bool,
    /// The file is deleted, or will be with its last handle.
    pub deleted: bool,
    /// The stream was changed after the image section was made, or could be, unseen.
    pub overwritten: bool,
    /// The bytes changed since the last verdict about them, or an open was let through without
    /// one.
    pub unsettled: bool,
    /// The last verdict about these bytes is "infected".
    pub infected: bool,
}

/// What to do with the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartRoute {
    /// Its image is what an open was let through for.
    Known,
    /// Its image is known to be infected.
    Infected,
    /// The image's file shows the bytes of the image, and wants a verdict.
    Scan,
    /// No scan can show the bytes of the image any more.
    Unknowable(Failure),
}

/// Decides. Any IRQL; pure and total.
#[must_use]
pub const fn route(facts: StartFacts) -> StartRoute {
    if facts.infected && !facts.unsettled {
        return StartRoute::Infected;
    }
    if facts.overwritten {
        return StartRoute::Unknowable(Failure::Overwritten);
    }
    if facts.seen && !facts.unsettled {
        return StartRoute::Known;
    }
    if facts.deleted {
        return StartRoute::Unknowable(Failure::Deleted);
    }
    StartRoute::Scan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination, against the rule said the other way round: which bytes are judged, and
    /// which can still be had.
    #[test]
    fn every_combination_is_decided() {
        for bits in 0..32_u32 {
            let on = |bit: u32| bits >> bit & 1 != 0;
            let facts = StartFacts {
                seen: on(0),
                deleted: on(1),
                overwritten: on(2),
                unsettled: on(3),
                infected: on(4),
            };
            let judged = facts.seen && !facts.unsettled;
            let expected = match (facts.overwritten, judged, facts.deleted) {
                _ if facts.infected && !facts.unsettled => StartRoute::Infected,
                (true, _, _) => StartRoute::Unknowable(Failure::Overwritten),
                (false, true, _) => StartRoute::Known,
                (false, false, true) => StartRoute::Unknowable(Failure::Deleted),
                (false, false, false) => StartRoute::Scan,
            };
            assert_eq!(route(facts), expected, "{facts:?}");
        }
    }
}
