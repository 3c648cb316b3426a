//! The files of an NTFS volume, record by record: no folder is walked, so a damaged one hides
//! nothing, and one that contains itself leads nowhere.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use ntfs::attribute_value::NtfsAttributeValue;
use ntfs::structured_values::{
    NtfsAttributeList, NtfsFileName, NtfsFileNamespace, NtfsVolumeFlags,
};
use ntfs::{
    Ntfs, NtfsAttribute, NtfsAttributeFlags, NtfsAttributeType, NtfsError, NtfsFile, NtfsFileFlags,
};

use crate::limits::{Limits, NTFS_ATTRIBUTES, NTFS_DEPTH, NTFS_FOLDERS_KEPT};
use crate::placeholder::Seen;
use crate::report::{Place, Problem, ProblemKind};
use crate::source::{Found, Sink};

use super::reparse::{self, Meaning};
use super::window::Window;
use super::{carefully, panicked};

/// The root folder's record.
const ROOT: u64 = 5;
/// Records before this are the volume's own tables.
const FIRST: u64 = 12;
/// Records have 1 or 4 KiB.
const RECORD_BYTES: u32 = 64 << 10;
/// The folder of the volume's own files.
const EXTEND: u64 = 11;
/// The journal of changes, a file in that folder, and its stream: as large as all that was ever
/// written to it, almost all of it no longer there.
const JOURNAL: (&str, &str) = ("$UsnJrnl", "$J");
/// Where in a record stands the record that it is the rest of, in bytes.
const BASE: u64 = 0x20;

type Result<T> = std::result::Result<T, NtfsError>;

/// A folder's name and the record of the one above.
#[derive(Clone)]
struct Folder {
    above: u64,
    name: String,
}

struct Volume<'a, 's, D> {
    name: &'a str,
    disk: Window<'a, D>,
    folders: HashMap<u64, Folder>,
    limits: Limits,
    /// Bytes of streams that may still be read, and whether it was told that they are used up.
    room: u64,
    is_told: bool,
    sink: &'s mut dyn Sink,
}

/// Scans the volume in `disk`.
pub fn scan<D: Read + Seek>(
    name: &str,
    mut disk: Window<'_, D>,
    limits: Limits,
    sink: &mut dyn Sink,
) {
    let place = Place::within(name, "");
    let ntfs = match carefully(|| Ntfs::new(&mut disk)) {
        Some(Ok(ntfs)) => ntfs,
        Some(Err(cause)) => {
            let text = format!("it is not NTFS, or damaged: {cause}");
            return sink.problem(Problem::new(ProblemKind::Unsupported, place, text));
        }
        None => return sink.problem(panicked(place)),
    };
    if ntfs.file_record_size() > RECORD_BYTES {
        let text = format!("its records have more than {RECORD_BYTES} bytes");
        return sink.problem(Problem::new(ProblemKind::Damaged, place, text));
    }
    let mut volume = Volume {
        name,
        disk,
        folders: HashMap::new(),
        limits,
        room: limits.volume_bytes,
        is_told: false,
        sink,
    };
    let records = match carefully(|| volume.records(&ntfs)) {
        Some(Ok(records)) => records,
        Some(Err(cause)) => return volume.sink.problem(problem(place, &cause)),
        None => return volume.sink.problem(panicked(place)),
    };
    volume.sink.total(records);
    for number in 0..records {
        match carefully(|| volume.record(&ntfs, number)) {
            Some(Ok(())) => {}
            Some(Err(cause)) => volume.tell(number, &cause),
            None => {
                let place = Place::within(name, record_name(number));
                volume.sink.problem(panicked(place));
            }
        }
        volume.sink.moved(1);
    }
}

fn record_name(number: u64) -> String {
    format!("(record {number})")
}

fn problem(place: Place, cause: &NtfsError) -> Problem {
    match cause {
        NtfsError::Io(cause) => Problem::io(place, cause),
        other => Problem::new(ProblemKind::Damaged, place, other.to_string()),
    }
}

impl<'a, D: Read + Seek> Volume<'a, '_, D> {
    fn tell(&mut self, number: u64, cause: &NtfsError) {
        let place = Place::within(self.name, record_name(number));
        self.sink.problem(problem(place, cause));
    }

    /// The number of records, and whether the volume was left in order.
    fn records(&mut self, ntfs: &Ntfs) -> Result<u64> {
        let place = Place::within(self.name, "");
        let info = ntfs.volume_info(&mut self.disk);
        if info.is_ok_and(|info| info.flags().contains(NtfsVolumeFlags::IS_DIRTY)) {
            let text = "the volume was not left in order: what was changed last may not be seen";
            let problem = Problem::new(ProblemKind::Damaged, place.clone(), text);
            self.sink.problem(problem);
        }
        let table = ntfs.file(&mut self.disk, 0)?;
        self.is_whole(&table)?;
        let bytes = match table.data(&mut self.disk, "") {
            Some(item) => item?.to_attribute()?.value_length(),
            None => 0,
        };
        let size = u64::from(ntfs.file_record_size()).max(1);
        let records = bytes.min(self.disk.len()) / size;
        if records == 0 {
            let text = "its table of files has no records";
            let problem = Problem::new(ProblemKind::Damaged, place.clone(), text);
            self.sink.problem(problem);
        }
        let most = self.limits.volume_records;
        if records > most {
            let text = format!("the volume has more than {most} records");
            self.sink
                .problem(Problem::new(ProblemKind::Limit, place, text));
        }
        Ok(records.min(most))
    }

    fn record(&mut self, ntfs: &Ntfs, number: u64) -> Result<()> {
        let file = match ntfs.file(&mut self.disk, number) {
            // Records that were never used are zeros.
            Err(NtfsError::InvalidFileSignature { actual, .. }) if actual == [0; 4] => {
                return Ok(());
            }
            file => file?,
        };
        if !file.flags().contains(NtfsFileFlags::IN_USE) {
            return Ok(());
        }
        // The rest of a record that has more than fits is seen with the record it belongs to.
        if !self.is_whole(&file)? {
            return Ok(());
        }
        let path = self.path(ntfs, &file)?;
        let meaning = self.meaning(&file)?;
        let is_folder = file.flags().contains(NtfsFileFlags::IS_DIRECTORY);
        match &meaning {
            Meaning::InLayer(tag, target) if !is_folder => self.sink.placeholder(Seen {
                place: Place::within(self.name, &path),
                tag: *tag,
                target: target.clone(),
            }),
            Meaning::Deleted => self.sink.deletion(),
            Meaning::Elsewhere(text) if !is_folder => {
                let place = Place::within(self.name, &path);
                let problem = Problem::new(ProblemKind::Unsupported, place, *text);
                self.sink.problem(problem);
            }
            // A folder has no bytes of its own.
            Meaning::InLayer(..) | Meaning::Elsewhere(_) | Meaning::Here => {}
        }
        self.streams(&file, &path, &meaning)
    }

    /// Whether a record stands for itself: it is not the rest of another. Counts what the reader
    /// will go through: the clusters of a list can be shared, so that it is longer than the disk.
    fn is_whole(&mut self, file: &NtfsFile<'_>) -> Result<bool> {
        let endless = NtfsError::InvalidFileRecordNumber {
            file_record_number: file.file_record_number(),
        };
        let mut count = 0;
        for attribute in file.attributes_raw() {
            let attribute = attribute?;
            if !matches!(attribute.ty(), Ok(NtfsAttributeType::AttributeList)) {
                continue;
            }
            let list = attribute.structured_value::<_, NtfsAttributeList>(&mut self.disk)?;
            let mut entries = list.entries();
            while let Some(entry) = entries.next(&mut self.disk) {
                entry?;
                count += 1;
                if count > NTFS_ATTRIBUTES {
                    return Err(endless);
                }
            }
        }
        let begin = file.position().value().map_or(0, |begin| begin.get());
        let mut base = [0; 8];
        self.disk
            .seek(SeekFrom::Start(begin.saturating_add(BASE)))?;
        self.disk.read_exact(&mut base)?;
        Ok(base == [0; 8])
    }

    /// Scans the streams of a file.
    fn streams(&mut self, file: &NtfsFile<'_>, path: &str, meaning: &Meaning) -> Result<()> {
        let number = file.file_record_number();
        let own = number < FIRST && number != ROOT;
        let name = self.name_of(file)?;
        let is_journal = name.is_some_and(|own| own.above == EXTEND && own.name == JOURNAL.0);
        let mut attributes = file.attributes();
        for _ in 0..NTFS_ATTRIBUTES {
            let Some(item) = attributes.next(&mut self.disk) else {
                return Ok(());
            };
            let item = item?;
            let attribute = item.to_attribute()?;
            if !matches!(attribute.ty(), Ok(NtfsAttributeType::Data)) {
                continue;
            }
            let stream = attribute.name()?.to_string_lossy();
            if (own && stream.is_empty()) || (is_journal && stream == JOURNAL.1) {
                continue;
            }
            let path = if stream.is_empty() {
                path.to_owned()
            } else {
                format!("{path}:{stream}")
            };
            // The bad clusters are a stream as large as the volume.
            let elsewhere = own || (stream.is_empty() && *meaning != Meaning::Here);
            self.stream(&attribute, path, elsewhere)?;
        }
        let place = Place::within(self.name, path);
        let text = format!("the file has more than {NTFS_ATTRIBUTES} attributes");
        self.sink
            .problem(Problem::new(ProblemKind::Limit, place, text));
        Ok(())
    }

    fn stream(
        &mut self,
        attribute: &NtfsAttribute<'_, '_>,
        path: String,
        elsewhere: bool,
    ) -> Result<()> {
        let place = Place::within(self.name, path);
        let value = attribute.value(&mut self.disk)?;
        // A placeholder has a size and no bytes. One that has bytes hides them.
        if elsewhere && !has_bytes(&value) {
            return Ok(());
        }
        let packed = NtfsAttributeFlags::COMPRESSED | NtfsAttributeFlags::ENCRYPTED;
        if attribute.flags().intersects(packed) && !attribute.is_resident() {
            let text = "it is compressed or encrypted by NTFS, which is not read here";
            let problem = Problem::new(ProblemKind::Unsupported, place, text);
            self.sink.problem(problem);
            return Ok(());
        }
        let bytes = value.len();
        // No more than a file's limit is read of one.
        let read = if bytes > self.limits.file_bytes {
            0
        } else {
            bytes
        };
        let Some(room) = self.room.checked_sub(read) else {
            if !self.is_told {
                let most = self.limits.volume_bytes;
                let text = format!("its files have more than {most} bytes; some were not scanned");
                let problem = Problem::new(ProblemKind::Limit, place, text);
                self.sink.problem(problem);
            }
            self.is_told = true;
            return Ok(());
        };
        self.room = room;
        let mut reader = value.attach(&mut self.disk);
        self.sink.file(&Found { place, bytes }, &mut reader);
        Ok(())
    }

    fn meaning(&mut self, file: &NtfsFile<'_>) -> Result<Meaning> {
        let meaning = self.first_of(file, NtfsAttributeType::ReparsePoint, |disk, attribute| {
            let mut data = Vec::new();
            let value = attribute.value(disk)?;
            let mut reader = value.attach(disk).take(reparse::BYTES);
            reader.read_to_end(&mut data)?;
            Ok(Some(reparse::meaning(&data)))
        })?;
        Ok(meaning.unwrap_or(Meaning::Here))
    }

    /// What `take` makes of a file's attributes of one kind: the first that it makes something of.
    fn first_of<T>(
        &mut self,
        file: &NtfsFile<'_>,
        kind: NtfsAttributeType,
        mut take: impl FnMut(&mut Window<'a, D>, &NtfsAttribute<'_, '_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let mut attributes = file.attributes();
        for _ in 0..NTFS_ATTRIBUTES {
            let Some(item) = attributes.next(&mut self.disk) else {
                break;
            };
            let item = item?;
            let attribute = item.to_attribute()?;
            if attribute.ty().is_ok_and(|ty| ty == kind)
                && let Some(made) = take(&mut self.disk, &attribute)?
            {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// The path of a file: its names and those of the folders above.
    fn path(&mut self, ntfs: &Ntfs, file: &NtfsFile<'_>) -> Result<String> {
        let number = file.file_record_number();
        let mut parts = Vec::new();
        if number != ROOT {
            let Some(own) = self.name_of(file)? else {
                return Ok(record_name(number));
            };
            parts.push(own.name);
            let mut above = own.above;
            while above != ROOT {
                if parts.len() > NTFS_DEPTH {
                    parts.push("(too deep)".to_owned());
                    break;
                }
                let Some(folder) = self.folder(ntfs, above) else {
                    parts.push("(lost)".to_owned());
                    break;
                };
                parts.push(folder.name);
                above = folder.above;
            }
        }
        parts.reverse();
        Ok(parts.join("/"))
    }

    fn folder(&mut self, ntfs: &Ntfs, number: u64) -> Option<Folder> {
        if let Some(folder) = self.folders.get(&number) {
            return Some(folder.clone());
        }
        let file = ntfs.file(&mut self.disk, number).ok()?;
        let in_use = NtfsFileFlags::IN_USE | NtfsFileFlags::IS_DIRECTORY;
        if !file.flags().contains(in_use) {
            return None;
        }
        if !self.is_whole(&file).ok()? {
            return None;
        }
        let folder = self.name_of(&file).ok()??;
        if self.folders.len() < NTFS_FOLDERS_KEPT {
            self.folders.insert(number, folder.clone());
        }
        Some(folder)
    }

    /// A file's name; of several the first that is no short one.
    fn name_of(&mut self, file: &NtfsFile<'_>) -> Result<Option<Folder>> {
        let mut short = None;
        let long = self.first_of(file, NtfsAttributeType::FileName, |disk, attribute| {
            let name = attribute.structured_value::<_, NtfsFileName>(disk)?;
            let found = Folder {
                above: name.parent_directory_reference().file_record_number(),
                name: name.name().to_string_lossy(),
            };
            if name.namespace() != NtfsFileNamespace::Dos {
                return Ok(Some(found));
            }
            short = Some(found);
            Ok(None)
        })?;
        Ok(long.or(short))
    }
}

/// Whether anything of a value is on the disk.
fn has_bytes(value: &NtfsAttributeValue<'_, '_>) -> bool {
    match value {
        NtfsAttributeValue::NonResident(value) => value
            .data_runs()
            .any(|run| run.map_or(true, |run| run.data_position().value().is_some())),
        other => !other.is_empty(),
    }
}
