//! The poll, which is also the heartbeat, and its reply.

use super::{Digest, Header, Message, WireError};
use crate::key::VolumeGuid;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Anything for me? Also the heartbeat.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Poll {
    /// Version, kind, size.
    pub header: Header,
    /// Counts polls; the reply repeats it.
    pub sequence: U64,
    /// The driver's signature epoch, which the service names when it reports a finished layer.
    pub epoch: U64,
    /// [`PollFlags`].
    pub flags: U32,
    /// Zero.
    pub reserved: U32,
}

/// Bits of [`Poll::flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollFlags(pub u32);

impl PollFlags {
    /// A stale verdict was used in this epoch: a proactive scan is wanted.
    pub const WARM_WANTED: u32 = 1;

    /// Whether any of these bits is set.
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// What the service has to say.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PollReply {
    /// Version, kind, size.
    pub header: Header,
    /// The poll that this answers.
    pub sequence: U64,
    /// The rule set in use now.
    pub digest: Digest,
    /// A [`Command`].
    pub command: U32,
    /// The list of exclusions in force, another number after each change; zero for none.
    pub exclusions: U32,
    /// The epoch in which what the command reports was begun, from a poll's `epoch`.
    pub epoch: U64,
    /// The volume that the command is about, else zero.
    pub volume: [u8; 16],
}

/// The command field of a poll's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command(pub u32);

impl Command {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A proactive scan of this volume's layers ended in this epoch, all files scanned and clean.
    pub const COVERED: Self = Self(1);
    /// What was reported of this volume holds no longer.
    pub const UNCOVERED: Self = Self(2);
    /// A proactive scan of this volume's layers begins in this epoch. Without it there is nothing
    /// that [`Self::COVERED`] could report: a file that changes from here on without a verdict is
    /// remembered.
    pub const COVERING: Self = Self(3);
}

const _: () = {
    assert!(size_of::<Poll>() == 32 && size_of::<Poll>().is_multiple_of(8));
    assert!(size_of::<PollReply>() == 80 && size_of::<PollReply>().is_multiple_of(8));
    assert!(core::mem::offset_of!(PollReply, command) == 48);
    assert!(core::mem::offset_of!(PollReply, volume) == 64);
};

impl Poll {
    /// A poll.
    #[must_use]
    pub fn new(sequence: u64, epoch: u64, flags: PollFlags) -> Self {
        Self {
            header: Self::expected_header(),
            sequence: U64::new(sequence),
            epoch: U64::new(epoch),
            flags: U32::new(flags.0),
            reserved: U32::new(0),
        }
    }
}

/// A reply to a poll, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollAnswer {
    /// The rule set in use.
    pub digest: Digest,
    /// What the service asks or reports.
    pub news: News,
    /// The list of exclusions in force; zero for none.
    pub exclusions: u32,
}

/// What the service asks or reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Nothing, or something that this version does not know.
    Nothing,
    /// The layers on this volume are wholly scanned and clean, as begun in this epoch.
    Covered(VolumeGuid, u64),
    /// What was reported of this volume holds no longer.
    Uncovered(VolumeGuid),
    /// A proactive scan of the layers on this volume begins in this epoch.
    Covering(VolumeGuid, u64),
}

impl PollReply {
    /// A reply.
    #[must_use]
    pub fn new(sequence: u64, digest: Digest, news: News) -> Self {
        let (command, volume, epoch) = match news {
            News::Nothing => (Command::NONE, [0; 16], 0),
            News::Covered(volume, epoch) => (Command::COVERED, volume.to_bytes(), epoch),
            News::Uncovered(volume) => (Command::UNCOVERED, volume.to_bytes(), 0),
            News::Covering(volume, epoch) => (Command::COVERING, volume.to_bytes(), epoch),
        };
        Self {
            header: Self::expected_header(),
            sequence: U64::new(sequence),
            digest,
            command: U32::new(command.0),
            exclusions: U32::new(0),
            epoch: U64::new(epoch),
            volume,
        }
    }

    /// The same, naming the list of exclusions in force.
    #[must_use]
    pub fn excluding(mut self, list: u32) -> Self {
        self.exclusions = U32::new(list);
        self
    }

    /// What the service says to this poll.
    ///
    /// # Errors
    /// Not a reply of this version, to another poll, or a command without a volume.
    pub fn decode(bytes: &[u8], sequence: u64) -> Result<PollAnswer, WireError> {
        let reply = Self::view(bytes)?;
        if reply.sequence.get() != sequence {
            return Err(WireError::Mismatch);
        }
        let volume = VolumeGuid::from_bytes(reply.volume).ok_or(WireError::Field);
        let news = match Command(reply.command.get()) {
            Command::COVERED => News::Covered(volume?, reply.epoch.get()),
            Command::UNCOVERED => News::Uncovered(volume?),
            Command::COVERING => News::Covering(volume?, reply.epoch.get()),
            _ => News::Nothing,
        };
        Ok(PollAnswer {
            digest: reply.digest,
            news,
            exclusions: reply.exclusions.get(),
        })
    }
}
