//! Answers of the Filter Manager made by hand, hostile ones among them.

use super::*;
use crate::doctor::State;

/// An entry whose fixed part has these words before its texts, which begin at `fixed`.
fn entry(flags: u32, words: &[u32], fixed: usize, texts: &[&str]) -> Vec<u8> {
    let mut head = [&[0, flags, 0][..], words].concat();
    let head: Vec<u8> = head.drain(..).flat_map(u32::to_le_bytes).collect();
    let (mut places, mut letters) = (Vec::new(), Vec::new());
    for text in texts {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let at = fixed + letters.len();
        places.extend((bytes.len() as u16).to_le_bytes());
        places.extend((at as u16).to_le_bytes());
        letters.extend(bytes);
    }
    let mut all = [head, places].concat();
    all.resize(fixed, 0);
    [all, letters].concat()
}

fn filter(name: &str, altitude: &str, instances: u32) -> Vec<u8> {
    entry(1, &[0, instances], 28, &[name, altitude])
}

/// Entries one behind the other, as the Filter Manager links them.
fn chain(mut entries: Vec<Vec<u8>>) -> Vec<u8> {
    let last = entries.pop().unwrap_or_default();
    for entry in &mut entries {
        entry.resize(entry.len().next_multiple_of(8), 0);
        let next = entry.len() as u32;
        entry[..4].copy_from_slice(&next.to_le_bytes());
    }
    entries.push(last);
    entries.concat()
}

fn known(name: &str, altitude: &str) -> Filter {
    Filter {
        name: name.to_owned(),
        altitude: altitude.to_owned(),
        instances: 2,
        legacy: false,
    }
}

#[test]
fn answers_are_read_entry_by_entry() {
    let bytes = chain(vec![
        filter("bindflt", "409800", 1),
        entry(2, &[], 24, &["oldflt", ""]),
        filter("siloscan", "320999.5", 3),
    ]);
    let all = filters(&bytes).expect("an answer");
    let of = |it: &Filter| {
        (
            it.name.clone(),
            it.altitude.clone(),
            it.instances,
            it.legacy,
        )
    };
    let of: Vec<_> = all.iter().map(of).collect();
    assert_eq!(of[0], ("bindflt".into(), "409800".into(), 1, false));
    assert_eq!(of[1], ("oldflt".into(), String::new(), 0, true));
    assert_eq!(of[2], ("siloscan".into(), "320999.5".into(), 3, false));
    assert_eq!(of.len(), 3);

    let volume = r"\Device\HarddiskVolume3";
    let bytes = chain(vec![
        entry(1, &[0, 2], 40, &["top", "189900", volume, "wcifs"]),
        entry(2, &[], 28, &["", volume, "oldflt"]),
    ]);
    let all = instances(&bytes).expect("an answer");
    let of: Vec<_> = all
        .iter()
        .map(|it| (it.filter.as_str(), it.altitude.as_str()))
        .collect();
    assert_eq!(of, [("wcifs", "189900"), ("oldflt", "")]);
    assert!(all.iter().all(|it| it.volume == volume));
}

#[test]
fn no_bytes_lead_anywhere_but_to_an_error() {
    let good = chain(vec![filter("a", "1", 1), filter("siloscan", "320999.5", 3)]);
    for length in 0..good.len() {
        // The last text ends the answer, so no part of it is one.
        assert!(filters(&good[..length]).is_err(), "{length}");
        let _ = instances(&good[..length]);
    }
    // Every word of it, with what is least likely to be checked.
    for at in 0..good.len() - 4 {
        for word in [
            1,
            3,
            0x7fff_ffff,
            u32::MAX,
            0xffff,
            0xffff_0000,
            good.len() as u32,
        ] {
            let mut hostile = good.clone();
            hostile[at..at + 4].copy_from_slice(&word.to_le_bytes());
            let _ = (filters(&hostile), instances(&hostile));
        }
    }
    let mut odd = filter("ab", "1", 1);
    odd[20] = 3;
    assert_eq!(filters(&odd), Err(Malformed(20)));
    // Small steps through one buffer are bounded.
    let steps = vec![0_u8; 1 << 20];
    let mut steps: Vec<u8> = steps;
    for four in steps.chunks_exact_mut(32) {
        four[0] = 32;
    }
    assert!(filters(&steps).is_err());
}

#[test]
fn altitudes_are_numbers_of_any_precision() {
    for (one, other, order) in [
        ("320999.5", "320999.5", Ordering::Equal),
        ("320999.50", "0320999.5", Ordering::Equal),
        ("320999.5", "320999.45", Ordering::Greater),
        ("99999", "320000", Ordering::Less),
        (
            "100000000000000000000000000001",
            "100000000000000000000000000000",
            Ordering::Greater,
        ),
    ] {
        assert_eq!(compare(one, other), Some(order), "{one} {other}");
    }
    for none in ["", "x", "1.x", "-1", "1.2.3", ".5"] {
        assert_eq!(compare(none, "1"), None, "{none}");
    }
}

fn state(all: &[Filter], check: &str) -> (State, String) {
    let row = rows(all).into_iter().find(|row| row.check == check);
    row.map(|row| (row.state, row.found)).expect("a row")
}

#[test]
fn what_is_usual_is_well_and_what_is_not_is_told() {
    let usual = [
        known("siloscan", "320999.5"),
        known("WdFilter", "328010"),
        known("wcifs", "189900"),
        known("bindflt", "409800"),
    ];
    assert!(
        rows(&usual).iter().all(|row| row.state == State::Ok),
        "{:?}",
        rows(&usual)
    );
    assert!(state(&usual, "other scanners").1.contains("above siloscan"));
    assert!(
        state(&usual, "container filter")
            .1
            .contains("below siloscan")
    );
    assert_eq!(state(&[], "driver").0, State::Bad);
    assert_eq!(state(&[], "container filter").0, State::Warning);
    assert_eq!(state(&[], "bind filter").0, State::NotHere);
    let detached = Filter {
        instances: 0,
        ..known("siloscan", "320999.5")
    };
    assert_eq!(state(&[detached], "driver").0, State::Bad);
    assert_eq!(
        state(&[known("SILOSCAN", "265000")], "driver").0,
        State::Warning
    );
    let two = [
        known("siloscan", "320999.5"),
        known("klif", "320400"),
        known("x", "330000"),
    ];
    let (told, found) = state(&two, "other scanners");
    assert_eq!(
        (told, found.as_str()),
        (State::Warning, "klif at 320400, below siloscan")
    );
    let below = [known("siloscan", "100"), known("wcifs", "189900")];
    assert_eq!(state(&below, "container filter").0, State::Bad);
    let legacy = Filter {
        legacy: true,
        ..known("old", "")
    };
    assert_eq!(state(&[legacy], "legacy filters").0, State::Warning);
}

#[test]
fn a_containers_volume_without_ours_is_bad() {
    let on = |volume: &str| Instance {
        filter: String::new(),
        volume: volume.to_owned(),
        altitude: String::new(),
    };
    let ours = [on(r"\Device\A"), on(r"\Device\B")];
    assert_eq!(coverage(&ours, &[on(r"\DEVICE\a")]).state, State::Ok);
    let bare = coverage(&ours, &[on(r"\Device\A"), on(r"\Device\C")]);
    assert_eq!(bare.state, State::Bad);
    assert!(bare.found.contains(r"\Device\C") && !bare.found.contains(r"\Device\A"));
}
