//! The containers that the service excludes: the driver asks for them when a poll's reply names
//! another list than the one it has, and tells how often each was hit.

use super::{Header, Message, WireError};
use crate::exclusion::{ContainerId, EXCLUSIONS, Exclusions};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Which containers are excluded?
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExclusionsAsk {
    /// Version, kind, size.
    pub header: Header,
    /// The list that the poll's reply named.
    pub list: U32,
    /// Zero.
    pub reserved: U32,
}

/// The list.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExclusionsReply {
    /// Version, kind, size.
    pub header: Header,
    /// The list's number: never zero, and another one after each change.
    pub list: U32,
    /// Places of `containers` that are used.
    pub used: U32,
    /// The containers' ids.
    pub containers: [ContainerId; EXCLUSIONS],
}

/// How often each excluded container was hit. Has no reply.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExclusionHits {
    /// Version, kind, size.
    pub header: Header,
    /// Rows that are used.
    pub used: U32,
    /// Zero.
    pub reserved: U32,
    /// The containers and their hits; zero from `used` on.
    pub rows: [HitRow; EXCLUSIONS],
}

/// One row of [`ExclusionHits`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HitRow {
    /// The container's id.
    pub container: ContainerId,
    /// Opens that its exclusion let through, since the connection.
    pub hits: U64,
}

const _: () = {
    assert!(size_of::<ExclusionsAsk>() == 16);
    assert!(size_of::<ExclusionsReply>() == 1040);
    assert!(size_of::<ExclusionHits>() == 1552);
};

impl ExclusionsAsk {
    /// Asks for a list.
    #[must_use]
    pub fn new(list: u32) -> Self {
        Self {
            header: Self::expected_header(),
            list: U32::new(list),
            reserved: U32::new(0),
        }
    }
}

impl ExclusionsReply {
    /// A list; what is more than [`EXCLUSIONS`] is left out.
    #[must_use]
    pub fn new(list: u32, containers: &[ContainerId]) -> Self {
        let mut places = [[0; 16]; EXCLUSIONS];
        let mut used = 0_u32;
        for (place, container) in places.iter_mut().zip(containers) {
            *place = *container;
            used = used.saturating_add(1);
        }
        Self {
            header: Self::expected_header(),
            list: U32::new(list),
            used: U32::new(used),
            containers: places,
        }
    }

    /// The number and the containers of a list.
    ///
    /// # Errors
    /// Not such a message, a list without a number, or one with more containers than places.
    pub fn decode(
        bytes: &[u8],
    ) -> Result<(u32, impl Iterator<Item = ContainerId> + '_), WireError> {
        let reply = Self::view(bytes)?;
        let (list, used) = (reply.list.get(), reply.used.get() as usize);
        if list == 0 || used > EXCLUSIONS {
            return Err(WireError::Field);
        }
        Ok((list, reply.containers.iter().take(used).copied()))
    }
}

impl ExclusionHits {
    /// Fills a message in place. Whether anything moved since it was filled last.
    pub fn fill(&mut self, exclusions: &Exclusions) -> bool {
        self.header = Self::expected_header();
        let mut hits = exclusions.hits();
        let (mut used, mut moved) = (0_u32, false);
        for row in &mut self.rows {
            let now = hits.next().inspect(|_| used = used.saturating_add(1));
            let (container, count) = now.unwrap_or(([0; 16], 0));
            moved |= row.container != container || row.hits.get() != count;
            *row = HitRow {
                container,
                hits: U64::new(count),
            };
        }
        self.used = U32::new(used);
        moved
    }

    /// The containers of a message with their hits.
    ///
    /// # Errors
    /// Not such a message, or one with more containers than rows.
    pub fn decode(
        bytes: &[u8],
    ) -> Result<impl Iterator<Item = (ContainerId, u64)> + '_, WireError> {
        let told = Self::view(bytes)?;
        let used = told.used.get() as usize;
        if used > EXCLUSIONS {
            return Err(WireError::Field);
        }
        let rows = told.rows.iter().take(used);
        Ok(rows.map(|row| (row.container, row.hits.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use zerocopy::FromZeros;

    #[test]
    fn a_list_arrives_as_it_was_sent_and_every_wrong_one_is_refused() {
        let list = [[7; 16], [9; 16]];
        let mut reply = ExclusionsReply::new(3, &list);
        let decoded = ExclusionsReply::decode(reply.as_bytes());
        let decoded = decoded.map(|(number, ids)| (number, ids.collect::<Vec<_>>()));
        assert_eq!(decoded, Ok((3, list.to_vec())));
        for length in 0..size_of::<ExclusionsReply>() {
            assert!(ExclusionsReply::decode(&reply.as_bytes()[..length]).is_err());
        }
        reply.used = U32::new(EXCLUSIONS as u32 + 1);
        assert!(ExclusionsReply::decode(reply.as_bytes()).is_err());
        let without_number = ExclusionsReply::new(0, &list);
        assert!(ExclusionsReply::decode(without_number.as_bytes()).is_err());
    }

    #[test]
    fn hits_arrive_and_are_told_when_they_move() {
        let table = Exclusions::new();
        let mut told = ExclusionHits::new_zeroed();
        assert!(!told.fill(&table), "nothing to tell");
        table.replace([[7; 16]].into_iter());
        assert!(told.fill(&table));
        assert!(!told.fill(&table), "nothing moved");
        table
            .find(&[7; 16])
            .into_iter()
            .for_each(|place| table.hit(place));
        assert!(told.fill(&table));
        let hits = ExclusionHits::decode(told.as_bytes());
        let hits: Vec<_> = hits.into_iter().flatten().collect();
        assert_eq!(hits, [([7; 16], 1)]);
        for length in 0..size_of::<ExclusionHits>() {
            assert!(ExclusionHits::decode(&told.as_bytes()[..length]).is_err());
        }
        told.used = U32::new(EXCLUSIONS as u32 + 1);
        assert!(ExclusionHits::decode(told.as_bytes()).is_err());
    }
}
