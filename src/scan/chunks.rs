//! How a file's bytes reach the service where its volume has no data-scan sections: a leader reads
//! them below our own instance into one buffer and sends that, piece by piece. Each piece is
//! answered before the next one goes, so that their order is certain although several threads of
//! the service listen.
#![forbid(unsafe_code)]

use siloscan_core::flight::{Attempt, Lead};
use siloscan_core::limits::SENT_BYTES_MAX;
use siloscan_core::reason::Failure;
use siloscan_core::wire::{Chunk, ChunkReply, Piece, Taken};
use zerocopy::{FromZeros, IntoBytes};

use super::lead::{self, failure_of};
use crate::kernel::file::{self, Held};
use crate::kernel::pool::{PoolSlice, Tag};
use crate::kernel::{clock, thread};
use crate::port::{self, Unanswered};
use crate::state::Flights;
use crate::sys::constants::STATUS_END_OF_FILE;

/// How long a leader waits before it sends a piece again that the service had no room for, in
/// milliseconds.
const AGAIN_MS: u64 = 20;

/// Lengths of reads are multiples of this, as noncached reads must be of the sector's size; no
/// volume has larger sectors.
const SECTOR_BYTES: usize = 4096;

/// The buffer of one leader. Taken when it is needed first, and kept: most hosts never need it.
#[derive(Default)]
pub struct Buffer(Option<PoolSlice<Chunk>>);

impl Buffer {
    /// The message that pieces are read into. Larger than a page, so page-aligned, as noncached
    /// reads ask of some devices.
    fn message(&mut self) -> Result<&mut Chunk, Attempt> {
        let no_memory = Attempt::FailedForAll(Failure::NoMemory);
        if self.0.is_none() {
            let new = PoolSlice::zeros(1, Tag::MESSAGE).map_err(|_| no_memory)?;
            self.0 = Some(new);
        }
        let slice = self.0.as_mut().ok_or(no_memory)?;
        slice.as_mut().first_mut().ok_or(no_memory)
    }
}

/// Sends the bytes of a file that is lent to a leader, and says how many they are. A request for
/// the scan may follow. Where it fails the service is told to forget what it has.
///
/// # Errors
/// How the attempt ends: empty, too large, killed, wanted back, locked, shrunk, or no service.
///
/// # IRQL
/// PASSIVE_LEVEL, no lock held.
pub fn send(
    flights: &Flights,
    lead: &Lead,
    held: &Held,
    buffer: &mut Buffer,
) -> Result<u64, Attempt> {
    let size = file::size(held.instance(), held.file())
        .map_err(|status| Attempt::Failed(failure_of(status)))?;
    if size == 0 {
        return Err(Attempt::Empty);
    }
    if size > SENT_BYTES_MAX {
        return Err(Attempt::FailedForAll(Failure::TooLarge));
    }
    let chunk = buffer.message()?;
    // From here on a kill of the flight sends a stop, which drops what the service has.
    if !flights.table.lock().sending(lead.flight) {
        return Err(Attempt::Changed);
    }
    let connection = port::current();
    let sent = pieces(flights, lead, held, chunk, size);
    if sent.is_err() {
        lead::forget(connection, lead.request, 0);
    }
    sent.map(|()| size)
}

/// All pieces, in order.
fn pieces(
    flights: &Flights,
    lead: &Lead,
    held: &Held,
    chunk: &mut Chunk,
    size: u64,
) -> Result<(), Attempt> {
    let mut offset = 0_u64;
    while offset < size {
        still_wanted(flights, lead)?;
        let piece = Piece {
            request: lead.request,
            size,
            offset,
            used: Piece::length_at(size, offset),
            deadline_ms: clock::milliseconds_left(lead.deadline),
        };
        chunk.describe(&piece);
        read(held, chunk, &piece)?;
        while hand_over(lead, chunk, &piece)? == Taken::Later {
            still_wanted(flights, lead)?;
            thread::sleep(AGAIN_MS);
        }
        offset = offset.saturating_add(piece.used.into());
    }
    Ok(())
}

/// A change ends the attempt, and so does the opener, whose file object is used here.
fn still_wanted(flights: &Flights, lead: &Lead) -> Result<(), Attempt> {
    let table = flights.table.lock();
    if !table.is_live(lead.flight) {
        return Err(Attempt::Changed);
    }
    if table.is_wanted_back(lead.flight) || clock::now() >= lead.deadline {
        return Err(Attempt::Failed(Failure::TooSlow));
    }
    Ok(())
}

/// Reads a piece. A file that has fewer bytes than it had is one that changes.
fn read(held: &Held, chunk: &mut Chunk, piece: &Piece) -> Result<(), Attempt> {
    let used = piece.used as usize;
    let whole = used.next_multiple_of(SECTOR_BYTES);
    let buffer = chunk
        .bytes
        .get_mut(..whole)
        .ok_or(Attempt::Failed(Failure::Unreadable))?;
    match file::read(held.instance(), held.file(), piece.offset, buffer) {
        Ok(count) if count >= used => Ok(()),
        Ok(_) => Err(Attempt::Failed(Failure::Changing)),
        Err(status) if status.code() == STATUS_END_OF_FILE => {
            Err(Attempt::Failed(Failure::Changing))
        }
        Err(status) => Err(Attempt::Failed(failure_of(status))),
    }
}

/// Hands a piece to the service.
fn hand_over(lead: &Lead, chunk: &Chunk, piece: &Piece) -> Result<Taken, Attempt> {
    let mut reply = ChunkReply::new_zeroed();
    match port::ask(chunk, &mut reply, lead.deadline) {
        Ok(()) => ChunkReply::decode(reply.as_bytes(), piece).map_err(Attempt::Failed),
        Err(Unanswered::NoService) => Err(Attempt::FailedForAll(Failure::NoService)),
        Err(Unanswered::TimedOut) => Err(Attempt::Failed(Failure::TooSlow)),
        Err(Unanswered::Failed) => Err(Attempt::Failed(Failure::BadReply)),
    }
}
