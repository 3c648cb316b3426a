//! What the filter host reads with most of itself; see `targets.rs`.

use filterhost::Scenario;

use crate::targets::assert_in;

/// A scenario file; what is wrong with one has a place in it.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Scenario::parse("fuzz.toml", text) {
        Ok(scenario) => assert_eq!(scenario.name(), "fuzz.toml"),
        Err(wrong) => assert_in(text, wrong.line, wrong.column),
    }
}
