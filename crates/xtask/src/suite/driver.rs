//! The stages that build and lint the driver.

use std::path::Path;

use super::cargo::one;
use super::copy::Copy;
use super::{Bench, Found};
use crate::driver::{Built, Request};
use crate::files;
use crate::packages;
use crate::trouble::{Outcome, Trouble};

/// Builds, then builds again: the second time nothing may be compiled or linked.
pub fn build(bench: &mut Bench) -> Outcome<Found> {
    let first = bench.built()?;
    let before = [files::bytes(&first.image)?, files::bytes(&first.pdb)?];
    let again = Request::of(&bench.root)
        .prepare(&mut bench.say)?
        .build(&mut bench.say)?;
    let mut found = Found {
        passed: 1,
        ..Found::default()
    };
    found.check(again.compiled == 0, || {
        format!("a second build compiled {} crates", again.compiled)
    });
    found.check(!again.linked, || "a second build linked".to_owned());
    let after = [files::bytes(&again.image)?, files::bytes(&again.pdb)?];
    found.check(before == after, || {
        "a second build changed the image".to_owned()
    });
    found.about = format!("{} bytes; a second build did nothing", before[0].len());
    Ok(found)
}

/// The image again, from an empty target folder in a tree at another path.
pub fn repro(bench: &mut Bench) -> Outcome<Found> {
    let first = bench.built()?;
    let mut found = Found::default();
    let copy = Copy::new(&bench.root)?;
    let request = copy.request();
    files::remove_folder(&request.target)?;
    let about = request.prepare(&mut bench.say)?.about();
    let second = fresh(bench, &request)?;
    for (one, two) in [(&first.image, &second.image), (&first.pdb, &second.pdb)] {
        let equal = files::bytes(one)? == files::bytes(two)?;
        let name = |path: &Path| path.display().to_string();
        found.check(equal, || format!("{} is unlike {}", name(two), name(one)));
    }
    found.check(about.contains("(WDKContentRoot)"), || {
        format!("the WDK that the environment names was not used: {about}")
    });
    found.about = "same bytes from an empty target folder at another path".into();
    Ok(found)
}

fn fresh(bench: &mut Bench, request: &Request) -> Outcome<Built> {
    let built = request.prepare(&mut bench.say)?.build(&mut bench.say)?;
    match built.compiled {
        0 => Err(Trouble::new(
            "a build from an empty target folder compiled nothing",
        )),
        _ => Ok(built),
    }
}

/// A lint that clippy must see in the driver, and only there: rustup's clippy, which does not
/// look behind `cfg(windows)`, would not.
const PLANTED: &str =
    "\n#[doc(hidden)]\npub fn planted(flag: bool) -> bool {\n    return !flag;\n}\n";

/// Clippy for the driver on its own target, in the copy of the tree.
pub fn lint(bench: &mut Bench) -> Outcome<Found> {
    packages::need(&mut bench.say, "linting the driver", packages::LINT)?;
    let copy = Copy::new(&bench.root)?;
    let mut found = clippy(bench, &copy, "lint-driver")?;
    let file = copy.root.join("src/lib.rs");
    let text = files::read(&file)?;
    files::write(&file, text + PLANTED)?;
    let planted = clippy(bench, &copy, "lint-planted");
    copy.restore()?;
    let seen = !planted?.failed.is_empty()
        && files::read(&bench.log("lint-planted"))?.contains("needless_return");
    found.check(seen, || "a planted needless return was not seen".to_owned());
    Ok(found)
}

fn clippy(bench: &mut Bench, copy: &Copy, name: &str) -> Outcome<Found> {
    let driver = copy.request().prepare(&mut bench.say)?;
    let mut clippy = driver.cargo("clippy")?;
    clippy.args(["--package", "siloscan", "--lib", "--", "-D", "warnings"]);
    one(
        bench,
        name,
        &mut clippy,
        "clippy is content with the driver; a planted lint is seen",
    )
}
