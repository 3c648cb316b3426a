//! What the service and a worker say to each other: one order, one answer, both fixed in size.
//!
//! A worker may be in anyone's hands once its engine has read a hostile file, so its answer is read
//! once into memory of the service, and every field of it is checked before it is used.

use std::time::Duration;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::engine::{EngineError, Finding};

/// First field of every order and answer; another version of either is refused.
const MAGIC: u32 = 0x5357_0001;
/// Signatures that a worker takes at most, in bytes.
pub(super) const PACKED_BYTES_MAX: u64 = 2 << 30;
/// Bytes of text in an answer: a rule and its origin, or a cause.
const TEXT_BYTES: usize = 1000;

/// Make the engine: the signatures follow.
pub(super) const LOAD: u32 = 1;
/// Scan the copy that comes with this.
pub(super) const SCAN: u32 = 2;
/// Scan the copy that comes with this, and keep its memory: more files will come in it.
pub(super) const KEEP: u32 = 3;
/// Scan what is in the memory that was kept.
pub(super) const AGAIN: u32 = 4;

const READY: u32 = 1;
const CLEAN: u32 = 2;
const INFECTED: u32 = 3;
const TIMED_OUT: u32 = 4;
const FAILED: u32 = 5;
const UNAVAILABLE: u32 = 6;

/// What the service tells a worker.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Order {
    magic: U32,
    /// [`LOAD`], [`SCAN`], [`KEEP`] or [`AGAIN`].
    pub(super) kind: U32,
    /// Names the order in its answer.
    pub(super) number: U64,
    /// Bytes of the signatures that follow, or of the file.
    pub(super) size: U64,
    /// How long the engine may take, in microseconds; 0 for as long as it likes.
    pub(super) limit_us: U64,
    /// With [`LOAD`] the memory that the worker may use, in bytes.
    pub(super) memory: U64,
    /// On Windows, where a copy comes with this: its handle in the worker's own process. Elsewhere
    /// a descriptor comes beside the order.
    pub(super) handle: U64,
}

pub(super) const ORDER_BYTES: usize = size_of::<Order>();

/// What a worker tells the service.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Answer {
    magic: U32,
    verdict: U32,
    number: U64,
    /// Bytes of the first text: the rule, or the cause.
    first: U32,
    /// Bytes of the second text, behind the first: where the rule came from.
    second: U32,
    text: [u8; TEXT_BYTES],
}

pub(super) const ANSWER_BYTES: usize = size_of::<Answer>();
const _: () = assert!(ORDER_BYTES == 48 && ANSWER_BYTES == 1024);

/// An answer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The engine is made.
    Ready,
    /// A scan has ended.
    Done(Result<Finding, EngineError>),
}

/// An answer that makes no sense: whoever gave it is not to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {0} makes no sense")]
pub(super) struct Nonsense(&'static str);

impl Order {
    pub(super) fn new(kind: u32, number: u64, size: u64) -> Self {
        Self {
            magic: U32::new(MAGIC),
            kind: U32::new(kind),
            number: U64::new(number),
            size: U64::new(size),
            limit_us: U64::ZERO,
            memory: U64::ZERO,
            handle: U64::ZERO,
        }
    }

    /// An order to scan for at most `limit`.
    pub(super) fn scan(kind: u32, number: u64, size: u64, limit: Duration) -> Self {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Self {
            limit_us: U64::new(micros.max(1)),
            ..Self::new(kind, number, size)
        }
    }

    /// How long the engine may take.
    pub(super) fn limit(&self) -> Option<Duration> {
        match self.limit_us.get() {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// An order of this version, or nothing.
    pub(super) fn decode(bytes: [u8; ORDER_BYTES]) -> Option<Self> {
        let order: Self = zerocopy::transmute!(bytes);
        (order.magic.get() == MAGIC).then_some(order)
    }
}

impl Answer {
    /// The answer to order `number`. Texts that are too long are cut.
    pub(super) fn new(number: u64, told: &Told) -> Box<Self> {
        let mut answer = Box::new(Self::new_zeroed());
        answer.magic = U32::new(MAGIC);
        answer.number = U64::new(number);
        let (verdict, first, second) = match told {
            Told::Ready => (READY, "", ""),
            Told::Done(Ok(Finding::Clean)) => (CLEAN, "", ""),
            Told::Done(Ok(Finding::Infected { rule, origin })) => {
                (INFECTED, rule.as_str(), origin.as_str())
            }
            Told::Done(Err(EngineError::TimedOut)) => (TIMED_OUT, "", ""),
            Told::Done(Err(EngineError::Failed(cause))) => (FAILED, cause.as_str(), ""),
            Told::Done(Err(EngineError::Unavailable(cause))) => (UNAVAILABLE, cause.as_str(), ""),
        };
        answer.verdict = U32::new(verdict);
        let half = TEXT_BYTES / 2;
        let (first, second) = (cut(first, half), cut(second, half));
        answer.first = U32::new(first.len() as u32);
        answer.second = U32::new(second.len() as u32);
        let text = [first.as_bytes(), second.as_bytes()].concat();
        for (to, from) in answer.text.iter_mut().zip(text) {
            *to = from;
        }
        answer
    }

    /// What the answer to order `number` says.
    pub(super) fn decode(bytes: [u8; ANSWER_BYTES], number: u64) -> Result<Told, Nonsense> {
        let answer: Self = zerocopy::transmute!(bytes);
        if answer.magic.get() != MAGIC {
            return Err(Nonsense("version"));
        }
        if answer.number.get() != number {
            return Err(Nonsense("number"));
        }
        let (first, rest) = answer.part(0, answer.first.get())?;
        let (second, _) = answer.part(rest, answer.second.get())?;
        let failed = |error| Ok(Told::Done(Err(error)));
        match answer.verdict.get() {
            READY => Ok(Told::Ready),
            CLEAN => Ok(Told::Done(Ok(Finding::Clean))),
            INFECTED if first.is_empty() => Err(Nonsense("rule")),
            INFECTED => Ok(Told::Done(Ok(Finding::Infected {
                rule: first,
                origin: second,
            }))),
            TIMED_OUT => failed(EngineError::TimedOut),
            FAILED => failed(EngineError::Failed(first)),
            UNAVAILABLE => failed(EngineError::Unavailable(first)),
            _ => Err(Nonsense("verdict")),
        }
    }

    /// A text and where it ends. It goes into reports, so it holds no control characters.
    fn part(&self, from: usize, length: u32) -> Result<(String, usize), Nonsense> {
        let end = from.saturating_add(length as usize);
        let bytes = self.text.get(from..end).ok_or(Nonsense("length"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| Nonsense("text"))?;
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        Ok((text.chars().map(shown).collect(), end))
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(told: &Told) -> [u8; ANSWER_BYTES] {
        zerocopy::transmute!(*Answer::new(7, told))
    }

    #[test]
    fn an_answer_says_what_was_told() {
        let infected = Finding::Infected {
            rule: "Rule".into(),
            origin: "näher/a.yar".into(),
        };
        for told in [
            Told::Ready,
            Told::Done(Ok(Finding::Clean)),
            Told::Done(Ok(infected)),
            Told::Done(Err(EngineError::TimedOut)),
            Told::Done(Err(EngineError::Failed("cause".into()))),
            Told::Done(Err(EngineError::Unavailable("cause".into()))),
        ] {
            assert_eq!(Answer::decode(bytes_of(&told), 7), Ok(told));
        }
        let long = Told::Done(Err(EngineError::Failed("ä".repeat(5000))));
        let cut = Told::Done(Err(EngineError::Failed("ä".repeat(TEXT_BYTES / 4))));
        assert_eq!(Answer::decode(bytes_of(&long), 7), Ok(cut));
    }

    #[test]
    fn no_answer_of_a_hostile_worker_is_taken_for_another() {
        let clean = bytes_of(&Told::Done(Ok(Finding::Clean)));
        assert_eq!(Answer::decode(clean, 8), Err(Nonsense("number")));
        let infected = bytes_of(&Told::Done(Ok(Finding::Infected {
            rule: "R".into(),
            origin: "o".into(),
        })));
        let with = |at: usize, value: u8| {
            let mut bytes = infected;
            bytes[at] = value;
            Answer::decode(bytes, 7)
        };
        assert_eq!(with(0, 9), Err(Nonsense("version")));
        assert_eq!(with(4, 99), Err(Nonsense("verdict")));
        assert_eq!(with(16, 0), Err(Nonsense("rule")));
        assert_eq!(with(19, 0xff), Err(Nonsense("length")), "four thousand MB");
        assert_eq!(with(22, 0xff), Err(Nonsense("length")));
        assert_eq!(with(24, 0xff), Err(Nonsense("text")));
        let Ok(Told::Done(Ok(Finding::Infected { rule, .. }))) = with(24, b'\n') else {
            panic!("a rule");
        };
        assert_eq!(rule, " ", "no line of its own in a log");
        // Whatever the bytes are, the answer is an answer or an error.
        for fill in 0..=255_u8 {
            let mut bytes = [fill; ANSWER_BYTES];
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[8..16].copy_from_slice(&7_u64.to_le_bytes());
            let _any = Answer::decode(bytes, 7);
        }
    }
}
