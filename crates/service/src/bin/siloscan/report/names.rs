//! Names that are not to leave the host, replaced by short hashes under a key that nobody keeps:
//! the same name has the same hash within one report, and in no other.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Digits of a hash.
const DIGITS: usize = 12;
/// A run of letters that is a container's or an image's id has at least so many digits.
const ID_DIGITS_MIN: usize = 12;

/// Replaces names.
pub struct Names {
    key: [u8; 32],
    host: Option<String>,
}

impl Names {
    /// With a new key.
    pub fn new(host: Option<String>) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|cause| format!("the system gives no random bytes: {cause}"))?;
        let host = host.filter(|host| !host.is_empty());
        Ok(Self { key, host })
    }

    fn hash(&self, kind: &str, name: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(name.to_lowercase());
        let digest: [u8; 32] = hash.finalize().into();
        let digits: String = { digest.iter() }
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{kind}-{}", digits.get(..DIGITS).unwrap_or_default())
    }

    /// Replaces the names in every text of a value, also in the names of its fields.
    pub fn hide(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hidden(text),
            Value::Array(all) => all.iter_mut().for_each(|value| self.hide(value)),
            Value::Object(fields) => {
                let old = std::mem::take(fields);
                for (name, mut value) in old {
                    self.hide(&mut value);
                    fields.insert(self.hidden(&name), value);
                }
            }
            _ => {}
        }
    }

    /// A text without names. A path goes on to what cannot be in it or to the text's end: too much
    /// is better than too little.
    pub fn hidden(&self, text: &str) -> String {
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            match path_begin(line) {
                Some(begin) => {
                    let (before, rest) = line.split_at(begin);
                    let length = path_length(rest);
                    let (path, after) = rest.split_at(length);
                    out.push_str(&self.without_ids(before));
                    out.push_str(&self.hash("path", path));
                    out.push_str(&self.hidden(after));
                }
                None => out.push_str(&self.without_ids(line)),
            }
            out.push_str(end);
        }
        out
    }

    /// A text without paths, without its ids and the host's name.
    fn without_ids(&self, text: &str) -> String {
        let mut out = String::new();
        let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = rest
                .find(|c| is_part(c) != is_part(first))
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
            let is_id = digits >= ID_DIGITS_MIN
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            let is_host = |host: &String| host.eq_ignore_ascii_case(word);
            if is_id {
                out.push_str(&self.hash("id", word));
            } else if self.host.as_ref().is_some_and(is_host) {
                out.push_str(&self.hash("host", word));
            } else {
                out.push_str(word);
            }
            rest = after;
        }
        out
    }
}

/// Where a path begins: at a drive, at two backslashes, at a device, at a slash that begins a word.
fn path_begin(text: &str) -> Option<usize> {
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        let rest = text.get(at..)?;
        let mut next = rest.chars().skip(1);
        let (second, third) = (next.next(), next.next());
        let begins = !(before.is_alphanumeric() || before == '_' || before == '.');
        let is_drive = letter.is_ascii_alphabetic()
            && second == Some(':')
            && matches!(third, Some('\\' | '/'));
        let is_root = matches!(letter, '\\' | '/')
            && second
                .is_some_and(|it| it.is_alphanumeric() || matches!(it, '\\' | '?' | '.' | '_'));
        if begins && before != ':' && before != '/' && (is_drive || is_root) {
            return Some(at);
        }
        before = letter;
    }
    None
}

/// How far it goes.
fn path_length(path: &str) -> usize {
    let skipped = path.find(":\\").or_else(|| path.find(":/"));
    let skipped = skipped.filter(|at| *at <= 5).map_or(0, |at| at + 1);
    let ends = |c: char| matches!(c, ':' | '"' | '<' | '>' | '|' | ';') || c.is_control();
    let rest = path.get(skipped..).unwrap_or_default();
    rest.find(ends).map_or(path.len(), |end| skipped + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the host begins as no made-up name does: chance must not bring it back.
    fn names() -> Names {
        Names::new(Some("MOON-7".to_owned())).expect("random bytes")
    }

    #[test]
    fn names_go_and_what_is_the_same_stays_the_same() {
        let names = names();
        let id = "03020100-0504-0706-0809-0a0b0c0d0e0f";
        for (text, secret) in [
            (r"cannot read C:\Users\anna smith\x.txt: denied", "anna"),
            (r"\Device\HarddiskVolume3\secret\a.exe", "secret"),
            (r"\\?\C:\ProgramData\docker\secret", "secret"),
            ("/home/anna/rules/a.yar:3: wrong", "anna"),
            ("C:/anna/b", "anna"),
            ("container 03020100-0504-0706-0809-0a0b0c0d0e0f is", id),
            ("image sha256:0123456789abcdef0123", "0123456789"),
            ("on moon-7: well", "moon-7"),
            ("line\nand D:\\anna\nline", "anna"),
        ] {
            let hidden = names.hidden(text);
            assert!(!hidden.contains(secret), "{hidden}");
            assert_eq!(names.hidden(text), hidden);
            assert_ne!(super::tests::names().hidden(text), hidden, "another report");
        }
        assert!(names.hidden("/home/a/b:3: wrong").ends_with(":3: wrong"));
        assert_eq!(names.hidden(r"C:\A"), names.hidden(r"c:\a"));
        for plain in [
            "320999.5",
            "look-up/layer",
            "https://learn.microsoft.com",
            "127.0.0.1:9753",
            "1.2 GiB of 3",
            "",
        ] {
            assert_eq!(names.hidden(plain), plain);
        }
    }

    #[test]
    fn fields_and_their_names_are_looked_at() {
        let names = names();
        let mut value = serde_json::json!({ "a": ["C:\\x", 3], "C:\\y": { "b": "/z/z" } });
        names.hide(&mut value);
        let text = value.to_string();
        assert!(!text.contains("x\"") && !text.contains(":\\\\"), "{text}");
        assert_eq!(value["a"][1], 3);
        assert_eq!(text.matches("path-").count(), 3);
    }
}
