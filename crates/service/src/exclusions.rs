//! What the operator excludes: a file with one entry a line, read at the start and followed while
//! running. A wrong entry is named with file and line and left out; the others stay.
//!
//! The file lies on the host, and only its reader speaks to the driver: nothing inside a container
//! reaches either.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use siloscan_core::exclusion::ContainerId;

use crate::events::Event;
use crate::platform::Platform;
use crate::service::Service;

/// A file of exclusions may have at most so many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Containers of which nothing is scanned.
    pub containers: Vec<ContainerId>,
    /// What is wrong, one sentence each, with file and line.
    pub problems: Vec<String>,
}

/// Reads the text of a file of exclusions; `name` is what problems call it.
#[must_use]
pub fn parse(name: &str, text: &str) -> Exclusions {
    let mut all = Exclusions::default();
    for (number, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match container(entry) {
            Ok(id) if all.containers.contains(&id) => {}
            Ok(id) => all.containers.push(id),
            Err(cause) => {
                let line = number + 1;
                all.problems
                    .push(format!("{name}:{line}: {cause}. The entry is left out"));
            }
        }
    }
    all
}

/// One entry.
fn container(entry: &str) -> Result<ContainerId, String> {
    let (kind, value) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
    if kind != "container" {
        return Err(format!(
            "\"{kind}\" is nothing that can be excluded; write \"container\" and its id"
        ));
    }
    guid(value.trim()).ok_or_else(|| {
        format!(
            "\"{}\" is no container's id; write it as the service's events show it",
            value.trim()
        )
    })
}

/// A GUID's text as it lies in memory; nothing for the one of zeros.
fn guid(text: &str) -> Option<ContainerId> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let text = inner.unwrap_or(text);
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !parts.concat().bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = u128::from_str_radix(&parts.concat(), 16).ok()?;
    let mut id = value.to_be_bytes();
    id[..4].reverse();
    id[4..6].reverse();
    id[6..8].reverse();
    (value != 0).then_some(id)
}

/// Follows a file of exclusions. Call [`ExclusionKeeper::check`] every second or two.
pub struct ExclusionKeeper {
    file: PathBuf,
    /// What it held at the last look; nothing before the first.
    seen: Option<Result<Vec<u8>, String>>,
}

impl ExclusionKeeper {
    /// Follows `file`, which is read by the first check.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            seen: None,
        }
    }

    /// Reads the file, and puts what it says in force if it has changed. A file that cannot be read
    /// excludes nothing.
    pub fn check<P: Platform>(&mut self, service: &Service<P>) {
        let found = read(&self.file);
        if self.seen.as_ref() == Some(&found) {
            return;
        }
        let name = self.file.display().to_string();
        let all = match &found {
            Ok(bytes) => parse(&name, &String::from_utf8_lossy(bytes)),
            Err(cause) => Exclusions {
                problems: vec![format!(
                    "cannot read the exclusions {name}: {cause}. Nothing is excluded"
                )],
                ..Exclusions::default()
            },
        };
        self.seen = Some(found);
        for cause in all.problems {
            service.report(Event::BrokenExclusions { cause });
        }
        service.report(Event::Exclusions {
            containers: all.containers.len(),
        });
        service.exclude_containers(all.containers);
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|cause| cause.to_string())?;
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|cause| cause.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::guid_text;

    const ID: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f";

    #[test]
    fn good_entries_are_taken_and_wrong_ones_named_with_their_line() {
        let text = format!(
            "# left out for a while\n\ncontainer {ID}   # the build machine\n\
             container {{{ID}}}\nimage sha256:00\ncontainer 12\ncontainer\n\
             container 00000000-0000-0000-0000-000000000000\n\
             container\tffffffff-ffff-ffff-ffff-ffffffffffff\r\n\
             container 03020100-0504-0706-0809-0a0b0c0d0e0\u{e4}\n"
        );
        let all = parse("host.txt", &text);
        assert_eq!(all.containers.len(), 2, "{all:?}");
        assert_eq!(guid_text(&all.containers[0]).as_deref(), Some(ID));
        assert_eq!(all.containers[1], [0xff; 16]);
        let lines = [5, 6, 7, 8, 10].map(|line| format!("host.txt:{line}: "));
        assert_eq!(all.problems.len(), lines.len(), "{all:?}");
        for (problem, line) in all.problems.iter().zip(lines) {
            assert!(problem.starts_with(&line), "{problem}");
        }
    }
}
