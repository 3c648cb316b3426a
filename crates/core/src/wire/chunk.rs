//! The bytes of a file on a volume without data-scan sections: sent piece by piece, each one
//! acknowledged, before the request to scan them.

use super::{Header, Message, WireError};
use crate::limits::{CHUNK_BYTES, SENT_BYTES_MAX};
use crate::reason::Failure;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One piece of a file. Pieces come in order, the next one only after the answer to the one before:
/// each is whole but the last.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Chunk {
    /// Version, kind, size.
    pub header: Header,
    /// The request that will ask for the scan. Never zero.
    pub request: U64,
    /// Bytes of the whole file.
    pub size: U64,
    /// Where in the file the piece begins.
    pub offset: U64,
    /// Bytes of the piece.
    pub used: U32,
    /// How long the asker waits, in milliseconds: what was sent may be forgotten afterwards.
    pub deadline_ms: U32,
    /// Zero. Puts the bytes where a device may transfer to: 512 is the strictest alignment that
    /// one may ask for, and a page-aligned message therefore needs no copy of them.
    pub reserved: [u8; 472],
    /// The bytes; whatever lies beyond `used` means nothing.
    pub bytes: [u8; CHUNK_BYTES],
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChunkReply {
    /// Version, kind, size.
    pub header: Header,
    /// The request of the piece that this answers.
    pub request: U64,
    /// Bytes of the file that are there now.
    pub held: U64,
    /// A [`ChunkState`].
    pub state: U32,
    /// Zero.
    pub reserved: U32,
}

/// The state field of a chunk's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkState(pub u32);

impl ChunkState {
    /// Taken; the next one may come.
    pub const TAKEN: Self = Self(1);
    /// No room for this file now; the same piece may be sent again.
    pub const BUSY: Self = Self(2);
    /// The file is larger than the service takes.
    pub const TOO_LARGE: Self = Self(3);
}

const _: () = {
    assert!(size_of::<Chunk>() == 512 + CHUNK_BYTES && size_of::<Chunk>().is_multiple_of(8));
    assert!(core::mem::offset_of!(Chunk, used) == 32);
    assert!(core::mem::offset_of!(Chunk, bytes) == 512);
    assert!(size_of::<ChunkReply>() == 32 && size_of::<ChunkReply>().is_multiple_of(8));
    assert!(core::mem::offset_of!(ChunkReply, state) == 24);
};

/// What a piece says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The request that will ask for the scan.
    pub request: u64,
    /// Bytes of the whole file.
    pub size: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// Bytes of the piece.
    pub used: u32,
    /// How long the asker waits, in milliseconds.
    pub deadline_ms: u32,
}

/// The answer to a piece, as the driver acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The next one may be sent.
    Next,
    /// The same one may be sent again, a little later.
    Later,
}

impl Piece {
    /// How many bytes the piece at `offset` of a file of `size` bytes has; zero beyond its end.
    #[must_use]
    pub fn length_at(size: u64, offset: u64) -> u32 {
        size.saturating_sub(offset).min(CHUNK_BYTES as u64) as u32
    }

    /// Whether these numbers can be those of a piece.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.request != 0
            && self.size <= SENT_BYTES_MAX
            && self.offset < self.size
            && self.offset.is_multiple_of(CHUNK_BYTES as u64)
            && self.used == Self::length_at(self.size, self.offset)
    }
}

impl Chunk {
    /// Says which piece the message holds; its bytes are filled in by whoever reads the file.
    pub fn describe(&mut self, piece: &Piece) {
        self.header = Self::expected_header();
        self.request = U64::new(piece.request);
        self.size = U64::new(piece.size);
        self.offset = U64::new(piece.offset);
        self.used = U32::new(piece.used);
        self.deadline_ms = U32::new(piece.deadline_ms);
        self.reserved = [0; 472];
    }

    /// The piece and its bytes.
    ///
    /// # Errors
    /// Not a piece of this version, or one whose numbers contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<(Piece, &[u8]), WireError> {
        let chunk = Self::view(bytes)?;
        let piece = Piece {
            request: chunk.request.get(),
            size: chunk.size.get(),
            offset: chunk.offset.get(),
            used: chunk.used.get(),
            deadline_ms: chunk.deadline_ms.get(),
        };
        let used = chunk.bytes.get(..piece.used as usize);
        match used {
            Some(used) if piece.is_sound() => Ok((piece, used)),
            _ => Err(WireError::Field),
        }
    }
}

impl ChunkReply {
    /// An answer.
    #[must_use]
    pub fn new(request: u64, held: u64, state: ChunkState) -> Self {
        Self {
            header: Self::expected_header(),
            request: U64::new(request),
            held: U64::new(held),
            state: U32::new(state.0),
            reserved: U32::new(0),
        }
    }

    /// What the service says to `piece`.
    ///
    /// # Errors
    /// Why the file cannot be scanned: it is too large for the service, or the answer makes no
    /// sense, which a state that this version does not know is part of.
    pub fn decode(bytes: &[u8], piece: &Piece) -> Result<Taken, Failure> {
        let reply = Self::view(bytes).map_err(|_| Failure::BadReply)?;
        if reply.request.get() != piece.request {
            return Err(Failure::BadReply);
        }
        match ChunkState(reply.state.get()) {
            ChunkState::TAKEN
                if Some(reply.held.get()) == piece.offset.checked_add(piece.used.into()) =>
            {
                Ok(Taken::Next)
            }
            ChunkState::BUSY => Ok(Taken::Later),
            ChunkState::TOO_LARGE => Err(Failure::TooLarge),
            _ => Err(Failure::BadReply),
        }
    }
}
