//! The folder: who may use it, and what an interrupted service leaves there.

use std::fs;
use std::path::PathBuf;

use siloscan_quarantine::{Bounds, Origin, Quarantine, QuarantineError};

fn origin() -> Origin {
    Origin {
        rule: "A_Rule".to_owned(),
        ..Origin::default()
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("quarantine");
    (root, folder)
}

fn keep(folder: &std::path::Path) -> Result<Quarantine, QuarantineError> {
    Quarantine::keep(folder, Bounds::default())
}

#[test]
fn leftovers_of_a_crash_are_swept_by_the_service_and_by_nobody_else() {
    let (_root, folder) = place();
    let quarantine = keep(&folder).expect("ours");
    let id = quarantine.put(b"bytes", &origin()).expect("room").id();
    drop(quarantine);
    let leftover = folder.join("0011223344556677.tmp");
    fs::write(&leftover, b"half of an item").expect("writable");
    let command = Quarantine::open(&folder).expect("it is there");
    assert_eq!(command.list().expect("readable").len(), 1);
    assert!(leftover.exists(), "another one may be writing it just now");
    let quarantine = keep(&folder).expect("ours");
    assert!(!leftover.exists());
    quarantine.verify(id).expect("items stay");
}

#[test]
fn an_item_that_was_written_and_not_yet_named_is_an_item_again() {
    let (_root, folder) = place();
    let quarantine = keep(&folder).expect("ours");
    let id = quarantine.put(b"bytes", &origin()).expect("room").id();
    drop(quarantine);
    let item = folder.join(format!("{id}.item"));
    let whole = fs::read(&item).expect("sealed");
    let leftover = folder.join(format!("0011223344556677-{id}.tmp"));
    let ids = |quarantine: &Quarantine| -> Vec<String> {
        let listed = quarantine.list().expect("readable");
        listed.iter().map(|item| item.id.to_string()).collect()
    };

    // The service ended just before the item got its name.
    fs::rename(&item, &leftover).expect("ours");
    let quarantine = keep(&folder).expect("ours");
    assert_eq!(ids(&quarantine), [id.to_string()]);
    quarantine.verify(id).expect("whole");
    assert!(!leftover.exists());
    drop(quarantine);

    // The same over an item that was damaged, and beside one that is whole.
    for content in [&b"damaged"[..], &whole] {
        fs::write(&item, content).expect("writable");
        fs::write(&leftover, &whole).expect("writable");
        keep(&folder).expect("ours").verify(id).expect("whole");
        assert!(!leftover.exists());
    }

    // Half of one is none, and neither is another one's.
    fs::remove_file(&item).expect("ours");
    let other = folder.join("0011223344556677-0011223344556677.tmp");
    for (path, content) in [(&leftover, &whole[..whole.len() - 1]), (&other, &whole[..])] {
        fs::write(path, content).expect("writable");
        assert!(ids(&keep(&folder).expect("ours")).is_empty());
        assert!(!path.exists());
    }

    // What another key sealed may be whole for whoever has that key.
    let (_other_root, other_folder) = place();
    drop(keep(&other_folder).expect("ours"));
    let leftover = other_folder.join(leftover.file_name().expect("a name"));
    fs::write(&leftover, &whole).expect("writable");
    let quarantine = keep(&other_folder).expect("ours");
    assert!(ids(&quarantine).is_empty());
    assert!(leftover.exists());
    let told = quarantine.left();
    assert!(
        matches!(told, [QuarantineError::OtherKey(path)] if *path == leftover),
        "{told:?}"
    );
}

#[test]
fn a_leftover_that_cannot_get_its_name_stays_and_is_told_and_stops_nobody() {
    let (_root, folder) = place();
    let quarantine = keep(&folder).expect("ours");
    let id = quarantine.put(b"bytes", &origin()).expect("room").id();
    assert!(quarantine.left().is_empty());
    drop(quarantine);
    let item = folder.join(format!("{id}.item"));
    let leftover = folder.join(format!("0011223344556677-{id}.tmp"));
    fs::rename(&item, &leftover).expect("ours");
    // Somebody has put something of another kind in its place.
    fs::create_dir(&item).expect("writable");
    let half = folder.join("1122334455667788.tmp");
    fs::write(&half, b"half of an item").expect("writable");
    let quarantine = keep(&folder).expect("it keeps all the same");
    assert!(leftover.exists() && !half.exists());
    assert_eq!(quarantine.left().len(), 1, "{:?}", quarantine.left());
    drop(quarantine);

    fs::remove_dir(&item).expect("ours");
    let quarantine = keep(&folder).expect("ours");
    assert!(quarantine.left().is_empty());
    quarantine
        .verify(id)
        .expect("the next start makes it an item");
}

#[test]
fn an_item_that_is_being_written_says_which_it_will_be() {
    let (_root, folder) = place();
    let quarantine = keep(&folder).expect("ours");
    let seen = std::sync::OnceLock::new();
    let mut ids = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while seen.get().is_none() {
                let names = fs::read_dir(&folder).expect("readable");
                let mut names =
                    names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                if let Some(name) = names.find(|name| name.ends_with(".tmp")) {
                    let _ = seen.set(name);
                }
            }
        });
        for number in 0_u64.. {
            let content = [&number.to_le_bytes()[..], &[0; 1 << 20]].concat();
            let id = quarantine.put(&content, &origin()).expect("room").id();
            ids.push(format!("-{id}.tmp"));
            quarantine.delete(id).expect("ours");
            if seen.get().is_some() {
                break;
            }
        }
    });
    let name = seen.get().expect("it was seen");
    assert!(ids.iter().any(|end| name.ends_with(end)), "{name}");
}

#[test]
fn files_of_others_are_never_swept() {
    let (_root, folder) = place();
    drop(keep(&folder).expect("ours"));
    let names = [
        "notes.tmp",
        "0011223344556677.tmp.tmp",
        "001122334455667G.tmp",
        "0011223344556677-.tmp",
        "0011223344556677-notes.tmp",
        "notes-0011223344556677.tmp",
    ];
    for name in names {
        fs::write(folder.join(name), b"mine").expect("writable");
    }
    fs::create_dir(folder.join("0011223344556678.tmp")).expect("writable");
    drop(keep(&folder).expect("ours"));
    assert!(names.iter().all(|name| folder.join(name).exists()));
    // Without a key the folder may be anybody's.
    fs::remove_file(folder.join("key")).expect("ours");
    fs::write(folder.join("0011223344556677.tmp"), b"mine").expect("writable");
    drop(keep(&folder).expect("ours"));
    assert!(folder.join("0011223344556677.tmp").exists());
}

#[test]
fn one_service_at_a_time_puts_items_in() {
    let (_root, folder) = place();
    let first = keep(&folder).expect("ours");
    assert!(matches!(keep(&folder), Err(QuarantineError::InUse(_))));
    drop(first);
    keep(&folder).expect("free again");
}

#[test]
fn no_key_is_made_where_items_wait_for_one() {
    let (_root, folder) = place();
    let quarantine = keep(&folder).expect("ours");
    quarantine.put(b"bytes", &origin()).expect("room");
    drop(quarantine);
    let key = folder.join("key");
    let whole = fs::read(&key).expect("a key");
    fs::remove_file(&key).expect("ours");
    assert!(matches!(keep(&folder), Err(QuarantineError::KeyGone(_))));
    assert!(matches!(
        Quarantine::open(&folder),
        Err(QuarantineError::KeyGone(_))
    ));
    for wrong in [
        &whole[..whole.len() - 2],
        b"",
        b"\xff\xfe",
        &[&whole[..], b"\n"].concat(),
    ] {
        fs::write(&key, wrong).expect("writable");
        restrict(&key);
        let error = keep(&folder).expect_err("no key");
        assert!(matches!(error, QuarantineError::KeyDamaged(_)), "{error:?}");
    }
    fs::write(&key, whole).expect("writable");
    keep(&folder).expect("the key is back");
}

#[cfg(unix)]
fn restrict(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

#[cfg(not(unix))]
fn restrict(_path: &std::path::Path) {}

#[test]
fn a_command_makes_no_folder() {
    let (_root, folder) = place();
    assert!(matches!(
        Quarantine::open(&folder),
        Err(QuarantineError::NoFolder(_))
    ));
    assert!(!folder.exists());
}

#[cfg(unix)]
mod rights {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn what_is_made_is_the_owners_alone() {
        let (_root, folder) = place();
        let quarantine = keep(&folder).expect("ours");
        let id = quarantine.put(b"bytes", &origin()).expect("room").id();
        assert_eq!(mode(&folder), 0o700);
        for name in ["key", "lock", &format!("{id}.item")] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_folder_or_a_key_that_others_can_use_is_refused() {
        let (_root, folder) = place();
        drop(keep(&folder).expect("ours"));
        let set = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        for (path, wrong, right) in [
            (folder.clone(), 0o750, 0o700),
            (folder.clone(), 0o707, 0o700),
            (folder.join("key"), 0o640, 0o600),
        ] {
            set(&path, wrong);
            for error in [keep(&folder).err(), Quarantine::open(&folder).err()] {
                let error = error.expect("refused");
                assert!(matches!(error, QuarantineError::Open { .. }), "{error:?}");
                assert!(error.to_string().contains("chmod"), "{error}");
            }
            set(&path, right);
        }
        keep(&folder).expect("as it was");
    }

    #[test]
    fn a_link_is_followed_nowhere() {
        let (root, folder) = place();
        drop(keep(&folder).expect("ours"));
        let link = root.path().join("link");
        symlink(&folder, &link).expect("a link");
        assert!(matches!(keep(&link), Err(QuarantineError::NotPlain(_))));
        let key = folder.join("key");
        let away = root.path().join("key");
        fs::rename(&key, &away).expect("ours");
        symlink(&away, &key).expect("a link");
        assert!(matches!(keep(&folder), Err(QuarantineError::NotPlain(_))));
        let file = root.path().join("file");
        fs::write(&file, b"").expect("writable");
        assert!(matches!(keep(&file), Err(QuarantineError::NotPlain(_))));
    }
}
