//! One request to scan, from its arrival to its answer, which is given exactly once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use siloscan_core::wire::{Scan, ScanFlags, ScanRequest, WireVerdict};

use siloscan_verdicts::{Known, Verdict};

use crate::engine::{EngineError, Finding};
use crate::events::ScanRecord;
use crate::memory::Copied;
use crate::platform::{Delivery, SectionError};

/// A request and how far it has come.
pub(crate) struct Job {
    pub(crate) delivery: Delivery,
    pub(crate) request: ScanRequest,
    pub(crate) name: String,
    /// The file's bytes, where they came before the request and there is no section.
    sent: Mutex<Option<Copied>>,
    /// When it arrived, by the platform's clock.
    pub(crate) received: Duration,
    /// The driver wants the section back.
    stopped: AtomicBool,
    hold: Mutex<Hold>,
    answered: AtomicBool,
}

/// Whether a job still has its section.
#[derive(Default)]
struct Hold {
    /// Section and view are let go.
    released: bool,
    /// The driver's message that is answered then.
    wanted_back: Option<Delivery>,
}

/// A rule that matched.
pub(crate) struct Detection<'o> {
    pub(crate) rule: &'o str,
    /// Empty where the verdict was kept: that goes without.
    pub(crate) origin: &'o str,
    /// Where the verdict was kept, if it was.
    pub(crate) known: Option<&'static str>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The engine looked at every byte.
    Scanned(Finding),
    /// Not scanned: the verdict on these bytes was kept.
    Known(Known),
    /// The file has more bytes than the service takes.
    TooLarge,
    /// The engine gave no verdict.
    Engine(EngineError),
    /// The bytes could not be had.
    Section(SectionError),
    /// The driver said stop.
    Stopped,
    /// The driver's deadline passed before the engine could begin.
    Late,
    /// Too many requests were waiting.
    Busy,
    /// Not scanned: the file lies in the excluded layer of this place.
    Excluded(u32),
    /// Not scanned: files with this content have ended worker processes.
    Killer,
    /// No worker process was there in time.
    NoWorker(String),
}

impl Outcome {
    /// The verdict on the wire, and the number that a trace shows with it.
    pub(crate) fn on_the_wire(&self) -> (WireVerdict, u32) {
        match self {
            Self::Scanned(Finding::Clean) => (WireVerdict::CLEAN, 0),
            Self::Scanned(Finding::Infected { .. }) => (WireVerdict::INFECTED, 0),
            Self::Known(known) => match known.verdict {
                Verdict::Clean => (WireVerdict::CLEAN, 0),
                Verdict::Infected { .. } => (WireVerdict::INFECTED, 0),
            },
            Self::TooLarge => (WireVerdict::UNSCANNABLE, 1),
            Self::Engine(EngineError::TimedOut) => (WireVerdict::UNSCANNABLE, 2),
            Self::Engine(EngineError::Failed(_)) => (WireVerdict::UNSCANNABLE, 3),
            Self::Engine(EngineError::Unavailable(_)) => (WireVerdict::ERROR, 12),
            Self::Section(SectionError::Shrunk) => (WireVerdict::UNREADABLE, 4),
            Self::Section(SectionError::Unusable(_)) => (WireVerdict::ERROR, 5),
            Self::Section(SectionError::Disconnected) => (WireVerdict::ERROR, 6),
            Self::Late => (WireVerdict::ERROR, 7),
            Self::Busy => (WireVerdict::ERROR, 8),
            Self::Stopped => (WireVerdict::STOPPED, 9),
            Self::Killer => (WireVerdict::UNSCANNABLE, 10),
            Self::NoWorker(_) => (WireVerdict::ERROR, 11),
            Self::Excluded(place) => (WireVerdict::EXCLUDED, *place),
        }
    }

    /// What the figures count it as: one of [`crate::latency::OUTCOMES`].
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Scanned(_) | Self::Known(_) => match self.detection() {
                None => "clean",
                Some(_) => "infected",
            },
            Self::TooLarge | Self::Killer | Self::Engine(_) | Self::Section(_) => "unscannable",
            Self::Stopped | Self::Late => "stopped",
            Self::Busy | Self::NoWorker(_) => "refused",
            Self::Excluded(_) => "excluded",
        }
    }

    /// The cause in words, for an outcome without a verdict that is worth a record.
    pub(crate) fn complaint(&self, file_bytes_max: u64) -> Option<String> {
        match self {
            Self::Scanned(_) | Self::Known(_) | Self::Stopped | Self::Excluded(_) => None,
            Self::TooLarge => Some(format!(
                "the file has more than {file_bytes_max} bytes; raise scan.max_file_mib to scan it"
            )),
            Self::Engine(error) => Some(error.to_string()),
            Self::Section(error) => Some(error.to_string()),
            Self::Late => Some("the driver's deadline passed before a thread was free".to_owned()),
            Self::Busy => Some("too many requests were waiting; raise --threads".to_owned()),
            Self::Killer => Some(
                "files with this content ended worker processes, so it is not scanned until the \
                 next signatures; --worker-strikes 0 scans it each time"
                    .to_owned(),
            ),
            Self::NoWorker(cause) => Some(format!("no worker process: {cause}")),
        }
    }

    /// What was found, if anything.
    pub(crate) fn detection(&self) -> Option<Detection<'_>> {
        match self {
            Self::Scanned(Finding::Infected { rule, origin }) => Some(Detection {
                rule,
                origin,
                known: None,
            }),
            Self::Known(known) => match &known.verdict {
                Verdict::Clean => None,
                Verdict::Infected { rule } => Some(Detection {
                    rule,
                    origin: "",
                    known: Some(known.place.name()),
                }),
            },
            _ => None,
        }
    }
}

impl Job {
    pub(crate) fn new(
        delivery: Delivery,
        request: ScanRequest,
        name: String,
        sent: Option<Copied>,
        received: Duration,
    ) -> Self {
        Self {
            delivery,
            request,
            name,
            sent: Mutex::new(sent),
            received,
            stopped: AtomicBool::new(false),
            hold: Mutex::default(),
            answered: AtomicBool::new(false),
        }
    }

    /// The file's bytes, once, where they were sent.
    pub(crate) fn take_sent(&self) -> Option<Copied> {
        self.sent.lock().take()
    }

    /// Asks for an early end, by this message. True when the section is let go already, so that the
    /// caller may answer.
    pub(crate) fn stop(&self, message: Delivery) -> bool {
        self.stopped.store(true, Ordering::SeqCst);
        let mut hold = self.hold.lock();
        // The driver waits for a section once; its other stops have no reply.
        if message.reply_capacity != 0 {
            hold.wanted_back = Some(message);
        }
        hold.released
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Notes that section and view are let go. A stop that came before is seen by
    /// [`Job::is_stopped`] after this; one that comes later is answered by whoever calls
    /// [`Job::stop`]. Gives the driver's message that waits for it.
    #[must_use]
    pub(crate) fn note_released(&self) -> Option<Delivery> {
        let mut hold = self.hold.lock();
        hold.released = true;
        hold.wanted_back.take()
    }

    /// True for the one caller that may answer.
    pub(crate) fn claim_answer(&self) -> bool {
        !self.answered.swap(true, Ordering::SeqCst)
    }

    /// When nobody waits for the answer any more, by the platform's clock.
    pub(crate) fn deadline(&self) -> Duration {
        self.received + self.time()
    }

    /// How much time the driver gave, from the request on.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_millis(u64::from(self.request.deadline_ms))
    }

    /// Time from the request to `now`, in microseconds.
    pub(crate) fn microseconds(&self, now: Duration) -> u64 {
        let taken = now.saturating_sub(self.received);
        u64::try_from(taken.as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn record(&self, now: Duration) -> ScanRecord {
        ScanRecord {
            request: self.request.request,
            path: self.name.clone(),
            path_is_cut: self.request.flags.has(ScanFlags::NAME_CUT),
            container: guid_text(&self.request.container),
            process: self.request.process,
            volume: self
                .request
                .key
                .and_then(|key| guid_text(&key.volume.to_bytes())),
            file_id: self
                .request
                .key
                .map(|key| format!("{:032x}", u128::from_le_bytes(key.file.to_bytes()))),
            on_close: self.request.flags.has(ScanFlags::CLOSE),
            bytes: self.request.size,
            microseconds: self.microseconds(now),
        }
    }
}

/// A request's name; what is no Unicode is replaced.
pub(crate) fn name_text(scan: &Scan) -> String {
    char::decode_utf16(scan.name())
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The usual text of a GUID as it lies in memory, or nothing for the one of zeros.
pub(crate) fn guid_text(bytes: &[u8; 16]) -> Option<String> {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d @ ..] = *bytes;
    if *bytes == [0; 16] {
        return None;
    }
    let tail = u64::from_be_bytes(d);
    Some(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        u32::from_le_bytes([a0, a1, a2, a3]),
        u16::from_le_bytes([b0, b1]),
        u16::from_le_bytes([c0, c1]),
        tail >> 48,
        tail & 0xFFFF_FFFF_FFFF,
    ))
}

/// A GUID's text as it lies in memory; nothing for the one of zeros.
pub(crate) fn guid_of(text: &str) -> Option<[u8; 16]> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let text = inner.unwrap_or(text);
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !parts.concat().bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u128::from_str_radix(&parts.concat(), 16).ok()?;
    let mut id = value.to_be_bytes();
    id[..4].reverse();
    id[4..6].reverse();
    id[6..8].reverse();
    (value != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_reads_as_windows_writes_it() {
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(
            guid_text(&bytes).as_deref(),
            Some("03020100-0504-0706-0809-0a0b0c0d0e0f")
        );
        assert_eq!(guid_text(&[0; 16]), None);
    }
}
