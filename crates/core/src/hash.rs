//! The hash of everything that an outsider can choose, keyed with a secret of this boot.
//!
//! File ids are partly in the hands of whoever makes files; without the secret nobody can make
//! many of them fall into one set.

use crate::key::{FileId, VolumeGuid};

/// The secret of this boot: four random words.
#[derive(Clone, Copy)]
pub struct Secret([u64; 4]);

impl Secret {
    /// A secret of these words. They come from the system's random numbers, once per load.
    #[must_use]
    pub const fn new(words: [u64; 4]) -> Self {
        // Odd words keep a product of zero out of reach of a zero operand alone.
        let [a, b, c, d] = words;
        Self([a | 1, b | 1, c | 1, d | 1])
    }

    /// The hash of a volume's GUID.
    #[must_use]
    pub(crate) const fn volume(&self, guid: VolumeGuid) -> u64 {
        let (low, high) = guid.to_words();
        let [_, _, s2, s3] = self.0;
        fold(low ^ s2, high ^ s3)
    }

    /// The hash of a file, given that of its volume. The two do not wait for each other, so that
    /// an entry's place is known as soon as the key is.
    #[must_use]
    pub(crate) const fn file(&self, volume: u64, file: FileId) -> u64 {
        let (low, high) = file.to_words();
        let [s0, s1, _, s3] = self.0;
        fold(fold(low ^ s0, high ^ s1) ^ volume, s3)
    }
}

/// The product's two halves, mixed.
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Where `hash` falls among `count` places; zero where there are none.
pub(crate) const fn place(hash: u64, count: usize) -> usize {
    ((hash as u128).wrapping_mul(count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_volume_and_file_counts() {
        for number in 1..=8_u64 {
            // As random as a boot's.
            let words = [3, 5, 7, 9].map(|odd| (number * odd).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let secret = Secret::new(words);
            // Of volume and file; nothing where one of them is zero, which none here is.
            let hash = |volume: (u64, u64), file: (u64, u64)| {
                let guid = VolumeGuid::from_words(volume.0, volume.1)?;
                Some(secret.file(secret.volume(guid), FileId::from_words(file.0, file.1)?))
            };
            let whole = hash((7, 9), (5, 6));
            for bit in 0..64 {
                let flip = 1 << bit;
                for other in [
                    hash((7, 9), (5 ^ flip, 6)),
                    hash((7, 9), (5, 6 ^ flip)),
                    hash((7 ^ flip, 9), (5, 6)),
                    hash((7, 9 ^ flip), (5, 6)),
                ] {
                    assert!(other.is_some() && other != whole, "{words:?} {bit}");
                }
            }
        }
    }

    #[test]
    fn files_are_spread_evenly_whatever_their_volumes_hash_is() {
        let secret =
            Secret::new([3, 5, 7, 9].map(|odd: u64| odd.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        for volume in [0, u64::MAX, 0x0123_4567_89AB_CDEF] {
            let mut counts = [0_u32; 16];
            for number in 1..=4_096 {
                let file = FileId::from_words(number, 0);
                let at = file.map(|file| place(secret.file(volume, file), 16));
                let count = at.and_then(|at| counts.get_mut(at));
                count.into_iter().for_each(|count| *count += 1);
            }
            assert_eq!(counts.iter().sum::<u32>(), 4_096);
            assert!(
                counts.iter().all(|count| (128..512).contains(count)),
                "{counts:?}"
            );
        }
    }
}
