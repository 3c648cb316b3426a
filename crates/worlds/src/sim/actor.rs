//! What users do: read, write, cut, map, rename and delete files, cleanly or with malware.

use std::sync::Arc;

use fastrand::Rng;
use filterhost::status::NtStatus;
use filterhost::user::{FileHandle, OpenOptions, Process};
use siloscan_service::engine::eicar_test_file;

use super::oracle::{Bytes, Oracle, Place, Space};

const PAGE_READWRITE: u32 = 4;
const SEC_COMMIT: u32 = 0x800_0000;

/// Package files of the layer.
pub const PACKAGE: [&str; 4] = [
    r"\app\one.exe",
    r"\app\two.dll",
    r"\app\three.dll",
    r"\app\four.bin",
];
/// Files of a user's own.
const OWN: [&str; 3] = [r"\own1.txt", r"\own2.com", r"\own3.tmp"];

/// One user.
pub struct Actor {
    /// Whom it tells what it does.
    pub oracle: Arc<Oracle>,
    /// Where it works.
    pub space: Space,
    /// The drive of that space.
    pub drive: char,
    /// Its dice.
    pub dice: Rng,
}

/// Bytes that are clean, infected, or infected as soon as they are cut.
fn content(dice: &mut Rng) -> Vec<u8> {
    let mut bytes = eicar_test_file().to_vec();
    match dice.u8(..100) {
        0..30 => bytes,
        30..45 => {
            bytes.extend_from_slice(&[b'x'; 100]);
            bytes
        }
        _ => format!("clean {:016x}", dice.u64(..)).into_bytes(),
    }
}

impl Actor {
    /// Does `count` things, one after the other.
    pub fn work(&mut self, p: &Process, count: usize) {
        for _ in 0..count {
            self.one(p);
        }
    }

    fn one(&mut self, p: &Process) {
        let place = self.place();
        match self.dice.u8(..100) {
            0..45 => self.read(p, &place),
            45..60 => self.write_whole(p, &place),
            60..70 => self.write_in_place(p, &place),
            70..78 => self.cut(p, &place),
            78..86 => self.write_mapped(p, &place),
            86..93 => self.swap(p, &place),
            _ => self.delete(p, &place),
        }
    }

    fn place(&mut self) -> Place {
        let package = self.space != Space::Host && self.dice.u8(..10) < 7;
        let path = match (package || self.space == Space::Layer, self.dice.usize(..12)) {
            (true, n) => PACKAGE[n % PACKAGE.len()],
            (false, n) => OWN[n % OWN.len()],
        };
        Place {
            space: self.space,
            path: path.to_owned(),
        }
    }

    fn path(&self, place: &Place) -> String {
        format!("{}:{}", self.drive, place.path)
    }

    /// Opens for reading or running, reads, closes; judged by the oracle.
    fn read(&mut self, p: &Process, place: &Place) {
        let path = self.path(place);
        let run = self.dice.u8(..4) == 0;
        let before = self.oracle.look(place);
        let got = if run {
            let opened = p.open(&OpenOptions::new(&path).execute());
            opened.map(|file| {
                let _closed = file.close();
                None
            })
        } else {
            p.read_file(&path).map(Some)
        };
        self.oracle.tell(
            &format!("{} {path}", if run { "runs" } else { "reads" }),
            &got.as_ref()
                .map(|bytes| bytes.as_ref().map(|bytes| text(bytes))),
        );
        self.oracle.judge(place, &before, &got);
    }

    /// Makes the file anew, or overwrites it.
    fn write_whole(&mut self, p: &Process, place: &Place) {
        let (path, bytes) = (self.path(place), content(&mut self.dice));
        self.oracle.begin(&[place]);
        let now = create(p, &path, &bytes);
        self.oracle
            .tell(&format!("writes {} to {path}", text(&bytes)), &came(&now));
        self.oracle.end(&[(place, now)]);
    }

    /// Writes over the first bytes of a file that is there.
    fn write_in_place(&mut self, p: &Process, place: &Place) {
        let bytes = content(&mut self.dice);
        let what = format!("writes {} over", text(&bytes));
        self.change(p, place, &what, |file, base| {
            file.write_at(0, &bytes)?;
            Ok(over(base, &bytes))
        });
    }

    /// Writes through a mapping, past the I/O stack.
    fn write_mapped(&mut self, p: &Process, place: &Place) {
        let bytes = content(&mut self.dice);
        let what = format!("maps and writes {} over", text(&bytes));
        self.change(p, place, &what, |file, base| {
            let section = file.create_section(PAGE_READWRITE, SEC_COMMIT)?;
            let view = section.map();
            let written = view.and_then(|view| {
                let room = usize::try_from(view.size()).unwrap_or(0).min(bytes.len());
                let part = bytes.get(..room).unwrap_or(&[]);
                view.write(0, part)?;
                Ok(over(base, part))
            });
            section.close()?;
            written
        });
    }

    /// Cuts a file to the length of the test file.
    fn cut(&mut self, p: &Process, place: &Place) {
        self.change(p, place, "cuts", |file, base| {
            file.set_end_of_file(68)?;
            let mut now = base.to_vec();
            now.resize(68, 0);
            Ok(now)
        });
    }

    /// Opens a file for writing and changes it; `how` gives what it holds then.
    fn change(
        &mut self,
        p: &Process,
        place: &Place,
        what: &str,
        how: impl FnOnce(&FileHandle, &[u8]) -> Result<Vec<u8>, NtStatus>,
    ) {
        let path = self.path(place);
        let before = self.oracle.look(place);
        self.oracle.begin(&[place]);
        let opened = p.open(&OpenOptions::new(&path).read().write());
        let now = match opened {
            // A container's file may have been copied from the layer, and then been refused.
            Err(_) if matches!(self.space, Space::Container(_)) => Some(Bytes::Unknown),
            Err(_) => None,
            Ok(file) => {
                let base = before.bytes.clone().unwrap_or_default();
                let done = how(&file, &base);
                let _closed = file.close();
                Some(match done {
                    Ok(now) if self.is_still(place, &before) => Bytes::Here(now),
                    _ => Bytes::Unknown,
                })
            }
        };
        self.oracle.tell(&format!("{what} {path}"), &came(&now));
        self.oracle.end(&[(place, now)]);
    }

    /// Whether the bytes that a change began with were known, and not changed by others meanwhile.
    fn is_still(&self, place: &Place, before: &super::oracle::Look) -> bool {
        before.bytes.is_some() && self.oracle.is_still_but_for_one(place, before)
    }

    /// Makes a new file and renames it over `place`.
    fn swap(&mut self, p: &Process, place: &Place) {
        let from = Place {
            space: self.space,
            path: format!(r"\swap{:x}.tmp", self.dice.u32(..)),
        };
        let bytes = content(&mut self.dice);
        let (path, temporary) = (self.path(place), self.path(&from));
        self.oracle.begin(&[place, &from]);
        let made = create(p, &temporary, &bytes);
        let renamed = p.rename_file(&temporary, &path, true);
        self.oracle.tell(
            &format!("renames {} over {path}", text(&bytes)),
            &(came(&made), &renamed),
        );
        let (there, here) = match (made, renamed) {
            (Some(Bytes::Here(now)), Ok(())) if self.space == Space::Layer => {
                (Some(Bytes::Swapped(now)), Some(Bytes::Gone))
            }
            (Some(made), Ok(())) => (Some(made), Some(Bytes::Gone)),
            (made, Err(_)) => (None, made),
            (None, Ok(())) => (Some(Bytes::Unknown), None),
        };
        self.oracle.end(&[(place, there), (&from, here)]);
    }

    fn delete(&mut self, p: &Process, place: &Place) {
        // A layer's files stay: a container that lost one has nothing to say about it.
        if self.space == Space::Layer {
            return;
        }
        let path = self.path(place);
        self.oracle.begin(&[place]);
        let opened = p.open(&OpenOptions::new(&path).delete());
        let now = opened.ok().map(|file| {
            let deleted = file.delete();
            let _closed = file.close();
            deleted.map_or(Bytes::Unknown, |()| Bytes::Gone)
        });
        self.oracle.tell(&format!("deletes {path}"), &came(&now));
        self.oracle.end(&[(place, now)]);
    }
}

/// Creates or overwrites a file; `None` where it is as it was.
pub fn create(p: &Process, path: &str, bytes: &[u8]) -> Option<Bytes> {
    let file = p
        .open(&OpenOptions::new(path).write().create_always())
        .ok()?;
    let written = file.write_at(0, bytes);
    let _closed = file.close();
    Some(written.map_or(Bytes::Unknown, |_| Bytes::Here(bytes.to_vec())))
}

fn over(base: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut now = bytes.to_vec();
    now.extend_from_slice(base.get(bytes.len()..).unwrap_or(&[]));
    now
}

/// What came of a change, in few words.
fn came(now: &Option<Bytes>) -> String {
    match now {
        None => "refused".to_owned(),
        Some(Bytes::Here(bytes) | Bytes::Swapped(bytes)) => text(bytes),
        Some(other) => format!("{other:?}"),
    }
}

/// Bytes in few words, for the story.
fn text(bytes: &[u8]) -> String {
    let kind = if super::oracle::is_infected(bytes) {
        "malware"
    } else if bytes.starts_with(&eicar_test_file()) {
        "malware and a tail"
    } else {
        return format!("{:?}", String::from_utf8_lossy(bytes));
    };
    format!("<{kind}, {} bytes>", bytes.len())
}
