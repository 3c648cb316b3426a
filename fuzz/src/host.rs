//! What the filter host reads with most of itself; see `targets.rs`.

use filterhost::Scenario;

/// A scenario file; what is wrong with one has a place in it.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Scenario::parse("fuzz.toml", text) {
        Ok(scenario) => assert_eq!(scenario.name(), "fuzz.toml"),
        Err(wrong) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&wrong.line), "{wrong}");
            let line = text.split('\n').nth(wrong.line - 1).unwrap_or_default();
            let columns = line.chars().count() + 1;
            assert!((1..=columns).contains(&wrong.column), "{wrong}");
        }
    }
}
