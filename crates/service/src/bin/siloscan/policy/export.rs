//! The driver's values in a text that `reg export` or the registry editor wrote, so that the policy
//! of a host can be read on any machine.

use std::collections::BTreeMap;

use siloscan_core::limits::Found;

/// The end of the key's name, whatever the control set is called.
const KEY_END: &str = r"\services\siloscan\parameters";
/// What such a text begins with.
const HEADS: [&str; 2] = ["Windows Registry Editor Version 5.00", "REGEDIT4"];

/// Why a text is no such export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("it is neither UTF-16 with its mark nor UTF-8; write it with `reg export`")]
    Encoding,
    #[error("it does not begin with \"{}\"; write it with `reg export`", HEADS[0])]
    Head,
    #[error(
        "it has no key …\\Services\\siloscan\\Parameters; on the host: reg export \
         HKLM\\SYSTEM\\CurrentControlSet\\Services\\siloscan\\Parameters FILE"
    )]
    Key,
    #[error("line {0} of it is no value; write it anew with `reg export`")]
    Line(usize),
}

/// What the key of the driver holds, by the names in lower case, with the names as they are.
pub type Held = BTreeMap<String, (String, Found)>;

/// Reads an export.
pub fn read(bytes: &[u8]) -> Result<Held, ExportError> {
    let text = text(bytes)?;
    let mut lines = text.lines().enumerate();
    let head = lines.next().map(|(_, line)| line.trim());
    if !head.is_some_and(|head| HEADS.contains(&head)) {
        return Err(ExportError::Head);
    }
    let (mut held, mut found, mut is_ours) = (Held::new(), false, false);
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(key) = line.strip_prefix('[') {
            let key = key.strip_suffix(']').ok_or(ExportError::Line(number + 1))?;
            let gone = key.strip_prefix('-');
            is_ours = gone.unwrap_or(key).to_ascii_lowercase().ends_with(KEY_END);
            found |= is_ours;
            if is_ours && gone.is_some() {
                held.clear();
            }
            continue;
        }
        let mut data = line.to_owned();
        // Bytes go on in the next line after a backslash; a text's own are inside its quotes.
        while data.ends_with('\\') {
            data.pop();
            let Some((_, more)) = lines.next() else { break };
            data.push_str(more.trim());
        }
        if is_ours && !data.is_empty() && !data.starts_with(';') {
            let (name, value) = value(&data).ok_or(ExportError::Line(number + 1))?;
            match value {
                Found::Absent => held.remove(&name.to_ascii_lowercase()),
                value => held.insert(name.to_ascii_lowercase(), (name, value)),
            };
        }
    }
    found.then_some(held).ok_or(ExportError::Key)
}

fn text(bytes: &[u8]) -> Result<String, ExportError> {
    if let Some(units) = bytes.strip_prefix(&[0xff, 0xfe]) {
        let (pairs, rest) = units.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        return text.ok_or(ExportError::Encoding);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| ExportError::Encoding)
}

/// Name and data of `"name"=data`. The key's own value, `@=…`, has no name.
fn value(line: &str) -> Option<(String, Found)> {
    if line.starts_with("@=") {
        return Some((String::new(), Found::Absent));
    }
    let (mut name, mut letters) = (String::new(), line.strip_prefix('"')?.chars());
    loop {
        match letters.next()? {
            '"' => break,
            '\\' => name.push(letters.next()?),
            letter => name.push(letter),
        }
    }
    let data = letters.as_str().trim_start().strip_prefix('=')?.trim();
    Some((name, found(data)))
}

fn found(data: &str) -> Found {
    let dword = |digits: &str| {
        let fits = (1..=8).contains(&digits.len()) && !digits.starts_with('+');
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| fits);
        value.map_or(Found::OtherType, Found::Dword)
    };
    if data == "-" {
        return Found::Absent;
    }
    let Some((kind, digits)) = data.split_once(':') else {
        return Found::OtherType;
    };
    match kind.to_ascii_lowercase().as_str() {
        "dword" => dword(digits),
        "hex(4)" => {
            let bytes: Vec<&str> = digits.split(',').map(str::trim).rev().collect();
            match bytes.len() == 4 && bytes.iter().all(|byte| byte.len() == 2) {
                true => dword(&bytes.concat()),
                false => Found::OtherType,
            }
        }
        _ => Found::OtherType,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r"[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\siloscan\Parameters]";

    fn utf16(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    }

    fn export(body: &str) -> String {
        format!("Windows Registry Editor Version 5.00\r\n\r\n{body}")
    }

    #[test]
    fn an_export_is_read_in_each_encoding() {
        let body = format!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\X]\r\n\"OnFailure\"=dword:00000001\r\n\r\n{KEY}\r\n\
             @=\"x\"\r\n; ours\r\n\"onevasion\"=dword:00000002\r\n\
             \"AuditOnly\"=hex(4):01,00,00,\\\r\n\
             \x20 00\r\n\"HeartbeatMs\"=\"5000\"\r\n\"a\\\"b\\\\\"=hex:00,\\\r\n  01\r\n\
             \"OnStale\"=dword:1\r\n\"OnStale\"=-\r\n\"ScanThreads\"=dword:000000001\r\n\
             [HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\siloscan\\Parameters\\\
             Instances]\r\n\
             \"OnFailure\"=dword:00000001\r\n"
        );
        let text = export(&body);
        let read16 = read(&utf16(&text)).expect("an export");
        assert_eq!(read(text.as_bytes()), Ok(read16.clone()));
        assert_eq!(
            read(&[b"\xef\xbb\xbf", text.as_bytes()].concat()),
            Ok(read16.clone())
        );
        let found = |name: &str| read16.get(name).map(|(_, found)| *found);
        assert_eq!(found("onfailure"), None, "of another key");
        assert_eq!(found("onevasion"), Some(Found::Dword(2)));
        assert_eq!(found("auditonly"), Some(Found::Dword(1)));
        assert_eq!(found("heartbeatms"), Some(Found::OtherType));
        assert_eq!(found("scanthreads"), Some(Found::OtherType));
        assert_eq!(found("onstale"), None);
        assert_eq!(found("a\"b\\"), Some(Found::OtherType));
        assert_eq!(read16.len(), 5, "{read16:?}");
    }

    #[test]
    fn what_is_no_export_is_named() {
        assert_eq!(read(b""), Err(ExportError::Head));
        assert_eq!(read(b"[HKEY"), Err(ExportError::Head));
        assert_eq!(read(b"\xff\xfe\x00"), Err(ExportError::Encoding));
        assert_eq!(read(b"\xff\xfe\x00\xd8"), Err(ExportError::Encoding));
        assert_eq!(read(b"REGEDIT4\n\xff"), Err(ExportError::Encoding));
        assert_eq!(read(export("").as_bytes()), Err(ExportError::Key));
        for (body, line) in [
            ("x", 4),
            ("\"a", 4),
            ("\"a\"", 4),
            ("\"a\\", 4),
            ("\n[x", 5),
        ] {
            let text = export(&format!("{KEY}\r\n{body}"));
            assert_eq!(
                read(text.as_bytes()),
                Err(ExportError::Line(line)),
                "{body}"
            );
        }
        // A deleted key has no values; a text that ends in the middle of one is no trap.
        let text = export(&format!("{KEY}\n\"A\"=dword:1\n[-{}\n", &KEY[1..]));
        assert_eq!(read(text.as_bytes()), Ok(Held::new()));
        let text = export(&format!("{KEY}\n\"A\"=hex:00,\\"));
        assert_eq!(read(text.as_bytes()).map(|held| held.len()), Ok(1));
    }
}
