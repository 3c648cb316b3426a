//! Every input that the fuzzer's targets keep is dealt with rightly: those that they begin with,
//! and those that once were not (`fuzz/crashes`).

#[path = "../fuzz/src/host.rs"]
mod host;
#[path = "../fuzz/src/image.rs"]
mod image;
#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::path::Path;

use filterhost::image as parse;

/// What a target does with an input.
type Target = fn(&[u8]);

/// The targets, by the names of their folders.
const TARGETS: &[(&str, Target)] = &[
    ("reply", targets::reply),
    ("ecp", targets::ecp),
    ("parameters", targets::parameters),
    ("image", image::image),
    ("inf", targets::inf),
    ("configuration", targets::configuration),
    ("scenario", host::scenario),
];

/// Runs every input in a folder; gives how many there were.
fn replay(folder: &Path, target: Target) -> usize {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let run = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("a folder that can be read").path();
        let data = std::fs::read(&path).expect("an input that can be read");
        target(&data);
    };
    files.map(run).count()
}

#[test]
fn every_kept_input_is_dealt_with() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, target) in TARGETS {
        let begun = replay(&fuzz.join("corpus").join(name), *target);
        assert!(begun > 0, "{name} begins with nothing");
        replay(&fuzz.join("crashes").join(name), *target);
    }
}
