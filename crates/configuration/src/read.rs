//! From text to a configuration: every mistake is named with its place, and with one mistake
//! nothing of the file is used.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::{KEYS, Key, Kind, Setting};
use crate::{Configuration, Unfit};

/// A mistake, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A file of which nothing is used: all that is wrong with it, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub Vec<Problem>);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Broken {}

/// Reads the text of a file; `name` is what problems call it, and relative paths in it begin at
/// `folder`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(name: &str, folder: &Path, text: &str) -> Result<Configuration, Broken> {
    parse_under(name, folder, text, |all| all)
}

/// The same, with settings from elsewhere put over those of the file by `over`: what does not fit
/// together then is wrong.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_under(
    name: &str,
    folder: &Path,
    text: &str,
    over: impl FnOnce(Configuration) -> Configuration,
) -> Result<Configuration, Broken> {
    let mut reader = Reader {
        name,
        folder,
        text,
        problems: Vec::new(),
    };
    // A file that an editor of Windows wrote may begin with a byte order mark, which TOML ignores.
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.wrong(at, error.message());
    }
    let mut all = Configuration::default();
    for (section, value) in table.get_ref() {
        reader.section(section, value, &mut all);
    }
    let all = over(all);
    reader.together(&all, table.get_ref());
    if reader.problems.is_empty() {
        return Ok(all);
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(Broken(problems))
}

struct Reader<'a> {
    name: &'a str,
    folder: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

type Name<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn wrong(&mut self, at: usize, message: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.problems.push(Problem {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
        });
    }

    fn section(&mut self, name: &Name<'_>, value: &Value<'_>, all: &mut Configuration) {
        let section = name.get_ref().as_ref();
        let keys: Vec<&Key> = KEYS.iter().filter(|key| key.section == section).collect();
        if keys.is_empty() {
            let said = format!("there is no [{section}]; there are {}", sections());
            return self.wrong(name.span().start, said);
        }
        let Some(table) = value.get_ref().as_table() else {
            let said = format!("`{section}` is a table: write [{section}] on a line of its own");
            return self.wrong(name.span().start, said);
        };
        for (name, value) in table {
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                let said = format!(
                    "[{section}] has no `{}`; it has {}",
                    name.get_ref(),
                    names.join(", ")
                );
                self.wrong(name.span().start, said);
                continue;
            };
            match setting(key, value.get_ref(), self.folder) {
                Ok(setting) => (key.set)(all, Some(setting)),
                Err(said) => self.wrong(value.span().start, said),
            }
        }
    }

    /// What no key can know alone.
    fn together(&mut self, all: &Configuration, table: &DeTable<'_>) {
        if let Err(Unfit { keys, message }) = all.check() {
            let at = keys
                .iter()
                .find_map(|(section, name)| place(table, section, name));
            self.wrong(at.unwrap_or(0), message);
        }
    }
}

/// Where the value of a key stands.
fn place(table: &DeTable<'_>, section: &str, name: &str) -> Option<usize> {
    let value = table.get(section)?.get_ref().as_table()?.get(name)?;
    Some(value.span().start)
}

fn sections() -> String {
    let mut names: Vec<String> = Vec::new();
    for key in KEYS {
        let name = format!("[{}]", key.section);
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// The value as the key takes it.
fn setting(key: &Key, value: &DeValue<'_>, folder: &Path) -> Result<Setting, String> {
    match key.kind {
        Kind::Switch => value
            .as_bool()
            .map(Setting::Switch)
            .ok_or_else(|| format!("`{}` is true or false", key.name)),
        Kind::Text => text(key, value).map(|text| Setting::Text(text.to_owned())),
        Kind::Address => text(key, value)?
            .parse()
            .map(Setting::Address)
            .map_err(|_| {
                format!(
                    "`{}` is an address and a port: \"127.0.0.1:9753\"",
                    key.name
                )
            }),
        Kind::Path => path(key, value, folder).map(Setting::Path),
        Kind::Paths => {
            let all = value
                .as_array()
                .ok_or_else(|| format!("`{}` is a list: ['…', '…']", key.name))?;
            let paths = all.iter().map(|one| path(key, one.get_ref(), folder));
            paths.collect::<Result<_, _>>().map(Setting::Paths)
        }
        Kind::Number { min, max, .. } => {
            let number = value.as_integer().and_then(|integer| {
                u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
            });
            number
                .filter(|number| (min..=max).contains(number))
                .map(Setting::Number)
                .ok_or_else(|| format!("`{}` is a number from {min} to {max}", key.name))
        }
    }
}

fn path(key: &Key, value: &DeValue<'_>, folder: &Path) -> Result<PathBuf, String> {
    let text = text(key, value)?;
    // The standard output is no file of the folder.
    Ok(match text {
        "-" => text.into(),
        _ => folder.join(text),
    })
}

fn text<'v>(key: &Key, value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let text = value
        .as_str()
        .ok_or_else(|| format!("`{}` is a text in quotation marks", key.name))?;
    if text.is_empty() {
        return Err(format!("`{}` is empty; leave the key out", key.name));
    }
    if text.contains(char::is_control) {
        return Err(format!(
            "`{}` holds a control character; in a path write '…', where a backslash is one",
            key.name
        ));
    }
    Ok(text)
}
