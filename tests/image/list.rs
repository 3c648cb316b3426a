//! The committed list of imports: which Windows version each appeared in, and who says so.

use std::collections::BTreeMap;

/// Windows versions as the documentation names them, up to the oldest that siloscan supports.
const WITHIN_1607: &[&str] = &[
    "Windows 2000",
    "Windows 2000 Update Rollup 1 for SP4",
    "Windows XP",
    "Windows XP SP2",
    "Windows Server 2003",
    "Windows Vista",
    "Windows 7",
    "Windows 8",
    "Windows 8.1",
    "Windows 10",
    "Windows 10, version 1607",
];

/// One row of the list.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    module: String,
    since: String,
    url: String,
    /// Why `since` holds where the page states no version.
    note: Option<String>,
}

/// The list, by name.
pub struct Imports(BTreeMap<String, Row>);

/// What the list says about one import.
#[derive(Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is in every supported version.
    Fine,
    /// It is not on the list with this module.
    Absent,
    /// It appeared after the oldest supported version; this one.
    TooNew(String),
}

impl Imports {
    /// Reads the list; a row without a page of Microsoft's is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rows: BTreeMap<String, Row> = toml::from_str(text).map_err(|e| e.to_string())?;
        for (name, row) in &rows {
            if !row.url.starts_with("https://learn.microsoft.com/") {
                return Err(format!("{name} gives no page of the documentation"));
            }
            if row.note.as_ref().is_some_and(|note| note.len() < 20) {
                return Err(format!("{name} has a note that says too little"));
            }
        }
        Ok(Self(rows))
    }

    /// What is known of `name` imported from `module`.
    pub fn look(&self, module: &str, name: &str) -> Listed {
        match self.0.get(name) {
            Some(row) if row.module == module => match WITHIN_1607.contains(&row.since.as_str()) {
                true => Listed::Fine,
                false => Listed::TooNew(row.since.clone()),
            },
            _ => Listed::Absent,
        }
    }

    /// Doctors the list.
    pub fn set_since(&mut self, name: &str, since: &str) {
        self.0.get_mut(name).expect("a listed name").since = since.to_owned();
    }
}

#[test]
fn a_row_without_a_page_is_refused() {
    let row = "[X]\nmodule = \"hal.dll\"\nsince = \"Windows 7\"\nurl = \"somewhere\"\n";
    assert!(Imports::parse(row).is_err());
}

#[test]
fn a_name_counts_for_its_own_module_only() {
    let row = "[X]\nmodule = \"hal.dll\"\nsince = \"Windows 7\"\n\
        url = \"https://learn.microsoft.com/x\"\n";
    let list = Imports::parse(row).unwrap();
    assert_eq!(list.look("hal.dll", "X"), Listed::Fine);
    assert_eq!(list.look("ntoskrnl.exe", "X"), Listed::Absent);
}
