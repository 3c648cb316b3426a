//! The file of marks: a header, the places, the bytes that were there, and one byte a place that is
//! not zero once it was run. Little-endian; made and read on one machine.

/// The first bytes.
const MAGIC: [u8; 8] = *b"FHCOVER1";
/// Magic, the image's length and its hash, the number of places.
pub(super) const HEADER: usize = 32;

/// Why bytes are no marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarksError {
    /// Not such a file, or cut off.
    #[error("this is no file of marks; make one anew with `filterhost coverage plan`")]
    Damaged,
    /// Of another image.
    #[error("these marks are of another image; make them anew with `filterhost coverage plan`")]
    Other,
}

/// A view of such a file, but for what changes: which places were run.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    length: u64,
    hash: u64,
    places: &'a [[u8; 4]],
    bytes: &'a [u8],
}

/// FNV-1a: tells images apart, and protects against nothing.
fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl<'a> Marks<'a> {
    /// The bytes of a file for these places, sorted by address, none of which was run.
    pub fn fresh(image: &[u8], places: &[(u32, u8)]) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEADER + places.len() * 6);
        file.extend(MAGIC);
        file.extend((image.len() as u64).to_le_bytes());
        file.extend(hash(image).to_le_bytes());
        file.extend((places.len() as u64).to_le_bytes());
        for (rva, _) in places {
            file.extend(rva.to_le_bytes());
        }
        file.extend(places.iter().map(|(_, byte)| *byte));
        file.resize(file.len() + places.len(), 0);
        file
    }

    /// How many of the file's bytes never change: those that [`Self::view`] takes.
    ///
    /// # Errors
    /// It is no such file, or its length is not what it says.
    pub fn fixed(header: &[u8], length: usize) -> Result<usize, MarksError> {
        let count = word(header, 24).and_then(|count| usize::try_from(count).ok());
        let whole = count.and_then(|count| count.checked_mul(6)?.checked_add(HEADER));
        match (header.get(..8), count) {
            (Some(magic), Some(count)) if *magic == MAGIC && whole == Some(length) => {
                Ok(HEADER + count * 5)
            }
            _ => Err(MarksError::Damaged),
        }
    }

    /// Reads the part of a file that never changes.
    ///
    /// # Errors
    /// It is none, or cut off.
    pub fn view(fixed: &'a [u8]) -> Result<Self, MarksError> {
        let read = || {
            let rest = fixed.get(HEADER..)?;
            let count = rest.len() / 5;
            let same = rest.len() == count * 5 && word(fixed, 24) == Some(count as u64);
            let (places, bytes) = rest.split_at(count * 4);
            (same && fixed.get(..8)? == MAGIC).then_some(Self {
                length: word(fixed, 8)?,
                hash: word(fixed, 16)?,
                places: places.as_chunks().0,
                bytes,
            })
        };
        read().ok_or(MarksError::Damaged)
    }

    /// These marks, if they are of this image.
    ///
    /// # Errors
    /// They are another one's.
    pub fn of(self, image: &[u8]) -> Result<Self, MarksError> {
        if self.length == image.len() as u64 && self.hash == hash(image) {
            Ok(self)
        } else {
            Err(MarksError::Other)
        }
    }

    /// The places with the bytes that are there, in order.
    pub fn places(self) -> impl Iterator<Item = (u32, u8)> + 'a {
        let places = self.places.iter().map(|rva| u32::from_le_bytes(*rva));
        places.zip(self.bytes.iter().copied())
    }

    /// The index of a place and the byte that is there. Safe in a signal handler.
    pub fn find(&self, rva: u32) -> Option<(usize, u8)> {
        let found = self
            .places
            .binary_search_by_key(&rva, |place| u32::from_le_bytes(*place));
        let index = found.ok()?;
        Some((index, *self.bytes.get(index)?))
    }

    /// Where the byte of a place lies in the file, by its index.
    pub fn offset(&self, index: usize) -> usize {
        HEADER + self.places.len() * 5 + index
    }
}

/// Eight bytes of a file.
fn word(file: &[u8], at: usize) -> Option<u64> {
    let bytes = file.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// A whole file that nobody writes to any more.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    marks: Marks<'a>,
    file: &'a [u8],
}

impl<'a> Done<'a> {
    /// Reads such a file of this image.
    ///
    /// # Errors
    /// It is none, or another image's.
    pub fn view(file: &'a [u8], image: &[u8]) -> Result<Self, MarksError> {
        let fixed = Marks::fixed(file, file.len())?;
        let fixed = file.get(..fixed).ok_or(MarksError::Damaged)?;
        let marks = Marks::view(fixed)?.of(image)?;
        Ok(Self { marks, file })
    }

    /// Whether the place was run.
    pub fn is_set(&self, rva: u32) -> bool {
        let place = self.marks.find(rva);
        let mark = |index| self.file.get(self.marks.offset(index));
        place.is_some_and(|(index, _)| mark(index).is_some_and(|byte| *byte != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_cut_or_anothers_is_refused() {
        let mut file = Marks::fresh(b"image", &[(0x1000, 0x48), (0x1010, 0xc3)]);
        let done = Done::view(&file, b"image").expect("whole");
        assert_eq!(done.marks.find(0x1010), Some((1, 0xc3)));
        assert_eq!(done.marks.find(0x1011), None);
        assert!(!done.is_set(0x1010));
        let offset = done.marks.offset(1);
        assert_eq!(Done::view(&file, b"imagE").err(), Some(MarksError::Other));
        file[offset] = 1;
        let done = Done::view(&file, b"image").expect("whole");
        assert_eq!((done.is_set(0x1000), done.is_set(0x1010)), (false, true));
        for length in 0..file.len() {
            let cut = Done::view(&file[..length], b"image");
            assert_eq!(cut.err(), Some(MarksError::Damaged), "{length}");
        }
        file[24] = 0xff;
        let damaged = Done::view(&file, b"image");
        assert_eq!(damaged.err(), Some(MarksError::Damaged));
    }
}
