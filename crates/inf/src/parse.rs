//! The syntax: sections, entries, comments, quotes, continued lines and string tokens.
//! <https://learn.microsoft.com/en-us/windows-hardware/drivers/install/general-syntax-rules-for-inf-files>

use std::fmt;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Inf {
    sections: Vec<Section>,
}

/// A section. Several of one name are one section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name as first written.
    pub name: String,
    /// The line of its first header, from 1.
    pub line: usize,
    /// What it holds, in order.
    pub entries: Vec<Entry>,
}

/// One entry: `key = field,field` or `field,field`. Tokens are not yet replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its line, from 1.
    pub line: usize,
    /// What is before the equals sign.
    pub key: Option<String>,
    /// The fields, without quotes.
    pub fields: Vec<String>,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub text: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for Fault {}

impl Inf {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is no INF syntax.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut sections: Vec<Section> = Vec::new();
        let mut current = None;
        for (line, text) in logical_lines(text) {
            let fault = |text| Fault { line, text };
            if let Some(rest) = text.strip_prefix('[') {
                let name = rest
                    .strip_suffix(']')
                    .ok_or_else(|| fault("a section's name without its ']'"))?
                    .trim();
                if name.is_empty() {
                    return Err(fault("a section without a name"));
                }
                let known = sections
                    .iter()
                    .position(|section| section.name.eq_ignore_ascii_case(name));
                current = Some(known.unwrap_or(sections.len()));
                if known.is_none() {
                    sections.push(Section {
                        name: name.to_owned(),
                        line,
                        entries: Vec::new(),
                    });
                }
                continue;
            }
            let section = current
                .and_then(|at: usize| sections.get_mut(at))
                .ok_or_else(|| fault("an entry before the first section"))?;
            section.entries.push(entry(line, &text)?);
        }
        Ok(Self { sections })
    }

    /// All sections, in the file's order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// A section by its name, whatever its case.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.eq_ignore_ascii_case(name))
    }

    /// The field of the first entry of that key, tokens replaced.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        let entry = self.section(section)?.entry(key)?;
        entry.fields.first().map(|field| self.expand(field))
    }

    /// What `[Strings]` says for a token.
    #[must_use]
    pub fn string(&self, token: &str) -> Option<&str> {
        let entry = self.section("Strings")?.entry(token)?;
        entry.fields.first().map(String::as_str)
    }

    /// Replaces `%token%` by its string and `%%` by a percent sign. What has no string stays:
    /// `%12%` is a folder.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            let Some((token, more)) = after.split_once('%') else {
                out.push('%');
                rest = after;
                continue;
            };
            match self.string(token) {
                _ if token.is_empty() => out.push('%'),
                Some(value) => out.push_str(value),
                None => {
                    out.push('%');
                    out.push_str(token);
                    out.push('%');
                }
            }
            rest = more;
        }
        out + rest
    }

    /// The tokens of a text that `[Strings]` lacks. Numbers are folders, not tokens.
    #[must_use]
    pub fn unknown_tokens(&self, text: &str) -> Vec<String> {
        let tokens = text.split('%').skip(1).step_by(2);
        let closed = text.matches('%').count() / 2;
        tokens
            .take(closed)
            .filter(|token| !token.is_empty() && token.parse::<u32>().is_err())
            .filter(|token| self.string(token).is_none())
            .map(str::to_owned)
            .collect()
    }
}

impl Section {
    /// The first entry of that key, whatever its case.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.has_key(key))
    }

    /// All entries of that key.
    pub fn entries<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.has_key(key))
    }
}

impl Entry {
    /// Whether it is one of that key, whatever its case.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        let own = self.key.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(key))
    }

    /// A field by its place, empty where there is none.
    #[must_use]
    pub fn field(&self, at: usize) -> &str {
        self.fields.get(at).map_or("", String::as_str)
    }
}

/// Lines without comments, joined where one ends in a backslash outside quotes; no empty ones.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = without_comment(line).trim();
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        match line
            .strip_suffix('\\')
            .filter(|_| quotes(line).is_multiple_of(2))
        {
            Some(part) => {
                joined.push_str(part);
                open = Some((start, joined));
            }
            None => {
                joined.push_str(line);
                if !joined.is_empty() {
                    lines.push((start, joined));
                }
            }
        }
    }
    lines.extend(open);
    lines
}

fn quotes(line: &str) -> usize {
    line.matches('"').count()
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

fn entry(line: usize, text: &str) -> Result<Entry, Fault> {
    let mut fields = Vec::new();
    let (mut key, mut quoted, mut chars) = (None, false, text.chars().peekable());
    // `kept` is where the trimmed part of the field ends: spaces inside quotes count.
    let (mut field, mut kept) = (String::new(), 0);
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
                kept = field.len();
            }
            '"' => {
                quoted = !quoted;
                kept = field.len();
            }
            ',' if !quoted => {
                field.truncate(kept);
                fields.push(std::mem::take(&mut field));
                kept = 0;
            }
            '=' if !quoted && key.is_none() && fields.is_empty() => {
                field.truncate(kept);
                key = Some(std::mem::take(&mut field));
                kept = 0;
            }
            ' ' | '\t' if !quoted && field.is_empty() => {}
            _ => {
                field.push(char);
                if quoted || !char.is_whitespace() {
                    kept = field.len();
                }
            }
        }
    }
    if quoted {
        let text = "a quote that is not closed";
        return Err(Fault { line, text });
    }
    field.truncate(kept);
    fields.push(field);
    Ok(Entry { line, key, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Entry {
        let inf = Inf::parse(&format!("[S]\n{text}\n[Strings]\nA = \"x y\"\n")).unwrap();
        inf.section("s").unwrap().entries[0].clone()
    }

    #[test]
    fn entries_are_read_as_written() {
        let entry = only(r#"  HKR , "Instances\"%A%,"a;b,c=d",, 0x1  ; comment"#);
        assert_eq!(
            (entry.line, entry.key.as_deref()),
            (2, None),
            "an equals sign in quotes makes no key"
        );
        assert_eq!(
            entry.fields,
            ["HKR", "Instances\\%A%", "a;b,c=d", "", "0x1"]
        );
        let entry = only(r#"Key With Space = " a "" b " , c"#);
        assert_eq!(entry.key.as_deref(), Some("Key With Space"));
        assert_eq!(entry.fields, [" a \" b ", "c"]);
        assert_eq!(only("a,\\\n  b").fields, ["a", "b"]);
        assert_eq!(only("ServiceBinary = %12%\\a.sys").field(0), "%12%\\a.sys");
    }

    #[test]
    fn sections_of_one_name_are_one() {
        let inf = Inf::parse("[a]\nx=1\n[b]\n[A]\ny=2\n").unwrap();
        assert_eq!(inf.sections().len(), 2);
        assert_eq!(inf.value("a", "Y").as_deref(), Some("2"));
    }

    #[test]
    fn tokens_are_replaced_and_unknown_ones_told() {
        let inf = Inf::parse("[S]\n[Strings]\nA = \"x y\"\n").unwrap();
        assert_eq!(inf.expand("1%a%2%%3%12%\\%No%"), "1x y2%3%12%\\%No%");
        assert_eq!(inf.unknown_tokens("%A%%12%%%%No%"), ["No"]);
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        let line = |text: &str| Inf::parse(text).unwrap_err().line;
        assert_eq!(line("; c\nx=1\n"), 2);
        assert_eq!(line("[a]\n[b\n"), 2);
        assert_eq!(line("[a]\n[]\n"), 2);
        assert_eq!(line("[a]\nx = \"open\n"), 2);
    }
}
