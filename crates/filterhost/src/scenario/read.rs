//! Reads tables of a scenario file by their lists of keys; errors name line and column.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Kind, Section};

/// What is wrong with a scenario file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file, as it was named.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl std::error::Error for ScenarioError {}

/// The text of a scenario, by which places become lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Bytes of data that the scenario has made so far.
    pub(super) made: &'a Cell<usize>,
}

impl Source<'_> {
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> ScenarioError {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        ScenarioError {
            file: self.file.to_owned(),
            line: self.line(at),
            column,
            message: message.into(),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// A table whose keys are known to be of its list.
pub(super) struct Table<'a> {
    pub(super) source: Source<'a>,
    pub(super) at: usize,
    section: &'static Section,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Looks at every key and the kind of its value.
    pub(super) fn read(
        source: Source<'a>,
        section: &'static Section,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<Self, ScenarioError> {
        let at = value.span().start;
        let Some(table) = value.get_ref().as_table() else {
            let said = format!("this must be a table {}", section.header);
            return Err(source.error(at, said));
        };
        for (name, value) in table {
            let known = section.keys.iter().find(|key| key.name == name.get_ref());
            let Some(key) = known else {
                let names: Vec<_> = section.keys.iter().map(|key| key.name).collect();
                let said = format!(
                    "{} has no key `{}`; it has {}",
                    section.header,
                    name.get_ref(),
                    names.join(", ")
                );
                return Err(source.error(name.span().start, said));
            };
            if !fits(key.kind, value.get_ref()) {
                let said = format!("`{}` must be {}", key.name, key.kind.article());
                return Err(source.error(value.span().start, said));
            }
        }
        Ok(Self {
            source,
            at,
            section,
            table,
        })
    }

    fn value(&self, name: &str) -> Option<(&'a DeValue<'a>, Range<usize>)> {
        debug_assert!(self.section.keys.iter().any(|key| key.name == name));
        let found = self.table.iter().find(|(key, _)| key.get_ref() == name);
        found.map(|(_, value)| (value.get_ref(), value.span()))
    }

    /// Names of the keys that are there, and where.
    pub(super) fn names(&self) -> impl Iterator<Item = At<&'a str>> {
        self.table.iter().map(|(key, _)| At {
            value: key.get_ref().as_ref(),
            at: key.span().start,
        })
    }

    pub(super) fn text(&self, name: &str) -> Option<At<&'a str>> {
        let (value, span) = self.value(name)?;
        let value = value.as_str()?;
        let at = span.start;
        Some(At { value, at })
    }

    pub(super) fn need(&self, name: &str) -> Result<At<&'a str>, ScenarioError> {
        self.text(name).ok_or_else(|| self.lacks(name))
    }

    pub(super) fn number(&self, name: &str) -> Option<At<u64>> {
        let (value, span) = self.value(name)?;
        let value = integer(value)?;
        let at = span.start;
        Some(At { value, at })
    }

    /// A number of at most 32 bits.
    pub(super) fn word(&self, name: &str) -> Result<Option<u32>, ScenarioError> {
        self.within(name, 0, u64::from(u32::MAX))
    }

    /// A number from `least` to `most`, which the type holds.
    pub(super) fn within<T: TryFrom<u64>>(
        &self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<T>, ScenarioError> {
        let Some(found) = self.number(name) else {
            return Ok(None);
        };
        let wrong = |said: String| Err(self.source.error(found.at, said));
        match T::try_from(found.value) {
            _ if found.value < least => wrong(format!("`{name}` is at least {least}")),
            Ok(number) if found.value <= most => Ok(Some(number)),
            _ => wrong(format!("`{name}` is at most {most}")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)?.0.as_bool()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<At<&'a str>> {
        let array = self.value(name).and_then(|(value, _)| value.as_array());
        let items = array.into_iter().flatten();
        items
            .filter_map(|item| {
                let value = item.get_ref().as_str()?;
                let at = item.span().start;
                Some(At { value, at })
            })
            .collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub(super) fn lacks(&self, name: &str) -> ScenarioError {
        let said = format!("this {} needs the key `{name}`", self.section.header);
        self.source.error(self.at, said)
    }

    /// The bytes that `text` or `hex` give, `repeat` times.
    pub(super) fn data(&self) -> Result<Option<Vec<u8>>, ScenarioError> {
        let once = self.bytes_of("text", "hex")?;
        let Some(once) = once else {
            return Ok(None);
        };
        let (times, at) = self
            .number("repeat")
            .map_or((1, self.at), |found| (found.value, found.at));
        let made = &self.source.made;
        let bytes = usize::try_from(times)
            .ok()
            .and_then(|times| Some((times, once.len().checked_mul(times)?)));
        let fits = bytes.filter(|(_, bytes)| *bytes <= DATA_MAX.saturating_sub(made.get()));
        let Some((times, bytes)) = fits else {
            let said = format!("a scenario makes at most {DATA_MAX} bytes in all; this is more");
            return Err(self.source.error(at, said));
        };
        made.set(made.get() + bytes);
        Ok(Some(once.repeat(times)))
    }

    /// The bytes that are expected.
    pub(super) fn expected(&self) -> Result<Option<Vec<u8>>, ScenarioError> {
        self.bytes_of("expect-text", "expect-hex")
    }

    fn bytes_of(&self, text: &str, hex: &str) -> Result<Option<Vec<u8>>, ScenarioError> {
        match (self.text(text), self.text(hex)) {
            (Some(_), Some(hex_too)) => {
                let said = format!("`{text}` is there already: one of both");
                Err(self.source.error(hex_too.at, said))
            }
            (Some(found), None) => Ok(Some(found.value.as_bytes().to_vec())),
            (None, Some(found)) => match unhex(found.value) {
                Some(bytes) => Ok(Some(bytes)),
                None => {
                    let said = "hexadecimal digits, two for each byte; spaces may part them";
                    Err(self.source.error(found.at, said))
                }
            },
            (None, None) => Ok(None),
        }
    }
}

/// Bytes of data that one scenario may make.
const DATA_MAX: usize = 64 << 20;

fn fits(kind: Kind, value: &DeValue<'_>) -> bool {
    match kind {
        Kind::Text => value.is_str(),
        Kind::Number => integer(value).is_some(),
        Kind::Flag => value.is_bool(),
        Kind::Texts => value
            .as_array()
            .is_some_and(|items| items.iter().all(|item| item.get_ref().is_str())),
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let mut pairs = digits.chunks_exact(2);
    let bytes = pairs.by_ref().filter_map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    let bytes = bytes.collect();
    pairs.remainder().is_empty().then_some(bytes)
}
