//! Module definitions, from which a linker makes import libraries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// For each module that the host provides functions or data of, its definition: the text of a
/// `.def` file.
#[must_use]
pub fn definitions() -> BTreeMap<&'static str, String> {
    let functions = super::all().map(|export| (export.info.module, export.info.name, ""));
    let data = crate::kernel::data::names().map(|(module, name)| (module, name, " DATA"));
    let mut all = BTreeMap::new();
    for (module, name, kind) in functions.chain(data) {
        let text = all
            .entry(module)
            .or_insert_with(|| format!("LIBRARY \"{module}\"\nEXPORTS\n"));
        let _ = writeln!(text, "{name}{kind}");
    }
    all
}
