//! The numbers of each container, told after a poll in which any of them moved.

use super::{Header, Message, WireError};
use crate::tally::{PLACES, Tallies, Tally};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One container's numbers, as [`Tally`] has them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ContainerRow {
    /// The container's id.
    pub container: [u8; 16],
    /// Opens that the cache did not answer with "clean".
    pub opens: U64,
    /// Opens that were refused.
    pub denied: U64,
    /// Opens of files that could not be scanned.
    pub failed: U64,
    /// Opens out of foreign silos within it.
    pub foreign: U64,
    /// What these opens waited, in 100 ns.
    pub waited: U64,
    /// When it was first seen, in 100 ns since boot.
    pub since: U64,
    /// Opens within its start.
    pub start_opens: U64,
    /// What those waited, in 100 ns.
    pub start_waited: U64,
}

/// The numbers of the containers that the driver knows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ContainerCounts {
    /// Version, kind, size.
    pub header: Header,
    /// Rows that are used.
    pub used: U32,
    /// Zero.
    pub reserved: U32,
    /// The containers; zero from `used` on.
    pub rows: [ContainerRow; PLACES],
}

const _: () = {
    assert!(size_of::<ContainerRow>() == 80);
    assert!(size_of::<ContainerCounts>() == 5136);
    assert!(core::mem::offset_of!(ContainerCounts, rows) == 16);
};

impl ContainerCounts {
    /// Fills a message in place: it is too large for a kernel stack. False, and nothing filled,
    /// where nothing moved since the last call.
    pub fn fill(&mut self, tallies: &mut Tallies) -> bool {
        let Some(mut news) = tallies.news() else {
            return false;
        };
        self.header = Self::expected_header();
        self.reserved = U32::new(0);
        let mut used = 0_u32;
        for row in &mut self.rows {
            let tally = news.next().inspect(|_| used = used.saturating_add(1));
            let tally = tally.unwrap_or(&Tally::FREE);
            *row = ContainerRow {
                container: tally.container,
                opens: U64::new(tally.opens),
                denied: U64::new(tally.denied),
                failed: U64::new(tally.failed),
                foreign: U64::new(tally.foreign),
                waited: U64::new(tally.waited),
                since: U64::new(tally.since),
                start_opens: U64::new(tally.start_opens),
                start_waited: U64::new(tally.start_waited),
            };
        }
        self.used = U32::new(used);
        true
    }

    /// The containers of a message.
    ///
    /// # Errors
    /// Not such a message, or one with more containers than rows.
    pub fn decode(bytes: &[u8]) -> Result<impl Iterator<Item = Tally> + '_, WireError> {
        let counts = Self::view(bytes)?;
        let used = counts.used.get() as usize;
        if used > PLACES {
            return Err(WireError::Field);
        }
        Ok(counts.rows.iter().take(used).map(|row| Tally {
            container: row.container,
            opens: row.opens.get(),
            denied: row.denied.get(),
            failed: row.failed.get(),
            foreign: row.foreign.get(),
            waited: row.waited.get(),
            since: row.since.get(),
            start_opens: row.start_opens.get(),
            start_waited: row.start_waited.get(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use zerocopy::FromZeros;

    #[test]
    fn containers_arrive_as_they_were_noted() {
        let mut tallies = Tallies::new();
        let mut message = ContainerCounts::new_zeroed();
        assert!(!message.fill(&mut tallies), "nothing to tell");
        tallies.note(&[7; 16], 3, |tally| tally.waited = 5);
        tallies.note(&[9; 16], 3, |tally| tally.denied = 1);
        assert!(message.fill(&mut tallies));
        assert!(!message.fill(&mut tallies), "nothing moved");
        let bytes = message.as_bytes();
        let told: Vec<_> = ContainerCounts::decode(bytes)
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].container, told[0].waited), ([7; 16], 5));
        assert_eq!(told[0].since, 3);
        assert_eq!((told[1].container, told[1].denied), ([9; 16], 1));
    }

    #[test]
    fn every_wrong_length_and_number_is_refused() {
        let mut message = ContainerCounts::new_zeroed();
        let mut tallies = Tallies::new();
        tallies.note(&[7; 16], 3, |tally| tally.opens = 1);
        assert!(message.fill(&mut tallies));
        for length in 0..size_of::<ContainerCounts>() {
            assert!(ContainerCounts::decode(&message.as_bytes()[..length]).is_err());
        }
        message.used = U32::new(PLACES as u32);
        assert!(
            ContainerCounts::decode(message.as_bytes()).is_ok(),
            "all are used"
        );
        message.used = U32::new(PLACES as u32 + 1);
        assert!(ContainerCounts::decode(message.as_bytes()).is_err());
    }
}
