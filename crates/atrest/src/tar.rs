//! Walks a tar archive. The crate `tar` reads the fields; its own walk would read a name of any
//! length into memory, so the walk is here, where every length is bounded. A header that is damaged
//! does not end it: the next good one is searched for.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::limits::{NAME_BYTES, PAX_BYTES};
use crate::meter::Refused;
use crate::report::ProblemKind;

/// What a tar archive is made of, in bytes.
pub const BLOCK: usize = 512;
/// What is read at a time behind the end, in bytes.
const TAIL_BYTES: usize = 64 << 10;

/// What an entry is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file with bytes of its own.
    File,
    /// A file of which zeros were left out; only what was kept is read.
    Sparse,
    /// A folder.
    Folder,
    /// Another name of a file.
    Link(String),
    /// A symbolic link.
    Symlink(String),
    /// Devices and the like.
    Other,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its path, as it is written.
    pub path: String,
    /// The bytes that it has in the archive.
    pub bytes: u64,
    /// What it is.
    pub what: What,
}

/// A reader that may know a faster way past bytes than reading them.
pub trait Past: Read {
    /// Goes past `count` bytes; fewer only at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn past(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut Read::take(&mut *self, count), &mut io::sink())
    }
}

impl Past for Box<dyn Read + '_> {}
impl<R: Read> Past for crate::meter::Metered<R> {}
impl Past for &[u8] {}

/// Walks an archive. Between two calls of [`Walk::next`] it reads the bytes of the entry.
pub struct Walk<R> {
    from: R,
    /// Bytes of this entry yet to be read, and the padding behind them.
    left: u64,
    padding: u64,
    /// Whether nothing more can come.
    over: bool,
    /// Whether that is because the archive could not be read on.
    broken: bool,
    /// Whether the last header was no header.
    lost: bool,
}

/// What the entries before an entry say about it.
#[derive(Default)]
struct Told {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    bytes: Option<u64>,
    sparse: bool,
}

impl<R: Past> Walk<R> {
    /// Begins at the start of an archive.
    pub fn new(from: R) -> Self {
        Self {
            from,
            left: 0,
            padding: 0,
            over: false,
            broken: false,
            lost: false,
        }
    }

    /// The next entry; what is unread of the last one is skipped. After an error it may be called
    /// again: it goes on where it can, and ends where it cannot.
    ///
    /// # Errors
    /// What is wrong with the archive here.
    pub fn next(&mut self) -> io::Result<Option<Head>> {
        let mut told = Told::default();
        while !self.over {
            let Some(block) = self.header()? else { break };
            let header = Header::from_byte_slice(&block);
            let bytes = match header.entry_size() {
                Ok(bytes) => bytes,
                Err(cause) => return Err(self.damaged(&format!("a size is no number: {cause}"))),
            };
            self.begin(bytes);
            match header.entry_type() {
                EntryType::GNULongName => told.path = Some(self.long_name()?),
                EntryType::GNULongLink => told.link = Some(self.long_name()?),
                EntryType::XHeader => self.records(&mut told)?,
                EntryType::XGlobalHeader => {}
                kind => return self.entry(header, kind, bytes, told).map(Some),
            }
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        bytes: u64,
        told: Told,
    ) -> io::Result<Head> {
        let path = told
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        // Archives older than the type of folders end their names with a slash.
        let is_old_folder = header.as_old().linkflag == [0] && path.ends_with(b"/");
        // What Docker and containerd unpack with takes no bytes for these, whatever size they tell.
        let bytes = match kind {
            EntryType::Directory
            | EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo => 0,
            _ if is_old_folder => 0,
            _ => told.bytes.unwrap_or(bytes),
        };
        self.begin(bytes);
        let link = || {
            let own = || header.link_name_bytes().map(|name| name.into_owned());
            let name = told.link.clone().or_else(own).unwrap_or_default();
            text(&name)
        };
        let path = text(&path);
        let what = match kind {
            EntryType::Regular if is_old_folder => What::Folder,
            EntryType::Regular | EntryType::Continuous if told.sparse => What::Sparse,
            EntryType::Regular if path.ends_with('/') && bytes == 0 => What::Folder,
            EntryType::GNUSparse => {
                self.skip_sparse_map(header)?;
                What::Sparse
            }
            EntryType::Directory => What::Folder,
            EntryType::Link => What::Link(link()),
            EntryType::Symlink => What::Symlink(link()),
            EntryType::Char | EntryType::Block | EntryType::Fifo => What::Other,
            // Types that nobody knows are files to programs that unpack.
            _ => What::File,
        };
        Ok(Head { path, bytes, what })
    }

    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        let over = bytes % BLOCK as u64;
        self.padding = if over == 0 { 0 } else { BLOCK as u64 - over };
    }

    /// The next block that is a header, or nothing at the end.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let (left, padding) = (self.left, self.padding);
        self.left = 0;
        self.padding = 0;
        if self.skip(left)? < left {
            return Err(self.ended());
        }
        // Writers that leave the end out leave the last padding out, too.
        if self.skip(padding)? < padding {
            self.over = true;
            return Ok(None);
        }
        let mut zeros = 0;
        loop {
            let Some(block) = self.block()? else {
                self.over = true;
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                zeros += 1;
                if zeros == 2 && !self.lost {
                    self.over = true;
                    return Ok(None);
                }
                continue;
            }
            zeros = 0;
            if is_header(&block) && (!self.lost || has_magic(&block)) {
                self.lost = false;
                return Ok(Some(block));
            }
            if !self.lost {
                return Err(self.damaged("a header's sum is wrong: what it heads is lost"));
            }
        }
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        self.from.past(count).inspect_err(|_| {
            self.over = true;
            self.broken = true;
        })
    }

    /// What lies behind the end of the archive, if that is more than zeros.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn behind(&mut self) -> io::Result<Option<impl Read + '_>> {
        if self.broken {
            return Ok(None);
        }
        let mut part = vec![0; TAIL_BYTES];
        loop {
            let count = match self.from.read(&mut part) {
                Ok(0) => return Ok(None),
                Ok(count) => count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    self.broken = true;
                    return Err(cause);
                }
            };
            part.truncate(count);
            if let Some(at) = part.iter().position(|byte| *byte != 0) {
                part.drain(..at);
                return Ok(Some(io::Cursor::new(part).chain(&mut self.from)));
            }
            part.resize(TAIL_BYTES, 0);
        }
    }

    /// Whether the archive could not be read to its end.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// One block, or nothing at the end.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while let Some(rest) = block.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(self.ended()),
                Ok(count) => have += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    self.over = true;
                    self.broken = true;
                    return Err(cause);
                }
            }
        }
        Ok(Some(block))
    }

    fn long_name(&mut self) -> io::Result<Vec<u8>> {
        let mut name = self.bounded(NAME_BYTES, "a name")?;
        while name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn records(&mut self, told: &mut Told) -> io::Result<()> {
        let records = self.bounded(PAX_BYTES, "the records of an entry")?;
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let Some((key, value, behind)) = record(rest) else {
                return Err(self.damaged("the records of an entry are damaged"));
            };
            rest = behind;
            let is_name = matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name");
            if is_name && value.len() as u64 > NAME_BYTES {
                let text = format!("a name has {} bytes", value.len());
                return Err(Refused::error(ProblemKind::Limit, text));
            }
            match key {
                b"path" => told.path = Some(value.to_vec()),
                b"linkpath" => told.link = Some(value.to_vec()),
                b"size" => {
                    told.bytes = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok())
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    told.sparse = true;
                    if key == b"GNU.sparse.name" {
                        told.path = Some(value.to_vec());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn bounded(&mut self, most: u64, what: &str) -> io::Result<Vec<u8>> {
        let bytes = self.left;
        if bytes > most {
            let text = format!("{what} has {bytes} bytes, at most {most} are read");
            return Err(Refused::error(ProblemKind::Limit, text));
        }
        let mut all = Vec::new();
        self.take(bytes).read_to_end(&mut all)?;
        Ok(all)
    }

    /// The blocks of a sparse file's map that did not fit into its header.
    fn skip_sparse_map(&mut self, header: &Header) -> io::Result<()> {
        let mut more = header.as_gnu().is_some_and(|gnu| gnu.is_extended());
        while more {
            let Some(block) = self.block()? else {
                return Err(self.ended());
            };
            more = block.get(504) == Some(&1);
        }
        Ok(())
    }

    fn damaged(&mut self, text: &str) -> io::Error {
        self.lost = true;
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    fn ended(&mut self) -> io::Error {
        self.over = true;
        self.broken = true;
        self.left = 0;
        io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within an entry")
    }
}

impl<R: Past> Read for Walk<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(part) = buffer.get_mut(..most).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let count = self.from.read(part).inspect_err(|cause| {
            let broken = cause.kind() != io::ErrorKind::Interrupted;
            self.over |= broken;
            self.broken |= broken;
        })?;
        if count == 0 {
            return Err(self.ended());
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first PAX record, its length first: its key, its value, and what lies behind it. A value may
/// have any bytes.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(records.get(..space)?).ok()?;
    let length = length.parse::<usize>().ok()?;
    let (whole, behind) = records.split_at_checked(length)?;
    let text = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((text.get(..equals)?, text.get(equals + 1..)?, behind))
}

/// Whether `first` begins with the header of a tar archive.
pub fn is_block(first: &[u8]) -> bool {
    first.first_chunk::<BLOCK>().is_some_and(is_header)
}

/// Whether the block's sum is right. Some old programs take bytes for signed.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let Ok(told) = Header::from_byte_slice(block).cksum() else {
        return false;
    };
    let (mut sum, mut signed) = (0_i64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        };
        sum += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    [sum, signed].contains(&i64::from(told))
}

fn has_magic(block: &[u8; BLOCK]) -> bool {
    block.get(257..262) == Some(b"ustar")
}
