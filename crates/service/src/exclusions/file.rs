//! The text of a file of exclusions.

use std::collections::BTreeSet;

use siloscan_core::exclusion::ContainerId;

use crate::job::guid_of;
use crate::runtime::ImageDigest;

/// Contents that can be allowed at most.
const FILES_MAX: usize = 4_096;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Containers of which nothing is scanned.
    pub containers: Vec<ContainerId>,
    /// Images, of whose containers nothing is scanned.
    pub images: Vec<ImageDigest>,
    /// Layers of whose files none is scanned: a folder, or a layer's id. With their lines.
    pub layers: Vec<(usize, String)>,
    /// SHA-256 of contents that are allowed, whatever rule matches.
    pub files: BTreeSet<[u8; 32]>,
    /// What is wrong, one sentence each, with file and line.
    pub problems: Vec<String>,
}

/// Reads the text of a file of exclusions; `name` is what problems call it.
#[must_use]
pub fn parse(name: &str, text: &str) -> Entries {
    let mut all = Entries::default();
    for (number, line) in text.lines().enumerate() {
        let (entry, _) = entry_and_comment(line);
        if entry.is_empty() {
            continue;
        }
        if let Err(cause) = all.take(number + 1, entry) {
            let line = number + 1;
            all.problems
                .push(format!("{name}:{line}: {cause}. The entry is left out"));
        }
    }
    all
}

/// The entry of a line, and the comment behind it without its sign. A comment begins with a line or
/// after a space: a folder's name may have the sign, too.
#[must_use]
pub fn entry_and_comment(line: &str) -> (&str, Option<&str>) {
    let begins = |(at, _): &(usize, &str)| {
        let before = line.get(..*at).unwrap_or_default();
        before.is_empty() || before.ends_with(char::is_whitespace)
    };
    let comment = line.match_indices('#').find(begins);
    match comment.and_then(|(at, _)| line.get(..at).zip(line.get(at + 1..))) {
        Some((entry, comment)) => (entry.trim(), Some(comment.trim())),
        None => (line.trim(), None),
    }
}

impl Entries {
    /// Takes one entry. One that is there already changes nothing.
    fn take(&mut self, line: usize, entry: &str) -> Result<(), String> {
        let (kind, value) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        let value = value.trim();
        match kind {
            "container" => {
                let id = guid_of(value).ok_or_else(|| {
                    format!(
                        "\"{value}\" is no container's id; write it as the service's events show it"
                    )
                })?;
                if !self.containers.contains(&id) {
                    self.containers.push(id);
                }
            }
            "image" => {
                let image = ImageDigest::parse(value).ok_or_else(|| {
                    format!(
                        "\"{value}\" is no image's digest; write sha256: and 64 digits, a to f \
                         in lower case"
                    )
                })?;
                if !self.images.contains(&image) {
                    self.images.push(image);
                }
            }
            "file" => {
                let digest = ImageDigest::parse(value).ok_or_else(|| {
                    format!(
                        "\"{value}\" is no content's digest; write sha256: and 64 digits, a to f \
                         in lower case"
                    )
                })?;
                if self.files.len() >= FILES_MAX && !self.files.contains(digest.bytes()) {
                    return Err(format!("more than {FILES_MAX} contents cannot be allowed"));
                }
                self.files.insert(*digest.bytes());
            }
            "layer" if value.is_empty() => {
                return Err("\"layer\" wants a folder, or the id of one in the store".to_owned());
            }
            "layer" => {
                if !self.layers.iter().any(|(_, known)| known == value) {
                    self.layers.push((line, value.to_owned()));
                }
            }
            _ => {
                return Err(format!(
                    "\"{kind}\" is nothing that can be excluded; write \"container\" and its id, \
                     \"image\" and its digest, \"layer\" and its folder, or \"file\" and its \
                     content's digest"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::guid_text;

    #[test]
    fn contents_are_allowed_by_their_digest_up_to_a_bound() {
        let digits = "0123456789abcdef".repeat(4);
        let text = format!(
            "file sha256:{digits} # known good\nfile sha256:{digits}\nfile {digits}\n\
             file sha256:00\nfile\n"
        );
        let all = parse("host.txt", &text);
        assert_eq!(all.files.len(), 1, "{all:?}");
        assert_eq!(all.files.first().map(|it| it[0]), Some(0x01));
        let lines = [3, 4, 5].map(|line| format!("host.txt:{line}: "));
        assert_eq!(all.problems.len(), lines.len(), "{all:?}");
        for (problem, line) in all.problems.iter().zip(lines) {
            assert!(problem.starts_with(&line), "{problem}");
        }
        let line = |number: usize| format!("file sha256:{number:064x}\n");
        let many: String = (0..=FILES_MAX).map(line).collect();
        let all = parse("host.txt", &(many + &line(0)));
        assert_eq!((all.files.len(), all.problems.len()), (FILES_MAX, 1));
        assert!(all.problems[0].starts_with("host.txt:4097: "), "{all:?}");
    }

    const ID: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f";

    #[test]
    fn good_entries_are_taken_and_wrong_ones_named_with_their_line() {
        let digits = "0123456789abcdef".repeat(4);
        let upper = digits.to_uppercase();
        let text = format!(
            "# left out for a while\n\ncontainer {ID}   # the build machine\n\
             container {{{ID}}}\nimage sha256:00\ncontainer 12\ncontainer\n\
             container 00000000-0000-0000-0000-000000000000\n\
             container\tffffffff-ffff-ffff-ffff-ffffffffffff\r\n\
             container 03020100-0504-0706-0809-0a0b0c0d0e0\u{e4}\n\
             image sha256:{digits} # twice\nimage sha256:{digits}\nimage {digits}\n\
             image sha256:{upper}\nlayer\nlayer C:\\a b\\c#1 # the base\nlayer C:\\a b\\c#1\n\
             layer {digits}\nvolume C:\n"
        );
        let all = parse("host.txt", &text);
        assert_eq!(all.containers.len(), 2, "{all:?}");
        assert_eq!(guid_text(&all.containers[0]).as_deref(), Some(ID));
        assert_eq!(all.containers[1], [0xff; 16]);
        assert_eq!(all.images.len(), 1, "{all:?}");
        assert_eq!(all.images[0].to_string(), format!("sha256:{digits}"));
        let layers = [(16, r"C:\a b\c#1".to_owned()), (18, digits)];
        assert_eq!(all.layers, layers);
        let lines = [5, 6, 7, 8, 10, 13, 14, 15, 19].map(|line| format!("host.txt:{line}: "));
        assert_eq!(all.problems.len(), lines.len(), "{all:?}");
        for (problem, line) in all.problems.iter().zip(lines) {
            assert!(problem.starts_with(&line), "{problem}");
        }
    }
}
