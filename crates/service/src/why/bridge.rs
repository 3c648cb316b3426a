//! A session at a filter host, over its bridge. It ends with the connection.

use std::path::Path;
use std::time::Duration;

use filterhost::remote::{Client, RemoteError, TracedEvent};

use super::source::{Batch, Raw, Source, SourceError, Wanted, provider};

const STATUS_TIMEOUT: u32 = 0x0000_0102;

/// A session of a process of the simulated machine.
pub(super) struct BridgeSource {
    client: Client,
    session: u64,
}

impl BridgeSource {
    pub(super) fn begin(socket: &Path, wanted: Wanted) -> Result<Self, SourceError> {
        let no_host = |error: RemoteError| SourceError::NoHost(error.to_string());
        let client = Client::connect(socket, "siloscan").map_err(no_host)?;
        let session = client
            .begin_trace(provider(), wanted.level, wanted.keywords)
            .map_err(no_host)?;
        Ok(Self { client, session })
    }
}

impl Source for BridgeSource {
    fn take(&mut self, wait: Duration) -> Result<Batch, SourceError> {
        match self.client.take_events(self.session, wait) {
            Ok(taken) => Ok(Batch {
                events: taken.events.into_iter().map(raw).collect(),
                lost: taken.lost,
            }),
            Err(RemoteError::Status(STATUS_TIMEOUT)) => Ok(Batch::default()),
            Err(error) => Err(SourceError::Ended(error.to_string())),
        }
    }
}

fn raw(event: TracedEvent) -> Raw {
    let TracedEvent {
        time,
        level,
        keyword,
        metadata,
        values,
    } = event;
    Raw {
        time,
        level,
        keyword,
        metadata,
        values,
    }
}
