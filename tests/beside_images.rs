//! Beside another vendor's filter as a driver image of its own (`tests/drivers/antivirus.c`):
//! above and below, one that asks as we do, one that clears up after itself or after us, one
//! that leaves bits or lies, a projection of files. `tests/beside.rs` has the same from inside
//! the host.

#[path = "../crates/filterhost/tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use filterhost::wcifs::EcpVariant;
use filterhost::{DriverHandle, LoadOptions};
use siloscan_core::reason::{Event, IgnoreReason, LookupReason, ScanReason, SkipReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::scene::{INFECTED, OTHER, containers, layer, live, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};

/// Above us; between us and the container's file system filter; below that.
const ABOVE: &str = "328010";
const BELOW: &str = "320100";
const LOWEST: &str = "189800";

/// What [`OTHER`] holds before a container writes to it.
const CLEAN: &[u8] = b"MZ a clean library";
/// What a filter that renames takes for [`OTHER`].
const ALIAS: &str = r"C:\app\alias.dll";

/// What the other filter does; `antivirus.c` says the same.
#[derive(Clone, Copy)]
enum Case {
    Plain = 0,
    FreesItsOwn = 1,
    FreesAny = 2,
    LeavesBits = 3,
    Lies = 4,
    TooSmall = 5,
    Projects = 6,
    Reuses = 7,
}

fn image(case: Case) -> PathBuf {
    support::driver("antivirus", &[&format!("-DCASE={}", case as u32)])
}

fn load(world: &World, image: &PathBuf, altitude: &str) -> DriverHandle {
    let service = format!("other{altitude}");
    let instance = format!("{service} Instance");
    let options = LoadOptions::new(image, &service).instance(&instance, altitude);
    let loaded = world.machine().load_driver(&options);
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// What a container does beside these filters: it reads, and what it makes infected is denied.
/// Counters of the reading.
fn lives(world: &World, variant: EcpVariant, filters: &[(PathBuf, &str)]) -> Counts {
    let layer = layer(world);
    let loaded: Vec<_> = filters
        .iter()
        .map(|(image, altitude)| load(world, image, altitude))
        .collect();
    let containers = containers(world, &layer, 1, variant);
    let counts = live(world, &containers[0]);
    containers[0].destroy();
    for other in loaded {
        other.unload().expect("nothing of it is left");
    }
    counts
}

fn skipped(counts: &Counts) -> u64 {
    counts.get(SkipReason::RemoteLayer) + counts.get(SkipReason::CoveredLayer)
}

/// Runs a life beside one filter, and gives what is to hold of its counters.
fn beside(case: Case, altitude: &'static str, variant: EcpVariant, holds: fn(&Counts) -> bool) {
    let image = image(case);
    everywhere(&options(), move |world| {
        let counts = lives(world, variant, &[(image.clone(), altitude)]);
        assert!(holds(&counts), "{:?}", counts.named());
        assert_eq!(skipped(&counts), 0, "{:?}", counts.named());
    });
}

/// What a filter that reissues creates does; `reissue.c` says the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reissue {
    Replaces = 0,
    Renames = 1,
    Opens = 2,
    OpensAndReplaces = 3,
}

/// Times that a container opens the package file in [`reads_beside`].
const READS: u64 = 3;

/// A container reads a package file and its alias beside a filter that reissues creates: it gets
/// the right bytes, which were scanned once, and what it makes infected is denied under both
/// names. Gives the counters of the clean opens.
fn reads_beside(world: &World, image: &PathBuf, altitude: &str, alias: bool) -> Counts {
    let gate = Gate::opened();
    world.start_service(gate.clone(), 2);
    let layer = layer(world);
    let other = load(world, image, altitude);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let app = containers[0].process("app");
    app.run(|p| {
        for _ in 0..READS {
            assert_eq!(p.read_file(OTHER).as_deref(), Ok(CLEAN));
        }
    });
    let counts = world.counts();
    assert_eq!(gate.begun(CLEAN), 1, "one scan, whoever opens it");
    if alias {
        app.run(|p| assert_eq!(p.read_file(ALIAS).as_deref(), Ok(CLEAN)));
    }
    app.run(move |p| {
        p.write_file(OTHER, &eicar_test_file()).expect("copied");
        assert_eq!(p.read_file(OTHER), Err(INFECTED));
        if alias {
            assert_eq!(p.read_file(ALIAS), Err(INFECTED));
        }
    });
    containers[0].destroy();
    other.unload().expect("nothing of it is left");
    counts
}

/// Runs [`reads_beside`] everywhere, and sees that nothing was skipped or distrusted.
fn reissued(case: Reissue, altitude: &'static str, holds: fn(&Counts) -> bool) {
    let image = support::driver("reissue", &[&format!("-DCASE={}", case as u32)]);
    let alias = case == Reissue::Renames;
    let without_service = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&without_service, move |world| {
        let counts = reads_beside(world, &image, altitude, alias);
        assert_eq!(skipped(&counts), 0, "{:?}", counts.named());
        assert_eq!(counts.get(Event::EcpTainted), 0, "{:?}", counts.named());
        assert!(holds(&counts), "{:?}", counts.named());
    });
}

/// Each open was looked up as a layer's, with a question that was asked of it once.
fn asked_once(counts: &Counts) -> bool {
    counts.get(LookupReason::Layer) == READS
        && counts.get(Event::EcpAttached) == READS
        && counts.get(Event::EcpReused) == 0
}

/// The same, and the first pass of each open ended in a reparse below us, so that our own question
/// was made ready and asked again.
fn asked_twice(counts: &Counts) -> bool {
    counts.get(LookupReason::Layer) == READS
        && counts.get(Event::EcpReused) == READS
        && counts.get(IgnoreReason::Reparse) == READS
}

#[test]
fn one_above_that_replaces_the_name_hides_its_first_pass() {
    reissued(Reissue::Replaces, ABOVE, asked_once);
    reissued(Reissue::Renames, ABOVE, asked_once);
}

#[test]
fn one_below_that_replaces_the_name_lets_us_ask_again() {
    reissued(Reissue::Replaces, BELOW, asked_twice);
    reissued(Reissue::Renames, BELOW, asked_twice);
}

#[test]
fn one_above_that_opens_the_file_first_is_an_opener_like_any() {
    // Its own open and the one that it lets through or sends round.
    fn holds(counts: &Counts) -> bool {
        counts.get(LookupReason::Layer) == 2 * READS
            && counts.get(Event::EcpAttached) == 2 * READS
            && counts.get(Event::EcpReused) == 0
    }
    reissued(Reissue::Opens, ABOVE, holds);
    reissued(Reissue::OpensAndReplaces, ABOVE, holds);
}

#[test]
fn one_below_that_opens_the_file_first_may_use_our_question() {
    // It hands our parameters on to its own open, which is answered in them first.
    reissued(Reissue::Opens, BELOW, asked_once);
    reissued(Reissue::OpensAndReplaces, BELOW, asked_twice);
}

#[test]
fn one_above_that_asks_first_is_joined() {
    beside(Case::Plain, ABOVE, EcpVariant::default(), |counts| {
        counts.get(LookupReason::Layer) == 2 && counts.get(Event::EcpShared) == 2
    });
}

#[test]
fn one_below_uses_ours() {
    beside(Case::Plain, BELOW, EcpVariant::default(), |counts| {
        counts.get(LookupReason::Layer) == 2 && counts.get(Event::EcpAttached) == 2
    });
}

#[test]
fn one_above_and_one_below_at_once() {
    let image = image(Case::Plain);
    everywhere(&options(), move |world| {
        let filters = [(image.clone(), ABOVE), (image.clone(), BELOW)];
        let counts = lives(world, EcpVariant::REPARSE, &filters);
        assert_eq!(counts.get(LookupReason::Layer), 2, "{:?}", counts.named());
    });
}

#[test]
fn one_that_frees_its_own_leaves_nothing_that_is_read() {
    beside(Case::FreesItsOwn, ABOVE, EcpVariant::default(), |counts| {
        counts.get(LookupReason::Layer) == 2 && counts.get(Event::EcpShared) == 2
    });
}

#[test]
fn i1_one_that_frees_ours_takes_the_answer_and_no_more() {
    // What it freed is not read: the container's opens are scanned as ones without an answer.
    beside(Case::FreesAny, BELOW, EcpVariant::default(), |counts| {
        counts.get(LookupReason::Layer) == 0
    });
}

#[test]
fn i5_bits_that_another_one_left_are_not_believed() {
    let variants = [
        EcpVariant::default(),
        EcpVariant::SILENT,
        EcpVariant::OR_FLAGS,
    ];
    for variant in variants {
        beside(Case::LeavesBits, ABOVE, variant, |counts| {
            counts.get(LookupReason::Layer) == 0 && counts.get(Event::EcpTainted) > 0
        });
    }
}

#[test]
fn i5_an_answer_that_another_one_gave_itself_is_not_believed() {
    for variant in [EcpVariant::default(), EcpVariant::SILENT] {
        beside(Case::Lies, ABOVE, variant, |counts| {
            counts.get(LookupReason::Layer) == 0 && counts.get(Event::EcpTainted) > 0
        });
    }
}

#[test]
fn i5_one_that_is_too_small_is_not_read() {
    beside(Case::TooSmall, ABOVE, EcpVariant::default(), |counts| {
        counts.get(LookupReason::Layer) == 0 && counts.get(Event::EcpTainted) > 0
    });
}

#[test]
fn one_that_zeroes_ours_before_it_is_answered_changes_nothing() {
    beside(Case::Reuses, BELOW, EcpVariant::REPARSE, |counts| {
        counts.get(LookupReason::Layer) == 2
    });
}

#[test]
fn projected_files_are_scanned_each_time() {
    beside(Case::Projects, LOWEST, EcpVariant::SILENT, |counts| {
        counts.get(ScanReason::UserMode) + counts.get(ScanReason::Contradiction) == 2
    });
    beside(Case::Projects, LOWEST, EcpVariant::OR_FLAGS, |counts| {
        counts.get(LookupReason::Layer) == 0
    });
}
