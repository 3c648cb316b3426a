//! The request to scan, its reply, and the request to stop.

use super::{Digest, Header, Message, WireError};
use crate::key::{FileId, Key, VolumeGuid};
use crate::limits::{NAME_UNITS, RULE_BYTES};
use crate::reason::Failure;
use crate::verdict::Verdict;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Scan the bytes of a section.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Scan {
    /// Version, kind, size.
    pub header: Header,
    /// Names this request in the reply and in a stop. Never zero, never used twice.
    pub request: U64,
    /// A read-only section handle in the receiver's own process, which closes it. Zero where the
    /// bytes were sent before ([`ScanFlags::SENT`]).
    pub section: U64,
    /// Bytes of the file when the section was made.
    pub size: U64,
    /// The volume of the key; zero where the file has none.
    pub volume: [u8; 16],
    /// The file id of the key; zero where the file has none.
    pub file: [u8; 16],
    /// The container's id; zero where the open came from no container or the system has no id.
    pub container: [u8; 16],
    /// The process that opened the file, or wrote it where it is scanned at close.
    pub process: U64,
    /// [`ScanFlags`].
    pub flags: U32,
    /// How long the asker waits, in milliseconds.
    pub deadline_ms: U32,
    /// UTF-16 units of `name` that are used, at most [`NAME_UNITS`].
    pub name_units: U16,
    /// Zero.
    pub reserved: [u8; 2],
    /// The list of exclusions under whose layers the answer may be [`WireVerdict::EXCLUDED`]; zero
    /// where it may not.
    pub list: U32,
    /// The file's name, UTF-16LE; for reports only, never to open anything by it.
    pub name: [u8; NAME_UNITS * 2],
}

/// Bits of [`Scan::flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanFlags(pub u32);

impl ScanFlags {
    /// An opener waits for the verdict.
    pub const OPEN: u32 = 1;
    /// A changed file was closed; nobody waits.
    pub const CLOSE: u32 = 2;
    /// The name was longer than the field and is cut.
    pub const NAME_CUT: u32 = 4;
    /// The bytes come from a layer.
    pub const LAYER: u32 = 8;
    /// There is no section: the bytes were sent in pieces ([`super::Chunk`]).
    pub const SENT: u32 = 16;
    /// The container filter's answer, acknowledged and believed, says that the bytes are the
    /// container's own, and the key is that of the very file which holds them.
    pub const SCRATCH: u32 = 32;

    /// Whether any of these bits is set.
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ScanReply {
    /// Version, kind, size.
    pub header: Header,
    /// The request that this answers.
    pub request: U64,
    /// The rule set that the scan used.
    pub digest: Digest,
    /// A [`WireVerdict`].
    pub verdict: U32,
    /// Of [`WireVerdict::EXCLUDED`] the layer's place in the list. Else the service's own number
    /// for what went wrong, for traces only.
    pub detail: U32,
    /// The rule that matched, UTF-8, zero-filled; for reports only.
    pub rule: [u8; RULE_BYTES],
}

/// The verdict field of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireVerdict(pub u32);

impl WireVerdict {
    /// The whole file was looked at; nothing was found.
    pub const CLEAN: Self = Self(1);
    /// Something was found.
    pub const INFECTED: Self = Self(2);
    /// The engine could not look inside.
    pub const UNSCANNABLE: Self = Self(3);
    /// The service failed for a reason of its own.
    pub const ERROR: Self = Self(4);
    /// The scan ended because it was told to stop.
    pub const STOPPED: Self = Self(5);
    /// The file shrank or its bytes could not be read.
    pub const UNREADABLE: Self = Self(6);
    /// Not scanned: the file lies in an excluded layer. Only to a request that names the list.
    pub const EXCLUDED: Self = Self(7);

    /// The verdict that it is. A number that this version does not know is a failure, never
    /// "clean", and so is [`Self::EXCLUDED`] to whoever did not ask for it.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub const fn outcome(self) -> Result<Verdict, Failure> {
        match self {
            Self::CLEAN => Ok(Verdict::Clean),
            Self::INFECTED => Ok(Verdict::Infected),
            Self::UNSCANNABLE => Err(Failure::Unscannable),
            Self::ERROR => Err(Failure::ServiceError),
            Self::STOPPED => Err(Failure::Conflict),
            Self::UNREADABLE => Err(Failure::Unreadable),
            _ => Err(Failure::BadReply),
        }
    }
}

/// Let go of the section of this request.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Stop {
    /// Version, kind, size.
    pub header: Header,
    /// The request of the scan.
    pub request: U64,
    /// The section handle that the scan request named, where nobody waits for its answer any
    /// more: the receiver closes it unless it has seen the request, and replies when it has let go
    /// of it. Else zero, and there is no reply.
    pub section: U64,
}

/// The section of this request is let go.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct StopReply {
    /// Version, kind, size.
    pub header: Header,
    /// The request that was stopped.
    pub request: U64,
}

const _: () = {
    assert!(size_of::<Scan>() == 1128 && size_of::<Scan>().is_multiple_of(8));
    assert!(size_of::<Stop>() == 24 && size_of::<Stop>().is_multiple_of(8));
    assert!(size_of::<StopReply>() == 16 && size_of::<StopReply>().is_multiple_of(8));
    assert!(size_of::<ScanReply>() == 120 && size_of::<ScanReply>().is_multiple_of(8));
    assert!(core::mem::offset_of!(Scan, volume) == 32);
    assert!(core::mem::offset_of!(Scan, process) == 80);
    assert!(core::mem::offset_of!(Scan, name_units) == 96);
    assert!(core::mem::offset_of!(Scan, list) == 100);
    assert!(core::mem::offset_of!(Scan, name) == 104);
    assert!(core::mem::offset_of!(ScanReply, digest) == 16);
    assert!(core::mem::offset_of!(ScanReply, verdict) == 48);
    assert!(core::mem::offset_of!(ScanReply, rule) == 56);
};

/// What a request to scan says, apart from the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanRequest {
    /// Names the request. Not zero.
    pub request: u64,
    /// The section handle in the service's process.
    pub section: u64,
    /// Bytes of the file.
    pub size: u64,
    /// The key, where the file has one.
    pub key: Option<Key>,
    /// The container's id, or zero.
    pub container: [u8; 16],
    /// The process.
    pub process: u64,
    /// Why, and how.
    pub flags: ScanFlags,
    /// How long the asker waits.
    pub deadline_ms: u32,
    /// The list whose excluded layers count; zero for none.
    pub list: u32,
}

impl Scan {
    /// Fills a message in place: it is too large for a kernel stack. `name` is cut at
    /// [`NAME_UNITS`] units, and then marked.
    pub fn fill(&mut self, request: &ScanRequest, name: impl Iterator<Item = u16>) {
        self.header = Self::expected_header();
        self.request = U64::new(request.request);
        self.section = U64::new(request.section);
        self.size = U64::new(request.size);
        self.volume = request.key.map_or([0; 16], |key| key.volume.to_bytes());
        self.file = request.key.map_or([0; 16], |key| key.file.to_bytes());
        self.container = request.container;
        self.process = U64::new(request.process);
        self.deadline_ms = U32::new(request.deadline_ms);
        self.reserved = [0; 2];
        self.list = U32::new(request.list);
        let mut units = 0_u16;
        let mut name = name.fuse();
        let (pairs, _) = self.name.as_chunks_mut::<2>();
        for pair in pairs {
            *pair = match name.next() {
                Some(unit) => {
                    units = units.saturating_add(1);
                    unit.to_le_bytes()
                }
                None => [0; 2],
            };
        }
        let cut = if name.next().is_some() {
            ScanFlags::NAME_CUT
        } else {
            0
        };
        self.flags = U32::new((request.flags.0 & !ScanFlags::NAME_CUT) | cut);
        self.name_units = U16::new(units);
    }

    /// What the message says.
    ///
    /// # Errors
    /// Not a scan request of this version, no request number, a name longer than its field, or a
    /// section beside bytes that were sent.
    pub fn decode(bytes: &[u8]) -> Result<(ScanRequest, &Self), WireError> {
        let scan = Self::view(bytes)?;
        if scan.request.get() == 0 || usize::from(scan.name_units.get()) > NAME_UNITS {
            return Err(WireError::Field);
        }
        if ScanFlags(scan.flags.get()).has(ScanFlags::SENT) && scan.section.get() != 0 {
            return Err(WireError::Field);
        }
        let volume = VolumeGuid::from_bytes(scan.volume);
        let file = FileId::from_bytes(scan.file);
        let request = ScanRequest {
            request: scan.request.get(),
            section: scan.section.get(),
            size: scan.size.get(),
            key: match (volume, file) {
                (Some(volume), Some(file)) => Some(Key::new(volume, file)),
                _ => None,
            },
            container: scan.container,
            process: scan.process.get(),
            flags: ScanFlags(scan.flags.get()),
            deadline_ms: scan.deadline_ms.get(),
            list: scan.list.get(),
        };
        Ok((request, scan))
    }

    /// The name's units that are used.
    pub fn name(&self) -> impl Iterator<Item = u16> + '_ {
        let (pairs, _) = self.name.as_chunks::<2>();
        pairs
            .iter()
            .map(|pair| u16::from_le_bytes(*pair))
            .take(usize::from(self.name_units.get()))
    }
}

impl Stop {
    /// A stop. `section` is zero unless the request may never have been read.
    #[must_use]
    pub fn new(request: u64, section: u64) -> Self {
        Self {
            header: Self::expected_header(),
            request: U64::new(request),
            section: U64::new(section),
        }
    }
}

impl StopReply {
    /// A reply.
    #[must_use]
    pub fn new(request: u64) -> Self {
        Self {
            header: Self::expected_header(),
            request: U64::new(request),
        }
    }

    /// Checks that the section of this request is let go.
    ///
    /// # Errors
    /// Not a reply of this version, or to another request.
    pub fn decode(bytes: &[u8], request: u64) -> Result<(), WireError> {
        let reply = Self::view(bytes)?;
        if reply.request.get() == request {
            Ok(())
        } else {
            Err(WireError::Mismatch)
        }
    }
}

/// A reply to a scan, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanAnswer {
    /// How it ended; may be a number that this version does not know.
    pub verdict: WireVerdict,
    /// The rule set that was used.
    pub digest: Digest,
    /// The service's own number.
    pub detail: u32,
    /// The rule's name, zero-filled.
    pub rule: [u8; RULE_BYTES],
}

impl ScanReply {
    /// A reply. `rule` is cut at [`RULE_BYTES`], at a character's border.
    #[must_use]
    pub fn new(
        request: u64,
        digest: Digest,
        verdict: WireVerdict,
        detail: u32,
        rule: &str,
    ) -> Self {
        let mut field = [0; RULE_BYTES];
        let cut = rule
            .get(..rule.floor_char_boundary(RULE_BYTES))
            .unwrap_or("");
        for (to, from) in field.iter_mut().zip(cut.bytes()) {
            *to = from;
        }
        Self {
            header: Self::expected_header(),
            request: U64::new(request),
            digest,
            verdict: U32::new(verdict.0),
            detail: U32::new(detail),
            rule: field,
        }
    }

    /// What the service says about this request.
    ///
    /// # Errors
    /// Not a reply of this version, or to another request.
    pub fn decode(bytes: &[u8], request: u64) -> Result<ScanAnswer, WireError> {
        let reply = Self::view(bytes)?;
        if reply.request.get() != request {
            return Err(WireError::Mismatch);
        }
        Ok(ScanAnswer {
            verdict: WireVerdict(reply.verdict.get()),
            digest: reply.digest,
            detail: reply.detail.get(),
            rule: reply.rule,
        })
    }
}

impl ScanAnswer {
    /// The bytes of the rule's name that are printable ASCII or UTF-8, up to the first zero.
    #[must_use]
    pub fn rule_name(&self) -> &str {
        let used = self.rule.split(|byte| *byte == 0).next().unwrap_or(&[]);
        match core::str::from_utf8(used) {
            Ok(name) => name,
            Err(error) => {
                let valid = used.get(..error.valid_up_to()).unwrap_or(&[]);
                core::str::from_utf8(valid).unwrap_or("")
            }
        }
    }
}
