//! The containers and layers that the service excludes: the driver asks for them when a poll's
//! reply names another list than the one it has, and tells how often each was hit.

use super::{Header, Message, WireError};
use crate::exclusion::{ContainerId, EXCLUSIONS, Exclusions, LayerId};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Which containers and layers are excluded?
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
    /// Places of `layers` that are used.
    pub used_layers: U32,
    /// Zero.
    pub reserved: U32,
    /// The service's names for the layers. Their places are what a scan's reply names.
    pub layers: [LayerId; EXCLUSIONS],
}

/// How often each excluded container and layer was hit. Has no reply.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExclusionHits {
    /// Version, kind, size.
    pub header: Header,
    /// Rows of containers that are used.
    pub used: U32,
    /// Rows of layers that are used.
    pub used_layers: U32,
    /// The containers and their hits; zero from `used` on.
    pub rows: [HitRow; EXCLUSIONS],
    /// The layers and their hits; zero from `used_layers` on.
    pub layers: [HitRow; EXCLUSIONS],
}

/// One row of [`ExclusionHits`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HitRow {
    /// The container's id, or the service's name for the layer.
    pub id: [u8; 16],
    /// Opens that its exclusion let through, since the connection.
    pub hits: U64,
}

const _: () = {
    assert!(size_of::<ExclusionsAsk>() == 16);
    assert!(size_of::<ExclusionsReply>() == 2072);
    assert!(size_of::<ExclusionHits>() == 3088);
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

/// A list as it came, checked.
pub struct List<'a> {
    /// Its number, never zero.
    pub number: u32,
    /// The containers.
    pub containers: &'a [ContainerId],
    /// The layers.
    pub layers: &'a [LayerId],
}

impl ExclusionsReply {
    /// A list; what is more than [`EXCLUSIONS`] of either kind is left out.
    #[must_use]
    pub fn new(list: u32, containers: &[ContainerId], layers: &[LayerId]) -> Self {
        let (containers, used) = places(containers);
        let (layers, used_layers) = places(layers);
        Self {
            header: Self::expected_header(),
            list: U32::new(list),
            used: U32::new(used),
            containers,
            used_layers: U32::new(used_layers),
            reserved: U32::new(0),
            layers,
        }
    }

    /// What a list says.
    ///
    /// # Errors
    /// Not such a message, a list without a number, or one with more of a kind than places.
    pub fn decode(bytes: &[u8]) -> Result<List<'_>, WireError> {
        let reply = Self::view(bytes)?;
        let number = reply.list.get();
        let containers = reply.containers.get(..reply.used.get() as usize);
        let layers = reply.layers.get(..reply.used_layers.get() as usize);
        match (containers, layers) {
            (Some(containers), Some(layers)) if number != 0 => Ok(List {
                number,
                containers,
                layers,
            }),
            _ => Err(WireError::Field),
        }
    }
}

/// As many as there are places for.
fn places(ids: &[[u8; 16]]) -> ([[u8; 16]; EXCLUSIONS], u32) {
    let mut places = [[0; 16]; EXCLUSIONS];
    let mut used = 0_u32;
    for (place, id) in places.iter_mut().zip(ids) {
        *place = *id;
        used = used.saturating_add(1);
    }
    (places, used)
}

impl ExclusionHits {
    /// Fills a message in place. Whether anything moved since it was filled last.
    pub fn fill(&mut self, containers: &Exclusions, layers: &Exclusions) -> bool {
        self.header = Self::expected_header();
        let (used, moved) = fill(&mut self.rows, containers);
        let (used_layers, layers_moved) = fill(&mut self.layers, layers);
        self.used = U32::new(used);
        self.used_layers = U32::new(used_layers);
        moved || layers_moved
    }

    /// The containers of a message with their hits, and the layers with theirs.
    ///
    /// # Errors
    /// Not such a message, or one with more of a kind than rows.
    pub fn decode(bytes: &[u8]) -> Result<(&[HitRow], &[HitRow]), WireError> {
        let told = Self::view(bytes)?;
        let rows = told.rows.get(..told.used.get() as usize);
        let layers = told.layers.get(..told.used_layers.get() as usize);
        rows.zip(layers).ok_or(WireError::Field)
    }
}

/// Fills rows in place: how many are used, and whether any moved.
fn fill(rows: &mut [HitRow], exclusions: &Exclusions) -> (u32, bool) {
    let mut hits = exclusions.hits();
    let (mut used, mut moved) = (0_u32, false);
    for row in rows {
        let now = hits.next().inspect(|_| used = used.saturating_add(1));
        let (id, count) = now.unwrap_or(([0; 16], 0));
        moved |= row.id != id || row.hits.get() != count;
        *row = HitRow {
            id,
            hits: U64::new(count),
        };
    }
    (used, moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use zerocopy::FromZeros;

    #[test]
    fn a_list_arrives_as_it_was_sent_and_every_wrong_one_is_refused() {
        let (containers, layers) = ([[7; 16], [9; 16]], [[8; 16]]);
        let good = ExclusionsReply::new(3, &containers, &layers);
        let list = ExclusionsReply::decode(good.as_bytes());
        let list = list.map(|list| (list.number, list.containers.to_vec(), list.layers.to_vec()));
        assert_eq!(list, Ok((3, containers.to_vec(), layers.to_vec())));
        for length in 0..size_of::<ExclusionsReply>() {
            assert!(ExclusionsReply::decode(&good.as_bytes()[..length]).is_err());
        }
        let many = U32::new(EXCLUSIONS as u32 + 1);
        let wrong = [
            ExclusionsReply { used: many, ..good },
            ExclusionsReply {
                used_layers: many,
                ..good
            },
            ExclusionsReply {
                used_layers: U32::new(u32::MAX),
                ..good
            },
            ExclusionsReply::new(0, &containers, &layers),
        ];
        for reply in wrong {
            assert!(ExclusionsReply::decode(reply.as_bytes()).is_err());
        }
    }

    #[test]
    fn hits_arrive_and_are_told_when_they_move() {
        let (containers, layers) = (Exclusions::new(), Exclusions::new());
        let mut told = ExclusionHits::new_zeroed();
        assert!(!told.fill(&containers, &layers), "nothing to tell");
        containers.replace([[7; 16]].into_iter());
        assert!(told.fill(&containers, &layers));
        layers.replace([[8; 16], [9; 16]].into_iter());
        assert!(told.fill(&containers, &layers));
        assert!(!told.fill(&containers, &layers), "nothing moved");
        let found = containers.find(&[7; 16]).into_iter();
        found.for_each(|place| containers.hit(place));
        assert!(told.fill(&containers, &layers));
        layers.at(1).into_iter().for_each(|place| layers.hit(place));
        assert!(told.fill(&containers, &layers));
        let pairs = |rows: &[HitRow]| -> Vec<([u8; 16], u64)> {
            rows.iter().map(|row| (row.id, row.hits.get())).collect()
        };
        let hits = ExclusionHits::decode(told.as_bytes());
        let hits = hits.map(|(containers, layers)| (pairs(containers), pairs(layers)));
        let expected = (
            std::vec![([7; 16], 1)],
            std::vec![([8; 16], 0), ([9; 16], 1)],
        );
        assert_eq!(hits, Ok(expected));
        for length in 0..size_of::<ExclusionHits>() {
            assert!(ExclusionHits::decode(&told.as_bytes()[..length]).is_err());
        }
        let many = U32::new(EXCLUSIONS as u32 + 1);
        for used in [(many, U32::new(0)), (U32::new(0), many)] {
            (told.used, told.used_layers) = used;
            assert!(ExclusionHits::decode(told.as_bytes()).is_err());
        }
    }
}
