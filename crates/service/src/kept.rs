//! Verdicts that are kept: where, and the content's hash that they go by.

use sha2::{Digest as _, Sha256};
use siloscan_configuration::Configuration;
use siloscan_verdicts::{FleetSettings, FleetUrl, Secret, Settings, Verdicts};

use crate::events::{Event, EventQueue, EventSink};
use crate::worker::Content;

/// Bytes that are hashed before looking whether the scan was stopped.
const CHUNK_BYTES: usize = 1 << 20;

/// Where verdicts are kept, if that is asked for; what is wrong with it, as far as no file but
/// the fleet's key has to be opened for that.
pub(crate) fn settings(all: &Configuration) -> Result<Option<Settings>, String> {
    let Some(file) = &all.verdicts else {
        return Ok(None);
    };
    let mut settings = Settings::new(file.clone());
    if let Some((url, key)) = all.fleet.as_ref().zip(all.fleet_key.as_ref()) {
        let url: FleetUrl = url.parse().map_err(text)?;
        let secret = Secret::read(key).map_err(text)?;
        settings.fleet = Some(FleetSettings::new(url, secret));
    }
    Ok(Some(settings))
}

/// The verdicts that are kept, if that is asked for. `events` hears what is wrong with them.
pub(crate) fn open(all: &Configuration, events: &EventQueue) -> Result<Option<Verdicts>, String> {
    let Some(settings) = settings(all)? else {
        return Ok(None);
    };
    let events = events.clone();
    let tell = Box::new(move |cause| events.report(Event::BrokenVerdicts { cause }));
    Verdicts::open(settings, tell).map(Some).map_err(text)
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
