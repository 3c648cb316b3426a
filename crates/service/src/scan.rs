//! From a section handle to a verdict: take memory, copy, let go, and only then let the engine
//! look.

use std::time::Duration;

use crate::engine::Scanner;
use crate::job::{Job, Outcome};
use crate::memory::Share;
use crate::platform::{Platform, Port, Section, SectionError};
use crate::session::Session;

/// Bytes that are copied before looking whether the driver wants the section back.
const CHUNK_BYTES: usize = 256 << 10;
/// A thread's buffer is given back to the system after a file larger than this.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// How often a scan that waits for memory looks for it.
const MEMORY_WAIT: Duration = Duration::from_millis(5);

/// What one thread works with, again and again.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) message: Vec<u8>,
    bytes: Vec<u8>,
}

impl Bench {
    /// Scans what `job` asks for. Section and view are let go before the engine begins, and soon
    /// after a stop.
    pub(crate) fn scan<P: Platform>(
        &mut self,
        session: &Session<P>,
        job: &Job,
        scanner: &mut dyn Scanner,
    ) -> Outcome {
        let service = &session.service;
        if let Some(place) = service.excluding_layer(&job.request) {
            session.let_go(job);
            return Outcome::Excluded(place);
        }
        if job.request.size > service.settings.file_bytes_max {
            session.let_go(job);
            return Outcome::TooLarge;
        }
        let (_share, copied) = match job.take_sent() {
            Some(sent) => {
                self.bytes = sent.bytes;
                (sent.share, Ok(()))
            }
            None => match share_of(session, job) {
                Ok(share) => (share, self.copy(session, job)),
                Err(outcome) => {
                    session.let_go(job);
                    return outcome;
                }
            },
        };
        job.note_released();
        let outcome = match copied {
            Ok(()) => over_before_it_began(session, job).unwrap_or_else(|| {
                let left = job.deadline().saturating_sub(service.platform.now());
                let limit = service.platform.engines_may_measure_time().then_some(left);
                match scanner.scan(&self.bytes, limit) {
                    Ok(finding) => Outcome::Scanned(finding),
                    Err(error) => Outcome::Engine(error),
                }
            }),
            Err(outcome) => outcome,
        };
        self.bytes.clear();
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        outcome
    }

    /// Copies the bytes of the section into this thread's buffer.
    fn copy<P: Platform>(&mut self, session: &Session<P>, job: &Job) -> Result<(), Outcome> {
        let size = usize::try_from(job.request.size).map_err(|_| Outcome::TooLarge)?;
        let section = session
            .port
            .open_section(job.request.section)
            .map_err(Outcome::Section)?;
        self.bytes.clear();
        self.bytes
            .try_reserve_exact(size)
            .map_err(|_| Outcome::TooLarge)?;
        self.bytes.resize(size, 0);
        let mut offset = 0_u64;
        for chunk in self.bytes.chunks_mut(CHUNK_BYTES) {
            if job.is_stopped() {
                return Err(Outcome::Stopped);
            }
            section
                .read(offset, chunk)
                .map_err(|error: SectionError| Outcome::Section(error))?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }
}

/// Waits for memory for the copy of a section.
fn share_of<P: Platform>(session: &Session<P>, job: &Job) -> Result<Share, Outcome> {
    let service = &session.service;
    loop {
        if let Some(outcome) = over_before_it_began(session, job) {
            return Err(outcome);
        }
        match service.memory.take(job.request.size) {
            Some(share) => return Ok(share),
            None => service.platform.sleep(MEMORY_WAIT),
        }
    }
}

fn over_before_it_began<P: Platform>(session: &Session<P>, job: &Job) -> Option<Outcome> {
    if job.is_stopped() {
        Some(Outcome::Stopped)
    } else if job.deadline() <= session.service.platform.now() {
        Some(Outcome::Late)
    } else {
        None
    }
}
