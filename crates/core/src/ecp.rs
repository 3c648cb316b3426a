//! The redirection answer (`CREATE_REDIRECTION_ECP_CONTEXT`) as a value.
//!
//! The driver copies the 36 bytes once and hands them here; nothing later looks at the filter
//! stack's memory again. What makes an answer worthless (absent, not acknowledged, tainted) is
//! part of the value, so that no caller can read flags of an answer that must not be believed.

use crate::key::{FileId, Key, VolumeGuid};

/// Bytes of the structure: u16 size, u16 flags, 16 bytes file id, 16 bytes volume GUID.
pub const REDIRECTION_ECP_SIZE: usize = 36;

/// The fresh contents that pre-create attaches: the size, everything else zero.
pub const FRESH: [u8; REDIRECTION_ECP_SIZE] = {
    let mut bytes = [0; REDIRECTION_ECP_SIZE];
    bytes[0] = REDIRECTION_ECP_SIZE as u8;
    bytes
};

/// The flag word of an answer. All 65,536 values are representable; unknown bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedirectionFlags(u16);

impl RedirectionFlags {
    /// The bytes come from a layer.
    pub const LAYER: u16 = 0x01;
    /// The bytes come from the container's scratch space.
    pub const SCRATCH: u16 = 0x02;
    /// The layer is registered on this host.
    pub const REGISTERED: u16 = 0x04;
    /// The layer lies on a remote host.
    pub const REMOTE: u16 = 0x08;
    /// A user-mode provider serves the file: no statement about layers.
    pub const USER_MODE: u16 = 0x10;
    /// Every bit with a documented meaning.
    pub const KNOWN: u16 = 0x1f;

    /// A flag word as found.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits)
    }

    /// The word as found, unknown bits included.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether any of these bits is set.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }
}

/// What the driver saw around the 36 bytes. Any true field makes the answer worthless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taint {
    /// `FltIsEcpFromUserMode`.
    pub from_user_mode: bool,
    /// Another filter's, and acknowledged or with flags set before this pass.
    pub answered_before: bool,
    /// Allocated with fewer than 36 bytes.
    pub too_small: bool,
}

impl Taint {
    /// Whether the answer must not be believed.
    #[must_use]
    pub const fn any(self) -> bool {
        self.from_user_mode || self.answered_before || self.too_small
    }
}

/// What post-create found about the redirection of one open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirection {
    /// No ECP of that type on the create (or none could be attached).
    Absent,
    /// It is there; nobody acknowledged it.
    NotAcknowledged,
    /// It is there and must not be believed.
    Tainted,
    /// An acknowledged, untainted answer.
    Answer(Answer),
}

/// An acknowledged, untainted answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The flag word, unknown bits included.
    pub flags: RedirectionFlags,
    /// The layer's volume, unless zero.
    pub volume: Option<VolumeGuid>,
    /// The package file, unless zero.
    pub file: Option<FileId>,
}

impl Answer {
    /// The key of the package file, where both ids are there.
    #[must_use]
    pub const fn key(&self) -> Option<Key> {
        match (self.volume, self.file) {
            (Some(volume), Some(file)) => Some(Key::new(volume, file)),
            _ => None,
        }
    }
}

impl Redirection {
    /// Reads the answer once. `bytes` is a copy of the context; a shorter slice is tainted.
    #[must_use]
    pub fn capture(bytes: &[u8], acknowledged: bool, taint: Taint) -> Self {
        let Some(image) = bytes.first_chunk::<REDIRECTION_ECP_SIZE>() else {
            return Self::Tainted;
        };
        if taint.any() {
            return Self::Tainted;
        }
        if !acknowledged {
            return Self::NotAcknowledged;
        }
        let [_, _, f0, f1, ids @ ..] = *image;
        let (file, volume) = split_ids(ids);
        Self::Answer(Answer {
            flags: RedirectionFlags(u16::from_le_bytes([f0, f1])),
            volume: VolumeGuid::from_bytes(volume),
            file: FileId::from_bytes(file),
        })
    }
}

/// The two 16-byte ids of the structure's tail.
fn split_ids(ids: [u8; 32]) -> ([u8; 16], [u8; 16]) {
    match ids.as_chunks() {
        ([file, volume], []) => (*file, *volume),
        _ => ([0; 16], [0; 16]),
    }
}

/// Whether the flags of an ECP context show that somebody answered it already. The driver asks in
/// pre-create, of an ECP that another filter attached.
#[must_use]
pub fn has_flags(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, f0, f1, ..] => (*f0 | *f1) != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(flags: u16, file: [u8; 16], volume: [u8; 16]) -> [u8; 36] {
        let mut bytes = FRESH;
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[4..20].copy_from_slice(&file);
        bytes[20..36].copy_from_slice(&volume);
        bytes
    }

    fn answer(bytes: &[u8]) -> Option<Answer> {
        match Redirection::capture(bytes, true, Taint::default()) {
            Redirection::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let bytes = image(0x8001, [1; 16], [2; 16]);
        let answer = answer(&bytes);
        assert_eq!(answer.map(|it| it.flags.bits()), Some(0x8001));
        assert_eq!(answer.and_then(|it| it.file), FileId::from_bytes([1; 16]));
        let volume = answer.and_then(|it| it.volume);
        assert_eq!(volume, VolumeGuid::from_bytes([2; 16]));
        assert!(answer.is_some_and(|it| it.key().is_some()));
    }

    #[test]
    fn zero_and_all_ones_give_no_key() {
        for (file, volume) in [
            ([0; 16], [2; 16]),
            ([1; 16], [0; 16]),
            ([0xff; 16], [2; 16]),
        ] {
            let bytes = image(1, file, volume);
            let key = answer(&bytes).map(|it| it.key());
            assert_eq!(key, Some(None), "an answer, but no key");
        }
    }

    #[test]
    fn every_taint_makes_it_worthless_even_when_acknowledged() {
        let bytes = image(1, [1; 16], [2; 16]);
        let taints = [
            Taint {
                from_user_mode: true,
                ..Taint::default()
            },
            Taint {
                answered_before: true,
                ..Taint::default()
            },
            Taint {
                too_small: true,
                ..Taint::default()
            },
        ];
        for taint in taints {
            assert_eq!(
                Redirection::capture(&bytes, true, taint),
                Redirection::Tainted
            );
        }
    }

    #[test]
    fn every_short_length_is_tainted_and_longer_ones_are_read() {
        let mut long = [0; 64];
        long[..36].copy_from_slice(&image(2, [1; 16], [2; 16]));
        for length in 0..36 {
            let got = Redirection::capture(&long[..length], true, Taint::default());
            assert_eq!(got, Redirection::Tainted, "{length}");
        }
        let got = Redirection::capture(&long, true, Taint::default());
        assert!(matches!(got, Redirection::Answer(_)));
    }

    #[test]
    fn unacknowledged_flags_are_not_readable() {
        let bytes = image(1, [1; 16], [2; 16]);
        let got = Redirection::capture(&bytes, false, Taint::default());
        assert_eq!(got, Redirection::NotAcknowledged);
        assert!(has_flags(&bytes));
        assert!(!has_flags(&FRESH));
        assert!(!has_flags(&[0, 0, 1]), "a word that is cut");
        for flags in 1..=u16::MAX {
            assert!(has_flags(&image(flags, [0; 16], [0; 16])), "{flags:#x}");
        }
    }
}
