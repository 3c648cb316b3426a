//! What begins and is to be ended: changes, pins, hidden volumes. Each is given back exactly once,
//! and goes through the Filter Manager's contexts as a number that is never zero.

use crate::change::Place;

/// A change under way. Give it to [`super::Ledger::end_change`] exactly once.
#[must_use = "a change that is never ended keeps its key out of the cache for ever"]
#[derive(Debug, PartialEq, Eq)]
pub struct ChangeMark(pub(super) Mark);

/// A key that somebody can write to unseen. Give it to [`super::Ledger::unpin`] exactly once.
#[must_use = "a pin that is never taken back keeps its key out of the cache for ever"]
#[derive(Debug, PartialEq, Eq)]
pub struct Pin(pub(super) u32);

impl Pin {
    /// The pin as a number that is never zero.
    #[must_use]
    pub const fn into_raw(self) -> u64 {
        (self.0 as u64).wrapping_add(1)
    }

    /// The pin of a number that [`Self::into_raw`] gave; `None` for zero.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        u32::try_from(raw.checked_sub(1)?).ok().map(Self)
    }
}

/// A volume that is hidden. Give it to [`super::Ledger::show_volume`] exactly once.
#[must_use = "a volume that is never shown again is never cached again"]
#[derive(Debug, PartialEq, Eq)]
pub struct Hidden(pub(super) u16);

impl Hidden {
    /// As a number that is never zero.
    #[must_use]
    pub const fn into_raw(self) -> u64 {
        (self.0 as u64).wrapping_add(1)
    }

    /// From a number that [`Self::into_raw`] gave; `None` for zero.
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        u16::try_from(raw.checked_sub(1)?).ok().map(Self)
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Mark {
    /// The key's volume is not tracked.
    Nothing,
    Key(Place),
    Volume(u16),
}

impl ChangeMark {
    /// The mark as a number that is never zero, for a completion context of the Filter Manager.
    #[must_use]
    pub fn into_raw(self) -> u64 {
        match self.0 {
            Mark::Nothing => 1,
            Mark::Volume(index) => 2 | (u64::from(index) << 8),
            Mark::Key(place) => 3 | (u64::from(place.slot) << 8) | (u64::from(place.bucket) << 16),
        }
    }

    /// The mark of a number that [`Self::into_raw`] gave, once; nothing for any other number.
    pub fn from_raw(raw: u64) -> Self {
        let place = Place {
            bucket: (raw >> 16) as u32,
            slot: (raw >> 8) as u8,
        };
        Self(match raw as u8 {
            2 => Mark::Volume((raw >> 8) as u16),
            3 => Mark::Key(place),
            _ => Mark::Nothing,
        })
    }

    /// Whether the table of changing keys was full, so that the whole volume counts as changing.
    #[must_use]
    pub fn is_whole_volume(&self) -> bool {
        matches!(self.0, Mark::Volume(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_out_of_their_numbers() {
        for number in [0, 1, 0x1234, u16::MAX] {
            let (bucket, slot) = (u32::from(number) << 9, number as u8);
            let key = Mark::Key(Place { bucket, slot });
            for mark in [Mark::Nothing, Mark::Volume(number), key] {
                assert_eq!(ChangeMark::from_raw(ChangeMark(mark).into_raw()).0, mark);
            }
            let (hidden, pin) = (Hidden(number).into_raw(), Pin(bucket).into_raw());
            assert_eq!(Hidden::from_raw(hidden), Some(Hidden(number)));
            assert_eq!(Pin::from_raw(pin), Some(Pin(bucket)));
        }
        assert_eq!((Hidden::from_raw(0), Pin::from_raw(0)), (None, None));
    }
}
