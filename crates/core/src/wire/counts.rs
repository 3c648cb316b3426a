//! The driver's counters, told after a poll in which any of them moved.

use super::{Header, Message, WireError};
use crate::reason::{COUNT, Counters};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Places for counters; more than there are, so that the size of the message stays.
pub const COUNT_PLACES: usize = 136;

const _: () = assert!(COUNT <= COUNT_PLACES);

/// All counters of the driver since its load, in the order of [`crate::reason::ENTRIES`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Counts {
    /// Version, kind, size.
    pub header: Header,
    /// Places of `values` that are used.
    pub used: U32,
    /// Zero.
    pub reserved: U32,
    /// The counters; zero from `used` on.
    pub values: [U64; COUNT_PLACES],
}

const _: () = {
    assert!(size_of::<Counts>() == 1104 && size_of::<Counts>().is_multiple_of(8));
    assert!(core::mem::offset_of!(Counts, values) == 16);
};

impl Counts {
    /// Fills a message in place: it is too large for a kernel stack. Whether anything moved since
    /// it was filled last.
    pub fn fill(&mut self, counters: &Counters) -> bool {
        self.header = Self::expected_header();
        self.used = U32::new(COUNT as u32);
        self.reserved = U32::new(0);
        let mut moved = false;
        for (index, value) in self.values.iter_mut().enumerate() {
            let now = U64::new(counters.at(index));
            moved |= *value != now;
            *value = now;
        }
        moved
    }

    /// The counters of a message, of which this version knows the first [`COUNT`].
    ///
    /// # Errors
    /// Not such a message, or one with more counters than places.
    pub fn decode(bytes: &[u8]) -> Result<impl Iterator<Item = u64> + '_, WireError> {
        let counts = Self::view(bytes)?;
        let used = counts.used.get() as usize;
        if used > COUNT_PLACES {
            return Err(WireError::Field);
        }
        Ok(counts.values.iter().take(used).map(|value| value.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::{AllowReason, Counted};
    use zerocopy::FromZeros;

    #[test]
    fn counters_arrive_in_the_order_of_the_list() {
        let counters = Counters::new();
        counters.count(AllowReason::Empty);
        let mut counts = Counts::new_zeroed();
        assert!(counts.fill(&counters));
        assert!(!counts.fill(&counters), "nothing moved");
        let values = || Counts::decode(counts.as_bytes()).into_iter().flatten();
        assert_eq!(values().count(), COUNT);
        assert_eq!(values().nth(AllowReason::Empty.counter().index()), Some(1));
        assert_eq!(values().sum::<u64>(), 1);
    }

    #[test]
    fn every_wrong_length_and_number_is_refused() {
        let mut counts = Counts::new_zeroed();
        counts.fill(&Counters::new());
        for length in 0..size_of::<Counts>() {
            assert!(Counts::decode(&counts.as_bytes()[..length]).is_err());
        }
        counts.used = U32::new(COUNT_PLACES as u32);
        assert!(
            Counts::decode(counts.as_bytes()).is_ok(),
            "all places are used"
        );
        counts.used = U32::new(COUNT_PLACES as u32 + 1);
        assert!(matches!(
            Counts::decode(counts.as_bytes()),
            Err(WireError::Field)
        ));
    }
}
