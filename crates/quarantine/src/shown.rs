//! Names of files are a stranger's: shown on a terminal they must not be able to steer it.

use std::fmt::Write;

/// The text with every character that could steer a terminal, or turn the order of the letters,
/// written as `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// The same for a text of JSON: what could steer is written as JSON's own escape, by its number.
/// Line ends stay: within its strings JSON has none.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter == '\n' || !steers(letter) {
            shown.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a text does not fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// Control characters, and what changes direction, joins or hides letters.
fn steers(letter: char) -> bool {
    let hidden = matches!(
        letter,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    letter.is_control() || hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_is_left() {
        let name = "C:\\a\u{1b}[2Jb\u{7f}\u{9b}c\r\n\u{202e}exe.txt \u{e4}\u{6587}";
        let shown = printable(name);
        assert!(!shown.chars().any(steers), "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{7f}', '\u{9b}', '\r', '\n', '\u{202e}']));
        assert!(shown.starts_with("C:\\a\\u{1b}[2Jb\\u{7f}"), "{shown:?}");
        assert!(shown.ends_with("exe.txt \u{e4}\u{6587}"), "{shown:?}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let name = "a\u{1b}\u{7f}\u{9b}\r\n\u{202e}\u{e0001}b\"\\";
        let json = serde_json::to_string_pretty(&[name]).expect("a text");
        let shown = printable_json(&json);
        assert!(!shown.chars().any(|it| it != '\n' && steers(it)), "{shown}");
        let back: Vec<String> = serde_json::from_str(&shown).expect("still JSON");
        assert_eq!(back, [name]);
    }
}
