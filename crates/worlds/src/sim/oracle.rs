//! Knows the true bytes behind every name at every moment, and judges each open by them. It only
//! watches: it asks neither the driver nor the file system.

use std::collections::BTreeMap;

use filterhost::machine;
use filterhost::status::NtStatus;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::scene::INFECTED;

/// Where a name belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Space {
    /// The host's system volume.
    Host,
    /// The volume of the layer that all containers share.
    Layer,
    /// What a container sees: its own file, or else the layer's of the same name.
    Container(usize),
}

/// A file's name, without a drive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Where it belongs.
    pub space: Space,
    /// `\app\tool.exe`.
    pub path: String,
}

/// What is behind a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Bytes {
    /// Nothing of its own: a container sees the layer's file, elsewhere there is no file.
    #[default]
    Nothing,
    /// A file that was deleted; in a container also the layer's is hidden.
    Gone,
    /// A file with these bytes.
    Here(Vec<u8>),
    /// An operation failed half way: nothing is claimed about the file's bytes any more.
    Unknown,
    /// A layer's file with these bytes was renamed over another one. Which of the two a container
    /// sees from then on, no page says.
    Swapped(Vec<u8>),
}

#[derive(Default)]
struct Slot {
    bytes: Bytes,
    version: u64,
    changing: u32,
    /// No two changes overlapped since nobody was changing it.
    alone: bool,
    /// It was [`Bytes::Swapped`] once.
    swapped: bool,
}

/// What was known of a place at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// The bytes, where they are known and nobody is changing them.
    pub bytes: Option<Vec<u8>>,
    /// Nobody is changing them.
    quiet: bool,
    /// Moves with every change of what the name stands for.
    version: (u64, u64),
}

/// How many opens were judged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Opens for reading, judged or not.
    pub opens: u64,
    /// Opens of infected bytes that were known all the while, and were refused.
    pub refused: u64,
    /// Opens of clean bytes that were known all the while, and succeeded.
    pub served: u64,
    /// Changes that were made.
    pub changes: u64,
}

impl Figures {
    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        self.opens += other.opens;
        self.refused += other.refused;
        self.served += other.served;
        self.changes += other.changes;
    }
}

/// The oracle of one world.
#[derive(Default)]
pub struct Oracle {
    slots: Mutex<BTreeMap<Place, Slot>>,
    figures: Mutex<Figures>,
    story: Mutex<Vec<String>>,
}

/// Whether the built-in rule calls these bytes infected: the 68 bytes of EICAR, followed by
/// nothing but white space, 128 bytes at most.
#[must_use]
pub fn is_infected(bytes: &[u8]) -> bool {
    let eicar = siloscan_service::engine::eicar_test_file();
    let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x1a);
    bytes.len() <= 128
        && bytes
            .strip_prefix(eicar.as_slice())
            .is_some_and(|rest| rest.iter().all(white))
}

impl Oracle {
    /// What is known of `place` now.
    #[must_use]
    pub fn look(&self, place: &Place) -> Look {
        let slots = self.slots.lock();
        let none = Slot::default();
        let own = slots.get(place).unwrap_or(&none);
        let below = match (&place.space, &own.bytes) {
            (Space::Container(_), Bytes::Nothing) => slots.get(&Place {
                space: Space::Layer,
                path: place.path.clone(),
            }),
            _ => None,
        };
        let seen = below.unwrap_or(own);
        let quiet = own.changing == 0 && seen.changing == 0;
        let bytes = match &seen.bytes {
            Bytes::Here(bytes) if quiet && !below.is_some_and(|slot| slot.swapped) => {
                Some(bytes.clone())
            }
            _ => None,
        };
        Look {
            bytes,
            quiet,
            version: (own.version, below.map_or(0, |slot| slot.version)),
        }
    }

    /// A change of `places` begins: what they hold is uncertain until it has ended.
    pub fn begin(&self, places: &[&Place]) {
        let mut slots = self.slots.lock();
        for place in places {
            let slot = slots.entry((*place).clone()).or_default();
            slot.alone = slot.changing == 0;
            slot.changing += 1;
            slot.version += 1;
        }
    }

    /// Whether since `before` nothing happened to `place` but the beginning of one change.
    #[must_use]
    pub fn is_still_but_for_one(&self, place: &Place, before: &Look) -> bool {
        let (own, below) = self.look(place).version;
        own == before.version.0 + 1 && below == before.version.1
    }

    /// A change has ended; what each place holds now, `None` where it holds what it held.
    pub fn end(&self, places: &[(&Place, Option<Bytes>)]) {
        let mut slots = self.slots.lock();
        for (place, bytes) in places {
            let slot = slots.entry((*place).clone()).or_default();
            slot.changing -= 1;
            slot.version += 1;
            if let Some(bytes) = bytes {
                let bytes = match bytes {
                    Bytes::Swapped(now) => {
                        slot.swapped = true;
                        &Bytes::Here(now.clone())
                    }
                    other => other,
                };
                // Two changes at once: which one came last only the file system knows.
                slot.bytes = match slot.changing {
                    0 if slot.alone => bytes.clone(),
                    _ => Bytes::Unknown,
                };
            }
        }
        self.figures.lock().changes += 1;
    }

    /// Judges an open for reading: what was known before it, what it gave, what is known after.
    ///
    /// # Panics
    /// With the story so far, where a promise is broken.
    pub fn judge(&self, place: &Place, before: &Look, got: &Result<Option<Vec<u8>>, NtStatus>) {
        let after = self.look(place);
        self.figures.lock().opens += 1;
        if !before.quiet || *before != after {
            return;
        }
        let broken = match (got, before.bytes.as_deref()) {
            // Whatever was believed of them: nobody changed the bytes, and there they are.
            (Ok(Some(read)), _) if is_infected(read) => Some("I1: infected bytes were opened"),
            (_, None) => None,
            (got, Some(bytes)) => self.known(got, bytes),
        };
        if let Some(promise) = broken {
            panic!("{promise}: {place:?}");
        }
    }

    /// Judges an open of bytes that are known.
    fn known(&self, got: &Result<Option<Vec<u8>>, NtStatus>, bytes: &[u8]) -> Option<&'static str> {
        match (got, is_infected(bytes)) {
            (Err(INFECTED), true) => {
                self.figures.lock().refused += 1;
                None
            }
            (Ok(_), true) => Some("I1: infected bytes were opened"),
            (Err(INFECTED), false) => Some("clean bytes were called infected"),
            (Ok(Some(read)), false) if read != bytes => Some("I8: other bytes than were written"),
            (Ok(_), false) => {
                self.figures.lock().served += 1;
                None
            }
            (Err(_), _) => None,
        }
    }

    /// Writes a line of the story: when, who, what, and what came of it.
    pub fn tell(&self, what: &str, came: &dyn std::fmt::Debug) {
        let (m, thread) = (machine::current(), machine::current_thread());
        let time = m.sched().now().0 / 10;
        let line = format!("{time:>12} us  {:<12} {what}: {came:?}", thread.name());
        self.story.lock().push(line);
    }

    /// The story so far.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        self.story.lock().clone()
    }

    /// The figures so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.figures.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(space: Space) -> Place {
        Place {
            space,
            path: r"\f".to_owned(),
        }
    }

    fn put(oracle: &Oracle, place: &Place, bytes: Bytes) {
        oracle.begin(&[place]);
        oracle.end(&[(place, Some(bytes))]);
    }

    #[test]
    fn a_container_sees_the_layers_file_until_it_has_its_own() {
        let oracle = Oracle::default();
        let (layer, container) = (place(Space::Layer), place(Space::Container(1)));
        put(&oracle, &layer, Bytes::Here(b"layer".to_vec()));
        assert_eq!(
            oracle.look(&container).bytes.as_deref(),
            Some(&b"layer"[..])
        );
        put(&oracle, &container, Bytes::Here(b"own".to_vec()));
        assert_eq!(oracle.look(&container).bytes.as_deref(), Some(&b"own"[..]));
        put(&oracle, &container, Bytes::Gone);
        assert_eq!(oracle.look(&container).bytes, None);
    }

    #[test]
    fn nothing_is_claimed_while_a_file_changes_or_after_it_did() {
        let oracle = Oracle::default();
        let (layer, container) = (place(Space::Layer), place(Space::Container(1)));
        let eicar = siloscan_service::engine::eicar_test_file().to_vec();
        put(&oracle, &layer, Bytes::Here(eicar.clone()));
        let before = oracle.look(&container);
        oracle.begin(&[&layer]);
        oracle.judge(&container, &before, &Ok(Some(eicar)));
        oracle.end(&[(&layer, None)]);
        oracle.judge(&container, &before, &Ok(None));
        assert_eq!(oracle.figures().served + oracle.figures().refused, 0);
    }

    #[test]
    fn two_changes_at_once_leave_nothing_known() {
        let oracle = Oracle::default();
        let host = place(Space::Host);
        oracle.begin(&[&host]);
        oracle.begin(&[&host]);
        oracle.end(&[(&host, Some(Bytes::Here(b"a".to_vec())))]);
        oracle.end(&[(&host, Some(Bytes::Here(b"b".to_vec())))]);
        assert_eq!(oracle.look(&host).bytes, None);
    }

    #[test]
    #[should_panic(expected = "I1: infected bytes were opened")]
    fn an_infected_open_is_seen() {
        let oracle = Oracle::default();
        let host = place(Space::Host);
        let eicar = siloscan_service::engine::eicar_test_file().to_vec();
        put(&oracle, &host, Bytes::Here(eicar.clone()));
        oracle.judge(&host, &oracle.look(&host), &Ok(Some(eicar)));
    }

    #[test]
    #[should_panic(expected = "clean bytes were called infected")]
    fn a_false_detection_is_seen() {
        let oracle = Oracle::default();
        let host = place(Space::Host);
        put(&oracle, &host, Bytes::Here(b"clean".to_vec()));
        oracle.judge(&host, &oracle.look(&host), &Err(INFECTED));
    }
}
