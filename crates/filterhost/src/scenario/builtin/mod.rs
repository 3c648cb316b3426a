//! The scenarios that `filterhost verify` plays; `filterhost scenarios NAME` prints one.

/// Names and texts, simplest first.
pub static ALL: &[(&str, &str)] = &[
    ("own:load", include_str!("load.toml")),
    ("own:opens", include_str!("opens.toml")),
    ("own:data", include_str!("data.toml")),
    ("own:names", include_str!("names.toml")),
    ("own:sections", include_str!("sections.toml")),
    ("own:transactions", include_str!("transactions.toml")),
    ("own:volumes", include_str!("volumes.toml")),
    ("own:container", include_str!("container.toml")),
    ("own:crowd", include_str!("crowd.toml")),
    ("own:teardown", include_str!("teardown.toml")),
    ("own:dismount", include_str!("dismount.toml")),
];

/// The text of one of the host's own scenarios.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}
