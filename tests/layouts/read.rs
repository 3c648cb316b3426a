//! Reads the offsets that the driver and the filter host assert, as text.

use std::path::Path;

/// A size or an offset that the compiler has checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Assertion {
    pub structure: String,
    /// `None`: the structure's size.
    pub field: Option<String>,
    pub value: u64,
}

fn number(text: &str) -> Option<u64> {
    match text.trim().strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.trim().parse().ok(),
    }
}

/// Lines of the driver such as `const _: () = assert!(offset_of!(A, b) == 0x08);`.
pub fn asserted(file: &Path) -> Vec<Assertion> {
    let text = std::fs::read_to_string(file).expect("the driver's declarations");
    text.lines()
        .filter_map(|line| line.strip_prefix("const _: () = assert!("))
        .filter_map(one)
        .collect()
}

fn one(rest: &str) -> Option<Assertion> {
    let (left, value) = rest.split_once(" == ")?;
    let value = number(value.strip_suffix(");")?)?;
    if let Some(structure) = left.strip_prefix("size_of::<") {
        let structure = structure.strip_suffix(">()")?.to_owned();
        return Some(Assertion {
            structure,
            field: None,
            value,
        });
    }
    let (structure, field) = left
        .strip_prefix("offset_of!(")?
        .strip_suffix(')')?
        .split_once(", ")?;
    Some(Assertion {
        structure: structure.to_owned(),
        field: Some(field.to_owned()),
        value,
    })
}

/// The host's `layout!(A, 0x10, b = 8, …);`, in every file of the folder.
pub fn declared(folder: &Path) -> Vec<Assertion> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the host's declarations") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        for part in text.split("\nlayout!(").skip(1) {
            let body = part.split(");").next().unwrap_or_default();
            found.extend(several(body));
        }
    }
    found
}

fn several(body: &str) -> Vec<Assertion> {
    let mut parts = body
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let structure = parts.next().unwrap_or_default().to_owned();
    let size = parts.next().and_then(number).expect("a structure's size");
    let mut found = vec![Assertion {
        structure: structure.clone(),
        field: None,
        value: size,
    }];
    for part in parts {
        let (field, value) = part.split_once(" = ").expect("a field and its offset");
        let value = number(value).expect("an offset");
        let field = Some(field.to_owned());
        found.push(Assertion {
            structure: structure.clone(),
            field,
            value,
        });
    }
    found
}

#[test]
fn both_ways_of_asserting_are_read() {
    let driver = one("offset_of!(A, b) == 0x08);").unwrap();
    assert_eq!((driver.structure.as_str(), driver.value), ("A", 8));
    assert_eq!(one("size_of::<A>() == 16);").unwrap().field, None);
    let host = several("A, 0x10, b = 8,\n    c = 0xc,\n");
    assert_eq!(host.len(), 3);
    assert_eq!(host[2].field.as_deref(), Some("c"));
}
