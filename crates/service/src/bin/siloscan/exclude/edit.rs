//! Changes to the text of a file of exclusions: one line comes or goes, all other bytes stay. What
//! an entry is, the service's own reader says.

use siloscan_quarantine::printable;
use siloscan_service::exclusions::{Entries, Exclusion, FILE_BYTES_MAX, entry_and_comment, parse};

use super::Kind;

/// A part of a digest or of an id that is shorter names nothing, in characters.
const PART_MIN: usize = 4;

/// One entry of a file, by the names that the service's status has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub kind: Kind,
    pub value: String,
    /// The comment behind it.
    pub why: Option<String>,
}

/// What a file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// What is wrong, one sentence each, with file and line.
    pub problems: Vec<String>,
}

/// Why a text is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("{0}")]
    Value(String),
    #[error(
        "{0} has a control character, which would end the line or hide what follows; leave it out"
    )]
    Control(&'static str),
    #[error(
        "\"{0}\" cannot be written as an entry: \"#\" after a space begins a comment, and the \
         spaces around a value are not kept"
    )]
    Comment(String),
    #[error("the file is UTF-16, and the service reads UTF-8; save it as UTF-8 first")]
    Utf16,
    #[error("the file would have more than {FILE_BYTES_MAX} bytes, and would exclude nothing")]
    Long,
    #[error("{kind} {value} is not in the file; `siloscan exclude list` shows what is")]
    Absent { kind: &'static str, value: String },
    #[error("{kind} {value} may be any of {all}; write it as a whole")]
    Ambiguous {
        kind: &'static str,
        value: String,
        all: String,
    },
}

/// What became of an entry that was to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// The new text, and the entry in it.
    Now(Vec<u8>, Entry),
    /// It was there already.
    Before(Entry),
}

/// The one entry of a line, as the service reads it.
fn entry_of(line: &str) -> Result<Option<(Kind, String)>, String> {
    let Entries {
        containers,
        images,
        layers,
        files,
        problems,
    } = parse("", line);
    if let Some(problem) = problems.first() {
        let cause = problem.strip_prefix(":1: ").unwrap_or(problem);
        let cause = cause.strip_suffix(". The entry is left out");
        return Err(cause.unwrap_or(problem).to_owned());
    }
    let named = |exclusion: Exclusion| exclusion.name();
    let container = containers.first().map(|id| Exclusion::Container(*id));
    let image = images.first().map(|image| Exclusion::Image(*image));
    let file = files.first().map(super::digest_text);
    Ok(container
        .map(|it| (Kind::Container, named(it)))
        .or_else(|| image.map(|it| (Kind::Image, named(it))))
        .or_else(|| layers.into_iter().next().map(|it| (Kind::Layer, it.1)))
        .or_else(|| file.map(|it| (Kind::File, it))))
}

/// The lines of a text with their line ends, each with its number.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.enumerate().map(|(before, line)| (before + 1, line))
}

/// All that a text has; `name` is what problems call it.
pub fn list(name: &str, text: &[u8]) -> Result<Listing, EditError> {
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Err(EditError::Utf16);
    }
    let mut listing = Listing {
        entries: Vec::new(),
        problems: parse(name, &String::from_utf8_lossy(text)).problems,
    };
    for (line, bytes) in lines(text) {
        let text = String::from_utf8_lossy(bytes);
        // What is wrong with a line, the whole file's reader has told above.
        if let Ok(Some((kind, value))) = entry_of(&text) {
            let (_, why) = entry_and_comment(&text);
            listing.entries.push(Entry {
                line,
                kind,
                value,
                why: why.filter(|why| !why.is_empty()).map(str::to_owned),
            });
        }
    }
    Ok(listing)
}

/// The text with one entry more, in a last line of its own.
pub fn add(text: &[u8], kind: Kind, value: &str, why: Option<&str>) -> Result<Added, EditError> {
    let line = line_of(kind, value, why)?;
    let read = entry_of(&line).map_err(EditError::Value)?;
    let value = match read {
        // A folder is taken as it was written; of ids there is more than one spelling.
        Some((read, found)) if read == kind && (kind != Kind::Layer || found == value) => found,
        _ => return Err(EditError::Comment(value.to_owned())),
    };
    let before = list("", text)?;
    let same = |entry: &&Entry| entry.kind == kind && entry.value == value;
    if let Some(entry) = before.entries.iter().find(same) {
        return Ok(Added::Before(entry.clone()));
    }
    let crlf = lines(text).next();
    let crlf = crlf.is_some_and(|(_, first)| first.ends_with(b"\r\n"));
    let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    let mut next = text.to_vec();
    if !next.is_empty() && !next.ends_with(b"\n") {
        next.extend_from_slice(end);
    }
    let number = lines(&next).count() + 1;
    next.extend_from_slice(line.as_bytes());
    next.extend_from_slice(end);
    if next.len() as u64 > FILE_BYTES_MAX {
        return Err(EditError::Long);
    }
    // Bounds that no line knows alone.
    let after = list("", &next)?;
    if after.problems.len() > before.problems.len() {
        let problem = after.problems.last().cloned().unwrap_or_default();
        return Err(EditError::Value(problem.trim_start_matches(':').to_owned()));
    }
    let entry = Entry {
        line: number,
        kind,
        value,
        why: why.map(|why| why.trim().to_owned()),
    };
    Ok(Added::Now(next, entry))
}

/// What ends a line, or shows another text than there is.
fn steers(letter: char) -> bool {
    let text = letter.to_string();
    printable(&text) != text
}

fn line_of(kind: Kind, value: &str, why: Option<&str>) -> Result<String, EditError> {
    if value.chars().any(steers) {
        return Err(EditError::Control("the value"));
    }
    let kind = kind.word();
    match why.map(str::trim) {
        Some(why) if why.chars().any(steers) => Err(EditError::Control("--why")),
        Some(why) if !why.is_empty() => Ok(format!("{kind} {value}   # {why}")),
        _ => Ok(format!("{kind} {value}")),
    }
}

/// The text without an entry, and the lines that went: all that say the same.
pub fn remove(text: &[u8], kind: Kind, value: &str) -> Result<(Vec<u8>, Vec<Entry>), EditError> {
    let listing = list("", text)?;
    let own: Vec<Entry> = { listing.entries.into_iter() }
        .filter(|entry| entry.kind == kind)
        .collect();
    let wanted = chosen(&own, kind, value)?;
    let gone: Vec<Entry> = { own.into_iter() }
        .filter(|entry| entry.value == wanted)
        .collect();
    let stays = |number: &usize| gone.iter().all(|entry| entry.line != *number);
    let kept = lines(text).filter(|(number, _)| stays(number));
    let next = kept.flat_map(|(_, line)| line.iter().copied()).collect();
    Ok((next, gone))
}

/// The value that is meant: as the service reads it, or the one that begins so.
fn chosen(own: &[Entry], kind: Kind, value: &str) -> Result<String, EditError> {
    let line = line_of(kind, value, None)?;
    let whole = entry_of(&line).ok().flatten().map(|(_, value)| value);
    let whole = whole.unwrap_or_else(|| value.to_owned());
    if own.iter().any(|entry| entry.value == whole) {
        return Ok(whole);
    }
    let part = value.to_ascii_lowercase();
    let digits = part.strip_prefix("sha256:").unwrap_or(&part);
    let mut found: Vec<&str> = Vec::new();
    // A folder is never cut: a longer name is another folder.
    if kind != Kind::Layer && digits.len() >= PART_MIN {
        let all = own.iter().map(|entry| entry.value.as_str());
        let begins = |value: &&str| {
            let plain = value.strip_prefix("sha256:").unwrap_or(value);
            plain.starts_with(digits)
        };
        found = all.filter(begins).collect();
        found.sort_unstable();
        found.dedup();
    }
    let (kind, value) = (kind.word(), value.to_owned());
    match found.as_slice() {
        [] => Err(EditError::Absent { kind, value }),
        [one] => Ok((*one).to_owned()),
        many => Err(EditError::Ambiguous {
            kind,
            value,
            all: many.join(", "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f";

    fn digest(first: &str) -> String {
        format!("sha256:{first}{}", "0".repeat(64 - first.len()))
    }

    fn added(text: &[u8], kind: Kind, value: &str) -> Vec<u8> {
        match add(text, kind, value, None) {
            Ok(Added::Now(next, _)) => next,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_comes_at_the_end_and_all_else_stays_byte_for_byte() {
        for (before, end) in [
            (&b""[..], "\n"),
            (b"# ours\n", "\n"),
            (b"# ours\r\n\r\n  layer  C:\\a \xff b # \xfe\r\n", "\r\n"),
            (b"container 12\nvolume C:\n", "\n"),
        ] {
            let next = added(before, Kind::Container, ID);
            let line = format!("container {ID}{end}");
            assert_eq!(next, [before, line.as_bytes()].concat());
            let (back, gone) = remove(&next, Kind::Container, ID).expect("it is there");
            assert_eq!(back, before);
            assert_eq!(gone.len(), 1);
        }
        // A last line that does not end is ended first.
        let next = added(b"# a\r\n# b", Kind::Container, ID);
        assert_eq!(next, format!("# a\r\n# b\r\ncontainer {ID}\r\n").as_bytes());
    }

    #[test]
    fn the_same_entry_in_another_spelling_is_not_added_twice() {
        let text = format!("\ncontainer {{{}}} # ours\n", ID.to_uppercase());
        let before = add(text.as_bytes(), Kind::Container, ID, None);
        let Ok(Added::Before(entry)) = before else {
            panic!("{before:?}");
        };
        assert_eq!((entry.line, entry.value.as_str()), (2, ID));
        assert_eq!(entry.why.as_deref(), Some("ours"));
        // A layer and an image of the same digits are two things.
        let text = format!("layer {}\n", digest("ab"));
        added(text.as_bytes(), Kind::Image, &digest("ab"));
    }

    #[test]
    fn what_the_service_would_not_read_as_it_is_meant_is_refused() {
        let refused = |kind, value: &str, why| {
            let said = add(b"# x\n", kind, value, why).map(|_| ());
            said.expect_err(value).to_string()
        };
        assert!(refused(Kind::Container, "12", None).contains("no container's id"));
        assert!(refused(Kind::Image, "sha256:00", None).contains("no image's digest"));
        assert!(refused(Kind::File, &"0".repeat(64), None).contains("no content's digest"));
        assert!(refused(Kind::Layer, "", None).contains("folder"));
        let two_lines = format!("C:\\a\ncontainer {ID}");
        assert!(refused(Kind::Layer, &two_lines, None).contains("control character"));
        assert!(refused(Kind::Layer, "C:\\a\rb", None).contains("control character"));
        assert!(refused(Kind::Layer, "C:\\a #1", None).contains("comment"));
        assert!(refused(Kind::Layer, " C:\\a", None).contains("spaces"));
        assert!(refused(Kind::Container, ID, Some("a\nimage x")).contains("--why"));
        assert_eq!(
            add(b"\xff\xfec\0", Kind::Container, ID, None),
            Err(EditError::Utf16)
        );
        let long = vec![b'#'; FILE_BYTES_MAX as usize - 8];
        assert_eq!(add(&long, Kind::Container, ID, None), Err(EditError::Long));
        let full: String = (0..4096)
            .map(|n| format!("file sha256:{n:064x}\n"))
            .collect();
        let more = add(full.as_bytes(), Kind::File, &digest("f"), None);
        let said = more.expect_err("the bound").to_string();
        assert!(said.contains("4096"), "{said}");
    }

    #[test]
    fn a_part_names_one_entry_or_none() {
        let (one, two) = (digest("abcd1"), digest("abcd2"));
        let text = format!("image {one}\nimage {two} # b\nfile {one}\nimage {one} # again\n");
        let bytes = text.as_bytes();
        let said = remove(bytes, Kind::Image, "sha256:ABCD").expect_err("two");
        assert!(matches!(said, EditError::Ambiguous { .. }), "{said}");
        assert!(said.to_string().contains(&two), "{said}");
        let (next, gone) = remove(bytes, Kind::Image, "abcd1").expect("one");
        assert_eq!(gone.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(next, format!("image {two} # b\nfile {one}\n").as_bytes());
        for (kind, value) in [
            (Kind::Image, "abc"),
            (Kind::Image, "ffff"),
            (Kind::Container, "abcd1"),
            (Kind::Layer, "sha256:abcd1"),
        ] {
            let said = remove(bytes, kind, value).expect_err(value);
            assert!(matches!(said, EditError::Absent { .. }), "{said}");
        }
    }

    #[test]
    fn a_folder_is_removed_by_its_whole_name_alone() {
        let text = b"layer C:\\a b\nlayer C:\\a b\\c\n";
        let said = remove(text, Kind::Layer, "C:\\a").expect_err("a part");
        assert!(matches!(said, EditError::Absent { .. }), "{said}");
        let (next, _) = remove(text, Kind::Layer, "C:\\a b").expect("whole");
        assert_eq!(next, b"layer C:\\a b\\c\n");
    }

    #[test]
    fn a_list_has_the_entries_and_what_is_wrong_with_their_lines() {
        let text = format!(
            "# a\ncontainer 12\nlayer C:\\x#1   # the base\nfile {}",
            digest("1")
        );
        let listing = list("host.txt", text.as_bytes()).expect("text");
        let kinds: Vec<_> = listing
            .entries
            .iter()
            .map(|it| (it.line, it.kind))
            .collect();
        assert_eq!(kinds, [(3, Kind::Layer), (4, Kind::File)]);
        assert_eq!(listing.entries[0].why.as_deref(), Some("the base"));
        assert_eq!(listing.problems.len(), 1);
        assert!(listing.problems[0].starts_with("host.txt:2: "));
    }
}
