//! The main job: the demo passes with the driver of this tree, and not with a broken one.

use std::path::Path;
use std::time::Duration;

use super::cargo::host;
use super::copy::{self, Copy};
use super::{Bench, Found};
use crate::command::{self, Ended};
use crate::files;
use crate::packages;
use crate::trouble::{Outcome, Trouble};

/// Compiling everything, where no stage before did it.
const COMPILE: Duration = Duration::from_secs(45 * 60);
/// One demo: seconds, on a machine that does nothing else.
const RUN: Duration = Duration::from_secs(300);
/// A driver under which a file that was overwritten with malware is opened as the clean one.
const BROKEN: &str = "own-key-not-dropped.patch";

/// Runs the demo with the good driver, which must pass, and with a broken one, which must not.
pub fn check(bench: &mut Bench) -> Outcome<Found> {
    packages::need(&mut bench.say, "the demo's base layer", packages::LAYER)?;
    copy::need(&mut bench.say)?;
    let good = bench.built()?.image;
    let mut build = host(bench, "build");
    // With the feature of the stages before, so that nothing is compiled twice.
    build.args([
        "--locked",
        "--workspace",
        "--bins",
        "--features",
        "filterhost/clang",
    ]);
    let log = bench.log("demo-build");
    if command::limited(&mut build, &log, COMPILE, |_| {})? != Ended::Well {
        let at = log.display();
        return Err(Trouble::new(format!("the demo does not compile: {at}")));
    }
    let mut found = Found::default();
    let report = bench.root.join("target/demo/test.html");
    let (ended, said) = demo(bench, &good, &report, "demo-good")?;
    found.check(ended == Ended::Well, || format!("it {ended:?}: {said}"));
    let attacks = said.matches("denied").count();
    found.check(attacks >= 3, || {
        format!("it tells of {attacks} attacks: {said}")
    });
    let page = files::read(&report)?;
    let needs = ["src=", "<link", "url(", "@import"];
    let whole = page.contains("</html>") && !needs.iter().any(|it| page.contains(it));
    found.check(whole, || "its report needs other files".into());

    let copy = Copy::new(&bench.root)?;
    copy.patch(&bench.root.join("tests/mutants").join(BROKEN))?;
    let broken = copy.request().prepare(&mut bench.say)?;
    let broken = broken.build(&mut bench.say);
    copy.restore()?;
    let (ended, said) = demo(bench, &broken?.image, &report, "demo-broken")?;
    let noticed = ended == Ended::Failed && said.contains("an infected open succeeded");
    found.check(noticed, || {
        format!("with a broken driver it {ended:?}: {said}")
    });
    found.about = "it denies every attack, and says so when a broken driver does not".into();
    Ok(found)
}

/// Runs a small demo; how it ended, and what it printed.
fn demo(bench: &mut Bench, image: &Path, report: &Path, name: &str) -> Outcome<(Ended, String)> {
    let mut demo = command::clean(bench.root.join("target/debug/demo"));
    demo.current_dir(&bench.root)
        .args(["--containers", "3", "--files", "20", "--report"])
        .arg(report)
        .env("SILOSCAN_IMAGE", image);
    let log = bench.log(name);
    let mut said = String::new();
    let Bench { say, .. } = bench;
    let ended = command::limited(&mut demo, &log, RUN, |line| {
        say.moving("demo", line.trim_start());
        said.push_str(line);
        said.push('\n');
    })?;
    say.clear();
    Ok((ended, said))
}
