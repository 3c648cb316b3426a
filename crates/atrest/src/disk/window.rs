//! A part of a disk, with the blocks that were read last in memory: records are small and lie side
//! by side.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};

const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 16;

/// A part of a disk.
pub struct Window<'a, D> {
    disk: &'a mut D,
    begin: u64,
    bytes: u64,
    here: u64,
    /// Blocks by their numbers, the one last used first.
    blocks: VecDeque<(u64, Vec<u8>)>,
}

impl<'a, D: Read + Seek> Window<'a, D> {
    /// The part of `disk` that begins at `begin` and has `bytes` bytes.
    pub fn new(disk: &'a mut D, begin: u64, bytes: u64) -> Self {
        Self {
            disk,
            begin,
            bytes,
            here: 0,
            blocks: VecDeque::new(),
        }
    }

    /// Its size, in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    fn load(&mut self, number: u64) -> io::Result<()> {
        if let Some(at) = self.blocks.iter().position(|block| block.0 == number) {
            if let Some(block) = self.blocks.remove(at) {
                self.blocks.push_front(block);
            }
            return Ok(());
        }
        let from = number.saturating_mul(BLOCK as u64);
        let most = self.bytes.saturating_sub(from).min(BLOCK as u64);
        self.disk
            .seek(SeekFrom::Start(self.begin.saturating_add(from)))?;
        let mut block = Vec::new();
        Read::take(&mut *self.disk, most).read_to_end(&mut block)?;
        self.blocks.truncate(BLOCKS - 1);
        self.blocks.push_front((number, block));
        Ok(())
    }
}

impl<D: Read + Seek> Read for Window<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.here >= self.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let size = BLOCK as u64;
        self.load(self.here / size)?;
        // Less than a block, so it fits.
        let at = (self.here % size) as usize;
        let have = self.blocks.front().and_then(|block| block.1.get(at..));
        let count = have.unwrap_or(&[]).read(buffer)?;
        self.here = self.here.saturating_add(count as u64);
        Ok(count)
    }
}

impl<D> Seek for Window<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.here.checked_add_signed(by),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
        };
        self.here = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.here)
    }
}
