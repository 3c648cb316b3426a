//! Lists of lines in the sources that are an exception to something, each with its reason: files
//! of `[[line]]` with `file`, `text` and `why`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::files;
use crate::trouble::{Outcome, Trouble};

/// A line's file, relative to the root, and its text without the space around it.
pub type Text = (String, String);

/// The lines of a list, and how many there are of each text. Each entry must say why.
pub fn read(path: &Path) -> Outcome<BTreeMap<Text, usize>> {
    let wrong = |what: &str| {
        Trouble::new(format!("{}: {what}", path.display()))
            .next("each [[line]] has a file, the line's text, and why it is there")
    };
    let table: Table = files::read(path)?
        .parse()
        .map_err(|cause: toml::de::Error| wrong(&cause.to_string()))?;
    let rows = table.get("line").and_then(Value::as_array);
    let mut found = BTreeMap::new();
    for row in rows.into_iter().flatten() {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("");
        if [text("file"), text("text"), text("why")].contains(&"") {
            return Err(wrong(&format!("{row} is not whole")));
        }
        let line = (text("file").to_owned(), text("text").to_owned());
        *found.entry(line).or_default() += 1;
    }
    Ok(found)
}
