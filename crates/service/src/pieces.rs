//! Files that arrive in pieces, because their volume has no data-scan sections: kept until the
//! request to scan them comes, or until nobody can want them any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use siloscan_core::wire::{ChunkState, Piece};

use crate::memory::{Budget, Copied};

/// Files that may be arriving at one time over one connection: as many as the driver can be set to
/// have scan threads.
const FILES_MAX: usize = 64;

/// A file of which some pieces are here.
#[derive(Debug)]
struct Arriving {
    size: u64,
    copied: Copied,
    /// So many bytes have come.
    come: usize,
    /// When the driver waits no more, by the platform's clock.
    until: Duration,
}

/// All files that are arriving over one connection, by the request that will ask for them.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    files: BTreeMap<u64, Arriving>,
}

/// Why a piece was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PieceError {
    #[error("piece of a file: its request has begun already")]
    Twice,
    #[error("piece of a file: it is not the next one")]
    Order,
}

impl Pieces {
    /// Takes a piece. One that is not the next one of its file loses the file.
    ///
    /// # Errors
    /// A first piece that came before, a later one without its forerunner or of another file.
    pub(crate) fn take(
        &mut self,
        (piece, bytes): (&Piece, &[u8]),
        now: Duration,
        memory: &Arc<Budget>,
        file_bytes_max: u64,
    ) -> Result<(ChunkState, u64), PieceError> {
        if piece.offset == 0 {
            if self.files.remove(&piece.request).is_some() {
                return Err(PieceError::Twice);
            }
            if piece.size > file_bytes_max {
                return Ok((ChunkState::TOO_LARGE, 0));
            }
            let Some(copied) = self.room(piece.size, memory) else {
                return Ok((ChunkState::BUSY, 0));
            };
            let arriving = Arriving {
                size: piece.size,
                copied,
                come: 0,
                until: now,
            };
            self.files.insert(piece.request, arriving);
        }
        let next = self
            .files
            .get_mut(&piece.request)
            .filter(|file| file.size == piece.size && file.come as u64 == piece.offset)
            .and_then(|file| {
                let end = file.come + bytes.len();
                let place = file.copied.bytes.part(file.come, bytes.len()).ok()?;
                place.copy_from_slice(bytes);
                file.come = end;
                Some(file)
            });
        let Some(file) = next else {
            self.files.remove(&piece.request);
            return Err(PieceError::Order);
        };
        file.until = now + Duration::from_millis(piece.deadline_ms.into());
        Ok((ChunkState::TAKEN, file.come as u64))
    }

    /// Memory for a whole file, if there is any.
    fn room(&self, size: u64, memory: &Arc<Budget>) -> Option<Copied> {
        if self.files.len() >= FILES_MAX {
            return None;
        }
        memory.room(size).ok()
    }

    /// Gives out a file that is there as a whole; loses one that is not.
    pub(crate) fn whole(&mut self, request: u64, size: u64) -> Option<Copied> {
        let file = self.files.remove(&request)?;
        let whole = file.size == size && file.come as u64 == size;
        whole.then_some(file.copied)
    }

    /// Forgets a file. True if there was one.
    pub(crate) fn forget(&mut self, request: u64) -> bool {
        self.files.remove(&request).is_some()
    }

    /// Forgets the files that nobody waits for any more.
    pub(crate) fn forget_late(&mut self, now: Duration) {
        self.files.retain(|_, file| file.until > now);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.files.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siloscan_core::limits::CHUNK_BYTES;

    const NOW: Duration = Duration::from_secs(1);

    fn piece(request: u64, size: u64, offset: u64) -> Piece {
        Piece {
            request,
            size,
            offset,
            used: Piece::length_at(size, offset),
            deadline_ms: 1_000,
        }
    }

    fn take(
        pieces: &mut Pieces,
        memory: &Arc<Budget>,
        piece: &Piece,
    ) -> Result<(ChunkState, u64), PieceError> {
        let bytes = vec![7; piece.used as usize];
        pieces.take((piece, &bytes), NOW, memory, 1 << 20)
    }

    #[test]
    fn a_file_is_given_out_once_and_only_when_it_is_whole() {
        let (mut pieces, memory) = (Pieces::default(), Arc::new(Budget::new(1 << 20)));
        let size = CHUNK_BYTES as u64 + 5;
        let first = take(&mut pieces, &memory, &piece(1, size, 0));
        assert_eq!(first, Ok((ChunkState::TAKEN, CHUNK_BYTES as u64)));
        let second = take(&mut pieces, &memory, &piece(1, size, CHUNK_BYTES as u64));
        assert_eq!(second, Ok((ChunkState::TAKEN, size)));
        assert_eq!(
            pieces
                .whole(1, size)
                .map(|copied| copied.bytes.bytes() == vec![7; size as usize]),
            Some(true)
        );
        assert!(pieces.whole(1, size).is_none());
        let _half = take(&mut pieces, &memory, &piece(2, size, 0));
        assert!(pieces.whole(2, size).is_none(), "half a file");
        assert!(!pieces.forget(2), "and its bytes are gone");
        assert!(memory.take(1 << 20).is_some(), "all memory is back");
    }

    #[test]
    fn a_wrong_order_loses_the_file_and_its_memory() {
        let (mut pieces, memory) = (Pieces::default(), Arc::new(Budget::new(1 << 20)));
        let size = 3 * CHUNK_BYTES as u64;
        let at = |offset: u64| piece(1, size, offset * CHUNK_BYTES as u64);
        let later = take(&mut pieces, &memory, &at(1));
        assert_eq!(later, Err(PieceError::Order), "nothing before it");
        for wrong in [at(0), at(2), piece(1, size + 1, CHUNK_BYTES as u64)] {
            assert!(take(&mut pieces, &memory, &at(0)).is_ok());
            assert!(take(&mut pieces, &memory, &wrong).is_err(), "{wrong:?}");
            assert!(!pieces.forget(1), "{wrong:?}");
        }
        assert!(memory.take(1 << 20).is_some(), "all memory is back");
    }

    #[test]
    fn memory_files_and_time_are_bounded() {
        let (mut pieces, memory) = (Pieces::default(), Arc::new(Budget::new(1 << 20)));
        let large = take(&mut pieces, &memory, &piece(1, (1 << 20) + 1, 0));
        assert_eq!(large, Ok((ChunkState::TOO_LARGE, 0)));
        assert!(take(&mut pieces, &memory, &piece(1, 1 << 20, 0)).is_ok());
        let full = take(&mut pieces, &memory, &piece(2, 1, 0));
        assert_eq!(full, Ok((ChunkState::BUSY, 0)));
        pieces.forget_late(NOW + Duration::from_millis(999));
        assert_eq!(pieces.files.len(), 1);
        pieces.forget_late(NOW + Duration::from_secs(1));
        assert_eq!(pieces.files.len(), 0, "the driver waits no more");
        for request in 1..=FILES_MAX as u64 {
            let taken = take(&mut pieces, &memory, &piece(request, 8, 0));
            assert_eq!(taken, Ok((ChunkState::TAKEN, 8)));
        }
        let many = take(&mut pieces, &memory, &piece(1_000, 8, 0));
        assert_eq!(many, Ok((ChunkState::BUSY, 0)));
        pieces.clear();
        assert!(memory.take(1 << 20).is_some(), "all memory is back");
    }
}
