//! What can be told from a name's text alone.

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
const DOT: u16 = b'.' as u16;

/// Offset and length in units of the parts of a full name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// From the volume's end to the last backslash, which is included.
    pub parent: (usize, usize),
    /// What follows, the stream included.
    pub component: (usize, usize),
    /// Behind the last dot of the file's name.
    pub extension: (usize, usize),
    /// From the first colon on.
    pub stream: (usize, usize),
}

/// Splits a full name whose first `volume` units name the volume.
pub(super) fn parts(name: &[u16], volume: usize) -> Parts {
    let path = name.get(volume..).unwrap_or_default();
    let Some(slash) = path.iter().rposition(|unit| *unit == BACKSLASH) else {
        return Parts {
            component: (volume, path.len()),
            ..Parts::default()
        };
    };
    let component = path.get(slash + 1..).unwrap_or_default();
    let first = volume + slash + 1;
    let colon = component.iter().position(|unit| *unit == COLON);
    let file = component
        .get(..colon.unwrap_or(component.len()))
        .unwrap_or_default();
    let dot = file.iter().rposition(|unit| *unit == DOT);
    let extension = dot.map_or((0, 0), |dot| (first + dot + 1, file.len() - dot - 1));
    let stream = colon.map_or((0, 0), |colon| (first + colon, component.len() - colon));
    Parts {
        parent: (volume, slash + 1),
        component: (first, component.len()),
        extension,
        stream,
    }
}

/// A path without a trailing `:$DATA` or `::$DATA`.
pub(super) fn normalized(mut path: Vec<u16>) -> Vec<u16> {
    let suffix: Vec<u16> = ":$DATA".encode_utf16().collect();
    let folded = |unit: &u16| match u8::try_from(*unit) {
        Ok(byte) => u16::from(byte.to_ascii_uppercase()),
        Err(_) => *unit,
    };
    let ends = path.len() >= suffix.len()
        && path
            .iter()
            .rev()
            .map(folded)
            .zip(suffix.iter().rev())
            .all(|(a, b)| a == *b);
    if ends {
        path.truncate(path.len() - suffix.len());
        // `file::$DATA` leaves the colon of the empty stream name.
        if path.last() == Some(&COLON) {
            path.pop();
        }
    }
    path
}

/// The directory of a path, without the last backslash, and what follows that backslash.
pub(super) fn split(path: &[u16]) -> (&[u16], &[u16]) {
    let slash = path.iter().rposition(|unit| *unit == BACKSLASH);
    match slash {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}

/// A directory and a name in it.
pub(super) fn join(directory: &[u16], name: &[u16]) -> Vec<u16> {
    let mut path = directory.to_vec();
    if path.last() == Some(&BACKSLASH) {
        path.pop();
    }
    path.push(BACKSLASH);
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use super::{Parts, join, normalized, parts, split};

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn part(name: &str, (at, length): (usize, usize)) -> String {
        let text = units(name);
        String::from_utf16_lossy(text.get(at..at + length).expect("inside the name"))
    }

    /// The example of
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/nf-fltkernel-fltparsefilenameinformation>
    #[test]
    fn a_local_name_falls_into_the_documented_parts() {
        let name =
            r"\Device\HarddiskVolume1\Docume~1\MyUser\My Documents\TestRe~1.txt:stream1:$DATA";
        let parts = parts(&units(name), r"\Device\HarddiskVolume1".len());
        assert_eq!(part(name, parts.parent), r"\Docume~1\MyUser\My Documents\");
        assert_eq!(part(name, parts.component), "TestRe~1.txt:stream1:$DATA");
        assert_eq!(part(name, parts.extension), "txt");
        assert_eq!(part(name, parts.stream), ":stream1:$DATA");
    }

    #[test]
    fn a_volume_has_no_component() {
        let name = r"\Device\HarddiskVolume1";
        let parts = parts(&units(name), name.len());
        assert_eq!(
            parts,
            Parts {
                component: (name.len(), 0),
                ..Parts::default()
            }
        );
    }

    #[test]
    fn a_name_without_dot_or_stream_has_neither() {
        let parts = parts(&units(r"\D\file"), 2);
        assert_eq!(parts.extension, (0, 0));
        assert_eq!(parts.stream, (0, 0));
    }

    #[test]
    fn the_type_of_a_stream_is_normalized_away() {
        for (from, to) in [
            (r"\a::$DATA", r"\a"),
            (r"\a:s:$data", r"\a:s"),
            (r"\a:s", r"\a:s"),
            (r"\a", r"\a"),
        ] {
            assert_eq!(normalized(units(from)), units(to), "{from}");
        }
    }

    #[test]
    fn splitting_and_joining_are_inverse() {
        let path = units(r"\one\two");
        let (directory, name) = split(&path);
        assert_eq!(join(directory, name), path);
        assert_eq!(join(&units("\\"), name), units(r"\two"));
    }
}
