//! The protocol of `\SiloscanPort`, version 1: what driver and service say to each other.
//!
//! The driver asks, the service replies; nothing goes the other way but the context of the
//! connect. Every structure is fixed in size, little-endian, a multiple of 8 bytes long and
//! without padding. Decoders take whatever bytes came, and return a checked value or the reason
//! why not. Numbers that later versions may extend are open: an unknown one is kept as it is and
//! read in the conservative way.

mod chunk;
mod counts;
mod exclusion;
mod poll;
mod scan;
mod tallies;

pub use chunk::{Chunk, ChunkReply, ChunkState, Piece, Taken};
pub use counts::{COUNT_PLACES, Counts};
pub use exclusion::{ExclusionHits, ExclusionsAsk, ExclusionsReply, HitRow, List};
pub use poll::{Command, News, Poll, PollAnswer, PollFlags, PollReply};
pub use scan::{Scan, ScanAnswer, ScanFlags, ScanReply, ScanRequest, Stop, StopReply, WireVerdict};
pub use tallies::{ContainerCounts, ContainerRow};

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version that both sides must have.
pub const VERSION: u16 = 1;

/// The first bytes of a connect context.
pub const MAGIC: [u8; 8] = *b"SILOSCAN";

/// The digest by which the service names its rule set.
pub type Digest = [u8; 32];

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(pub u16);

impl Kind {
    /// Service to driver, as the context of the connect.
    pub const HELLO: Self = Self(1);
    /// Driver to service: scan this section.
    pub const SCAN: Self = Self(2);
    /// Service to driver: the reply to [`Self::SCAN`].
    pub const SCAN_REPLY: Self = Self(3);
    /// Driver to service: anything for me? Also the heartbeat.
    pub const POLL: Self = Self(4);
    /// Service to driver: the reply to [`Self::POLL`].
    pub const POLL_REPLY: Self = Self(5);
    /// Driver to service: let go of the section of this request. Has a reply where it names one.
    pub const STOP: Self = Self(6);
    /// Driver to service: all counters. Has no reply.
    pub const COUNTS: Self = Self(7);
    /// Driver to service: a piece of a file that is going to be scanned.
    pub const CHUNK: Self = Self(8);
    /// Service to driver: the reply to [`Self::CHUNK`].
    pub const CHUNK_REPLY: Self = Self(9);
    /// Driver to service: the numbers of each container. Has no reply.
    pub const CONTAINER_COUNTS: Self = Self(10);
    /// Driver to service: which containers and layers are excluded?
    pub const EXCLUSIONS: Self = Self(11);
    /// Service to driver: the reply to [`Self::EXCLUSIONS`].
    pub const EXCLUSIONS_REPLY: Self = Self(12);
    /// Driver to service: how often each excluded container and layer was hit. Has no reply.
    pub const EXCLUSION_HITS: Self = Self(13);
    /// Service to driver: the reply to a [`Self::STOP`] that names a section: it is let go.
    pub const STOP_REPLY: Self = Self(14);
}

impl Kind {
    /// The kind of a message of this version, known or not; the rest of it is not looked at.
    ///
    /// # Errors
    /// Shorter than a header, or of another version.
    pub fn of(message: &[u8]) -> Result<Self, WireError> {
        let (header, _) = Header::read_from_prefix(message).map_err(|_| WireError::Length)?;
        if header.version.get() == VERSION {
            Ok(Self(header.kind.get()))
        } else {
            Err(WireError::Version)
        }
    }
}

/// The first 8 bytes of every message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`VERSION`].
    pub version: U16,
    /// A [`Kind`].
    pub kind: U16,
    /// Bytes of the whole message, this header included.
    pub size: U32,
}

/// Context of the connect: who calls, and which rules it has.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// Version, kind, size.
    pub header: Header,
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The rule set that the service starts with.
    pub digest: Digest,
}

const _: () = {
    assert!(size_of::<Header>() == 8);
    assert!(size_of::<Hello>() == 48 && size_of::<Hello>().is_multiple_of(8));
    assert!(core::mem::offset_of!(Hello, digest) == 16);
};

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// Not as many bytes as the message has.
    Length,
    /// Another version of the protocol.
    Version,
    /// Another kind of message than the one expected.
    Kind,
    /// The size in the header is not that of the message.
    Size,
    /// A connect context without [`MAGIC`].
    Magic,
    /// A field has a value that it cannot have.
    Field,
    /// It answers another request or poll.
    Mismatch,
}

/// A message of fixed size.
pub trait Message:
    FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned + Copy + Sized
{
    /// Its kind.
    const KIND: Kind;

    /// Its header.
    fn header(&self) -> &Header;

    /// The header that it must have.
    #[must_use]
    fn expected_header() -> Header {
        Header {
            version: U16::new(VERSION),
            kind: U16::new(Self::KIND.0),
            size: U32::new(size_of::<Self>() as u32),
        }
    }

    /// Reads a message that must be exactly these bytes. The value borrows them: the caller owns
    /// them and nobody else can write to them.
    ///
    /// # Errors
    /// The first check that fails: length, version, kind, size.
    fn view(bytes: &[u8]) -> Result<&Self, WireError> {
        let message = Self::ref_from_bytes(bytes).map_err(|_| WireError::Length)?;
        let header = message.header();
        if header.version.get() != VERSION {
            return Err(WireError::Version);
        }
        if header.kind.get() != Self::KIND.0 {
            return Err(WireError::Kind);
        }
        if header.size.get() as usize != size_of::<Self>() {
            return Err(WireError::Size);
        }
        Ok(message)
    }
}

macro_rules! message {
    ($($Type:ident $KIND:ident,)+) => {
        $(impl Message for $Type {
            const KIND: Kind = Kind::$KIND;

            fn header(&self) -> &Header {
                &self.header
            }
        })+
    };
}

message! {
    Hello HELLO,
    Scan SCAN,
    ScanReply SCAN_REPLY,
    Poll POLL,
    PollReply POLL_REPLY,
    Stop STOP,
    StopReply STOP_REPLY,
    Counts COUNTS,
    Chunk CHUNK,
    ChunkReply CHUNK_REPLY,
    ContainerCounts CONTAINER_COUNTS,
    ExclusionsAsk EXCLUSIONS,
    ExclusionsReply EXCLUSIONS_REPLY,
    ExclusionHits EXCLUSION_HITS,
}

impl Hello {
    /// A connect context.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self {
            header: Self::expected_header(),
            magic: MAGIC,
            digest,
        }
    }

    /// The rule set of a caller that speaks this protocol.
    ///
    /// # Errors
    /// Not a connect context of this version.
    pub fn decode(bytes: &[u8]) -> Result<Digest, WireError> {
        let hello = Self::view(bytes)?;
        if hello.magic == MAGIC {
            Ok(hello.digest)
        } else {
            Err(WireError::Magic)
        }
    }
}
