//! Verdicts that are kept: the options for them, and the content's hash that they go by.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use siloscan_verdicts::{FleetSettings, FleetUrl, Secret, Settings, Verdicts};

use crate::events::{Event, EventQueue, EventSink};
use crate::worker::Content;

/// Bytes that are hashed before looking whether the scan was stopped.
const CHUNK_BYTES: usize = 1 << 20;

/// Where verdicts are kept.
#[derive(clap::Args)]
pub(crate) struct Keep {
    /// Keep verdicts in this file, so that no content is scanned twice under the same rules. A key
    /// is made beside it
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,

    /// Share verdicts with other hosts through the Redis at redis://[[user]:password@]host[:port]
    // Taken apart later: clap repeats what it does not understand, and that may be a password.
    #[arg(
        long,
        value_name = "URL",
        requires = "verdicts",
        requires = "fleet_key"
    )]
    fleet: Option<String>,

    /// The key that all hosts of the fleet have: a file with 64 hexadecimal digits
    #[arg(long, value_name = "FILE", requires = "fleet")]
    fleet_key: Option<PathBuf>,
}

impl Keep {
    /// Whether verdicts are to be kept.
    #[cfg(windows)]
    pub(crate) fn is_wanted(&self) -> bool {
        self.verdicts.is_some()
    }

    /// The verdicts that are kept, if that is asked for. `events` hears what is wrong with them.
    pub(crate) fn open(&self, events: &EventQueue) -> Result<Option<Verdicts>, String> {
        let Some(file) = &self.verdicts else {
            return Ok(None);
        };
        let mut settings = Settings::new(file.clone());
        if let Some((url, key)) = self.fleet.as_ref().zip(self.fleet_key.as_ref()) {
            let url: FleetUrl = url.parse().map_err(text)?;
            let secret = Secret::read(key).map_err(text)?;
            settings.fleet = Some(FleetSettings::new(url, secret));
        }
        let events = events.clone();
        let tell = Box::new(move |cause| events.report(Event::BrokenVerdicts { cause }));
        Verdicts::open(settings, tell).map(Some).map_err(text)
    }
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

/// The content of these bytes, or nothing once `over` says so.
pub(crate) fn content_of(bytes: &[u8], over: impl Fn() -> bool) -> Option<Content> {
    let mut hash = Sha256::new();
    for part in bytes.chunks(CHUNK_BYTES) {
        if over() {
            return None;
        }
        hash.update(part);
    }
    Some(Content {
        size: bytes.len() as u64,
        hash: hash.finalize().into(),
    })
}
