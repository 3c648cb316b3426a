//! Items: what was put in comes out, what was changed does not.

use std::fs;
use std::path::{Path, PathBuf};

use siloscan_quarantine::{
    Bounds, Damage, ItemId, Kept, Metadata, Origin, Quarantine, QuarantineError,
};

/// A quarantine in a folder of its own, and a place beside it.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a folder"),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("quarantine")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn keep(&self) -> Quarantine {
        Quarantine::keep(&self.folder(), Bounds::default()).expect("the folder is ours")
    }

    /// What lies in the quarantine's folder, by the ends of names.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.to_string_lossy().ends_with(end))
            .collect();
        paths.sort();
        paths
    }

    /// Names in the folder above.
    fn names_beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name != "quarantine").collect()
    }
}

fn origin(path: &str) -> Origin {
    Origin {
        time_ms: 1_700_000_000_000,
        path: Some(path.to_owned()),
        path_is_cut: false,
        container: Some("03020100-0504-0706-0809-0a0b0c0d0e0f".to_owned()),
        volume: Some("13121110-1514-1716-1819-1a1b1c1d1e1f".to_owned()),
        file_id: Some("0f".repeat(16)),
        process: Some(4_242),
        rule: "A_Rule".to_owned(),
        rules: "ab".repeat(32),
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn metadata(quarantine: &Quarantine, id: ItemId) -> Result<Metadata, QuarantineError> {
    let list = quarantine.list().expect("the folder can be read");
    let found = list.into_iter().find(|item| item.id == id);
    found.expect("the item is listed").metadata
}

#[test]
fn what_is_put_in_comes_out_with_what_was_known_of_it() {
    let place = Place::new();
    let quarantine = place.keep();
    for bytes in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let content = content(bytes);
        let mut from = origin(r"C:\a.exe");
        from.time_ms += bytes as u64;
        let Kept::New(id) = quarantine.put(&content, &from).expect("there is room") else {
            panic!("{bytes} bytes are new");
        };
        let to = place.beside(&format!("out-{bytes}"));
        let restored = quarantine.restore(id, &to).expect("it is whole");
        assert_eq!(fs::read(&to).expect("it is there"), content, "{bytes}");
        assert_eq!(restored.origin, from);
        assert_eq!(restored.size, bytes as u64);
        assert_eq!(metadata(&quarantine, id).expect("whole"), restored);
        let sealed = fs::read(&place.files(&format!("{id}.item"))[0]).expect("a file");
        let probe = &content[..content.len().min(32)];
        let shown = bytes > 16 && sealed.windows(probe.len()).any(|part| part == probe);
        assert!(!shown, "the content can be read in the item");
        let name = b"a.exe";
        assert!(!sealed.windows(name.len()).any(|part| part == name));
    }
    let listed = quarantine.list().expect("it can be read");
    let times: Vec<u64> = listed
        .iter()
        .map(|item| item.metadata.as_ref().expect("whole").origin.time_ms)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(place.files(".tmp"), Vec::<PathBuf>::new());
}

#[test]
fn the_same_file_is_kept_once_and_another_place_is_another_item() {
    let place = Place::new();
    let quarantine = place.keep();
    let first = quarantine.put(b"bytes", &origin(r"C:\a")).expect("room");
    let again = quarantine.put(b"bytes", &origin(r"C:\a")).expect("room");
    assert_eq!(again, Kept::Already(first.id()));
    let other = quarantine.put(b"bytes", &origin(r"C:\b")).expect("room");
    let changed = quarantine.put(b"Bytes", &origin(r"C:\a")).expect("room");
    assert!(matches!((other, changed), (Kept::New(_), Kept::New(_))));
    assert_eq!(place.files(".item").len(), 3);
}

#[test]
fn an_item_that_was_damaged_is_replaced_by_the_next_of_its_kind() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine.put(b"bytes", &origin("a")).expect("room").id();
    let path = place.files(".item")[0].clone();
    let mut bytes = fs::read(&path).expect("it is there");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&path, &bytes).expect("writable");
    assert_eq!(
        quarantine.put(b"bytes", &origin("a")).expect("room"),
        Kept::New(id)
    );
    quarantine.verify(id).expect("it is whole again");
}

/// Restoring fails by damage, and leaves nothing.
fn is_refused(place: &Place, quarantine: &Quarantine, id: ItemId, what: &str) -> Damage {
    let to = place.beside("out");
    match quarantine.restore(id, &to) {
        Err(QuarantineError::Damaged { id: named, damage }) => {
            assert_eq!(named, id);
            assert_eq!(place.names_beside(), Vec::<String>::new(), "{what}");
            damage
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn no_byte_can_be_changed_and_no_end_be_cut() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine
        .put(b"a few bytes", &origin("a"))
        .expect("room")
        .id();
    let path = place.files(".item")[0].clone();
    let whole = fs::read(&path).expect("it is there");
    let mut seen = Vec::new();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&path, &changed).expect("writable");
        let damage = is_refused(&place, &quarantine, id, &format!("byte {at}"));
        if !seen.contains(&damage) {
            seen.push(damage);
        }
    }
    assert!(
        seen.contains(&Damage::Head)
            && seen.contains(&Damage::Key)
            && seen.contains(&Damage::Changed)
    );
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("writable");
        is_refused(&place, &quarantine, id, &format!("{length} bytes"));
        assert!(metadata(&quarantine, id).is_err(), "{length} bytes");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).expect("writable");
    assert_eq!(
        is_refused(&place, &quarantine, id, "longer"),
        Damage::Length
    );
    fs::write(&path, &whole).expect("writable");
    quarantine.verify(id).expect("the whole one is good");
}

#[test]
fn pieces_cannot_be_exchanged_and_items_not_renamed() {
    let place = Place::new();
    let quarantine = place.keep();
    let bytes = vec![7; 3 * 65_536];
    let id = quarantine.put(&bytes, &origin("a")).expect("room").id();
    let path = place.files(".item")[0].clone();
    let mut sealed = fs::read(&path).expect("it is there");
    let piece = 65_536 + 16;
    let begin = sealed.len() - 3 * piece;
    let (first, rest) = sealed[begin..].split_at_mut(piece);
    first.swap_with_slice(&mut rest[..piece]);
    fs::write(&path, &sealed).expect("writable");
    assert_eq!(
        is_refused(&place, &quarantine, id, "swapped"),
        Damage::Changed
    );

    let other = quarantine.put(b"other", &origin("b")).expect("room").id();
    let of_other = place.files(&format!("{other}.item"))[0].clone();
    fs::copy(&of_other, &path).expect("writable");
    assert_eq!(
        is_refused(&place, &quarantine, id, "renamed"),
        Damage::Changed
    );
}

#[test]
fn another_key_opens_nothing_and_says_so() {
    let (one, two) = (Place::new(), Place::new());
    let id = one.keep().put(b"bytes", &origin("a")).expect("room").id();
    drop(two.keep());
    fs::copy(two.folder().join("key"), one.folder().join("key")).expect("writable");
    let quarantine = Quarantine::open(&one.folder()).expect("a key is there");
    assert_eq!(is_refused(&one, &quarantine, id, "key"), Damage::Key);
    let listed = quarantine.list().expect("the folder can be read");
    assert!(matches!(
        listed[0].metadata,
        Err(QuarantineError::Damaged { .. })
    ));
}

#[test]
fn a_damaged_item_hides_no_other() {
    let place = Place::new();
    let quarantine = place.keep();
    let bad = quarantine.put(b"bad", &origin("a")).expect("room").id();
    let good = quarantine.put(b"good", &origin("b")).expect("room").id();
    fs::write(&place.files(&format!("{bad}.item"))[0], b"nothing").expect("writable");
    let listed = quarantine.list().expect("the folder can be read");
    let ids: Vec<ItemId> = listed.iter().map(|item| item.id).collect();
    assert_eq!(ids, [good, bad]);
    assert!(listed[0].metadata.is_ok() && listed[1].metadata.is_err());
}

#[test]
fn a_full_quarantine_takes_nothing_and_leaves_nothing() {
    let place = Place::new();
    let bounds = Bounds {
        bytes_max: 10_000,
        items_max: 2,
    };
    let quarantine = Quarantine::keep(&place.folder(), bounds).expect("ours");
    let full = |outcome: Result<Kept, QuarantineError>| {
        assert!(
            matches!(outcome, Err(QuarantineError::Full { .. })),
            "{outcome:?}"
        );
        assert_eq!(place.files(".tmp"), Vec::<PathBuf>::new());
    };
    full(quarantine.put(&content(10_000), &origin("large")));
    let first = quarantine.put(b"1", &origin("1")).expect("room").id();
    full(quarantine.put(&content(9_500), &origin("large")));
    quarantine.put(b"2", &origin("2")).expect("room");
    full(quarantine.put(b"3", &origin("3")));
    assert_eq!(
        quarantine.put(b"1", &origin("1")).expect("it is there"),
        Kept::Already(first)
    );
    quarantine.delete(first).expect("it is there");
    quarantine.put(b"3", &origin("3")).expect("room again");
    let error = quarantine.delete(first).expect_err("it is gone");
    assert!(error.to_string().contains(&first.to_string()), "{error}");
}

#[test]
fn restoring_replaces_nothing() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine.put(b"bytes", &origin("a")).expect("room").id();
    let to = place.beside("there");
    fs::write(&to, b"mine").expect("writable");
    let refused = quarantine.restore(id, &to);
    assert!(
        matches!(refused, Err(QuarantineError::Exists(_))),
        "{refused:?}"
    );
    assert_eq!(fs::read(&to).expect("it is there"), b"mine");
    assert_eq!(place.names_beside(), ["there"]);
    let nowhere = quarantine.restore(id, &place.beside("no/such/folder"));
    assert!(
        matches!(nowhere, Err(QuarantineError::Io { .. })),
        "{nowhere:?}"
    );
    assert!(quarantine.restore(id, Path::new("/")).is_err());
    quarantine.restore(id, &place.beside("new")).expect("free");
    quarantine.verify(id).expect("it stays in the quarantine");
}

#[test]
fn of_many_that_restore_to_one_name_one_does() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine.put(b"bytes", &origin("a")).expect("room").id();
    for round in 0..50 {
        let to = place.beside(&round.to_string());
        let start = std::sync::Barrier::new(4);
        let done = std::thread::scope(|scope| {
            let restore = || {
                start.wait();
                quarantine.restore(id, &to).is_ok()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(restore)).collect();
            let done = threads.into_iter().map(|it| it.join().expect("no panic"));
            done.filter(|done| *done).count()
        });
        assert_eq!(done, 1, "round {round}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_at_the_target_is_not_followed() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine.put(b"bytes", &origin("a")).expect("room").id();
    let link = place.beside("link");
    std::os::unix::fs::symlink(place.beside("elsewhere"), &link).expect("a link");
    let refused = quarantine.restore(id, &link);
    assert!(
        matches!(refused, Err(QuarantineError::Exists(_))),
        "{refused:?}"
    );
    assert!(!place.beside("elsewhere").exists());
}

#[test]
fn an_id_is_found_by_its_first_digits() {
    let place = Place::new();
    let quarantine = place.keep();
    let id = quarantine.put(b"bytes", &origin("a")).expect("room").id();
    let text = id.to_string();
    assert_eq!(text.len(), 16);
    for length in 4..=16 {
        assert_eq!(quarantine.find(&text[..length]).expect("one"), id);
    }
    assert_eq!(quarantine.find(&text.to_uppercase()).expect("one"), id);
    for wrong in ["", "abc", "../../etc", "\u{1b}[2J", &format!("{text}0")] {
        let error = quarantine.find(wrong).expect_err("no id");
        assert!(matches!(error, QuarantineError::BadId(_)), "{error:?}");
        assert!(!error.to_string().chars().any(char::is_control));
    }
    let none = if text.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    assert!(matches!(
        quarantine.find(none),
        Err(QuarantineError::NoItem(_))
    ));
    // A second id with the same first digits; its content is not looked at.
    let last = if text.ends_with('0') { '1' } else { '0' };
    let twin = format!("{}{last}.item", &text[..15]);
    fs::write(place.folder().join(twin), b"").expect("writable");
    let error = quarantine.find(&text[..4]).expect_err("two");
    assert!(
        matches!(error, QuarantineError::Ambiguous { items: 2, .. }),
        "{error:?}"
    );
    assert_eq!(quarantine.find(&text).expect("all digits"), id);
}
