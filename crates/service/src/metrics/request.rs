//! The head of an HTTP request, which anybody may have sent.

/// A longer head is refused, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The head has not come as a whole.
    Unfinished,
    /// This path, by GET.
    Get(&'a str),
    /// Something, by another method.
    OtherMethod,
    /// It is longer than any that is meant well.
    TooLong,
    /// No HTTP.
    Garbage,
}

/// Reads what has come so far. Of a head only the first line is looked at.
pub(super) fn read(bytes: &[u8]) -> Asked<'_> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    if end.is_none() && bytes.len() < HEAD_BYTES_MAX {
        return match could_begin(bytes) {
            true => Asked::Unfinished,
            false => Asked::Garbage,
        };
    }
    let Some(end) = end.filter(|end| *end < HEAD_BYTES_MAX) else {
        return Asked::TooLong;
    };
    let head = bytes.get(..end).and_then(|head| str::from_utf8(head).ok());
    let Some(line) = head.and_then(|head| head.split("\r\n").next()) else {
        return Asked::Garbage;
    };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Asked::Garbage;
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || !target.starts_with('/') || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Asked::Garbage;
    }
    if method != "GET" {
        return Asked::OtherMethod;
    }
    Asked::Get(target.split('?').next().unwrap_or_default())
}

/// Whether these bytes can begin with a method; what cannot is not waited for.
fn could_begin(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| **byte != b' ');
    method.clone().count() <= 16 && method.clone().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let whole = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Asked::Unfinished, "{end}");
        }
        assert_eq!(read(whole), Asked::Get("/metrics"));
        assert_eq!(read(b"POST / HTTP/1.0\r\n\r\n"), Asked::OtherMethod);
    }

    #[test]
    fn what_is_no_request_is_not_believed() {
        for bad in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"get / HTTP/1.1\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET metrics HTTP/1.1\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            b"ABCDEFGHIJKLMNOPQ",
        ] {
            assert_eq!(read(bad), Asked::Garbage, "{bad:?}");
        }
    }

    #[test]
    fn a_head_has_a_longest_length() {
        let mut long = b"GET / HTTP/1.1\r\nA: ".to_vec();
        long.resize(HEAD_BYTES_MAX - 1, b'a');
        assert_eq!(read(&long), Asked::Unfinished);
        long.push(b'a');
        assert_eq!(read(&long), Asked::TooLong);
        long.extend(b"\r\n\r\n");
        assert_eq!(read(&long), Asked::TooLong);
    }
}
