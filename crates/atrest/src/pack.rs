//! How a layer is packed, told by its first bytes, and its decoder.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::tar;

/// So many bytes tell how something is packed: one block of a tar archive.
pub const SNIFF_BYTES: u64 = tar::BLOCK as u64;

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A plain tar archive.
    Tar,
    /// With gzip.
    Gzip,
    /// With Zstandard.
    Zstd,
}

impl Packing {
    /// Its name, as media types have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "tar+gzip",
            Self::Zstd => "tar+zstd",
        }
    }

    /// What a layer's media type says. None for what is no layer of files.
    pub fn of_media_type(text: &str) -> Option<Self> {
        let rest = text.rsplit_once('.').map_or(text, |(_, last)| last);
        match rest {
            "tar" => Some(Self::Tar),
            "gzip" | "tar+gzip" => Some(Self::Gzip),
            "zstd" | "tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a layer that is none of [`Packing`] cannot be unpacked here. None for what is no layer of
/// files.
pub fn unread(media_type: &str, first: &[u8]) -> Option<&'static str> {
    let last = media_type
        .rsplit_once('.')
        .map_or(media_type, |(_, last)| last);
    let known = Packing::of_media_type(media_type).is_some();
    if first.starts_with(b"\xfd7zXZ\0") {
        Some("it is packed with xz, which is not read here")
    } else if first.starts_with(b"BZh") {
        Some("it is packed with bzip2, which is not read here")
    } else if media_type.is_empty() || (!known && last.starts_with("tar")) {
        Some("how it is packed is not known here")
    } else {
        None
    }
}

/// What something is that begins with `first`. None if it is no archive.
pub fn packing_of(first: &[u8]) -> Option<Packing> {
    if first.starts_with(&[0x1f, 0x8b, 0x08]) {
        return Some(Packing::Gzip);
    }
    let skippable = matches!(first, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        return Some(Packing::Zstd);
    }
    tar::is_block(first).then_some(Packing::Tar)
}

/// The first bytes of `from`, and a reader of all of it.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn sniff<R: Read>(mut from: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut first = Vec::new();
    from.by_ref().take(SNIFF_BYTES).read_to_end(&mut first)?;
    Ok((first.clone(), Cursor::new(first).chain(from)))
}

/// The decoder of `packing`.
pub fn decoder<'a>(packing: Packing, from: impl Read + 'a) -> Box<dyn Read + 'a> {
    let from = BufReader::new(from);
    match packing {
        Packing::Tar => Box::new(from),
        Packing::Gzip => Box::new(MultiGzDecoder::new(from)),
        Packing::Zstd => Box::new(Zstd {
            from,
            frame: FrameDecoder::new(),
            inside: false,
        }),
    }
}

/// Zstandard with any number of frames; skippable ones are skipped.
struct Zstd<R> {
    from: R,
    frame: FrameDecoder,
    /// Whether a frame has begun and its bytes are not all read.
    inside: bool,
}

/// What is decoded at a time, in bytes.
const STEP_BYTES: usize = 64 << 10;

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame. False at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.from.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.frame.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut self.from.by_ref().take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(other) => return Err(damaged(other)),
            }
        }
    }
}

/// The decoder's error, or the one of what it read from.
fn damaged(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(link) = cause {
        let ended = link
            .downcast_ref::<io::Error>()
            .is_some_and(|inner| inner.kind() == io::ErrorKind::UnexpectedEof);
        if ended {
            return io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string());
        }
        cause = link.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.inside {
                let count = self.frame.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
                if !self.frame.is_finished() {
                    let step = BlockDecodingStrategy::UptoBytes(STEP_BYTES);
                    self.frame
                        .decode_blocks(&mut self.from, step)
                        .map_err(damaged)?;
                    continue;
                }
                self.inside = false;
            }
            if !self.begin()? {
                return Ok(0);
            }
            self.inside = true;
        }
    }
}
