//! Replies built field by field, as the Windows structures have them, and cut to the caller's
//! buffer.

use super::outcome::{Done, Outcome};
use crate::status::{STATUS_BUFFER_OVERFLOW, STATUS_INFO_LENGTH_MISMATCH};

/// A reply under construction.
#[derive(Debug, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// Appends one byte.
    pub fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Appends a 32-bit number.
    pub fn word(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a 64-bit number.
    pub fn long(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a signed 64-bit number.
    pub fn time(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Appends UTF-16 units.
    pub fn units(&mut self, value: &[u16]) -> &mut Self {
        for unit in value {
            self.0.extend_from_slice(&unit.to_le_bytes());
        }
        self
    }

    /// Zeros up to a multiple of `alignment`.
    pub fn align(&mut self, alignment: usize) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes a 32-bit number that was appended before.
    pub fn patch(&mut self, at: usize, value: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Ends the reply. Its first `fixed` bytes must fit; what does not fit behind them is cut off
    /// with BUFFER_OVERFLOW, a warning.
    ///
    /// # Errors
    /// `INFO_LENGTH_MISMATCH` for a buffer shorter than `fixed`.
    pub fn finish(mut self, fixed: usize, room: usize) -> Outcome<Vec<u8>> {
        if room < fixed {
            return Err(STATUS_INFO_LENGTH_MISMATCH.into());
        }
        let whole = self.0.len();
        self.0.truncate(room);
        let count = self.0.len();
        let mut done = Done::new(self.0, count);
        if whole > count {
            done.status = STATUS_BUFFER_OVERFLOW;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_cut_after_its_fixed_part() {
        let mut reply = Reply::default();
        reply.word(4).units(&[0x41, 0x42]);
        let done = reply.finish(4, 6).unwrap();
        assert_eq!((done.status, done.information), (STATUS_BUFFER_OVERFLOW, 6));
        let mut short = Reply::default();
        short.long(1);
        assert!(short.finish(8, 7).is_err());
    }
}
