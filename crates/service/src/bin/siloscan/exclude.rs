//! `siloscan exclude`: the file of exclusions, which the service follows.

mod edit;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use siloscan_quarantine::printable;
use siloscan_service::exclusions::read_file;
use siloscan_service::metrics::Status;

use crate::ask::Whom;
use crate::place::{self, Config};
use crate::tell::{failed, say, say_json};
use edit::{Added, Entry};

pub use edit::{Listing, list};

/// Bytes of a file that are hashed at a time.
const PART_BYTES: usize = 1 << 16;

/// Shows and changes what is not scanned or denied.
#[derive(Args)]
pub struct Options {
    /// The file of exclusions; without it the one that the configuration names
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "config")]
    file: Option<PathBuf>,

    #[command(flatten)]
    config: Config,

    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// What can be excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A container, by the id that the service's events show
    Container,
    /// All containers of an image, by its digest or its manifest's: sha256:…
    Image,
    /// A layer's files, by its folder or by its id in Docker's store
    Layer,
    /// A content that is allowed, by its digest: sha256:…
    File,
}

impl Kind {
    /// The word that an entry of it begins with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Layer => "layer",
            Self::File => "file",
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Shows every entry with what it let through, and what is wrong in the file. Ends with 1 if
    /// anything is
    List(Whom),
    /// Adds an entry at the end of the file, once it is known that the service will take it. One
    /// that is there already is left as it is
    Add {
        /// What it is
        kind: Kind,
        /// Which one
        #[arg(required_unless_present = "of", conflicts_with = "of")]
        value: Option<String>,
        /// A file whose content is to be allowed; it is hashed
        #[arg(long, value_name = "PATH")]
        of: Option<PathBuf>,
        /// A reason, as a comment behind the entry
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Takes an entry out, with the comment behind it
    Remove {
        /// What it is
        kind: Kind,
        /// Which one; of a digest or an id the beginning is enough if only one begins so
        #[arg(required_unless_present = "of", conflicts_with = "of")]
        value: Option<String>,
        /// A file whose content is to be allowed no more; it is hashed
        #[arg(long, value_name = "PATH")]
        of: Option<PathBuf>,
    },
}

/// Does what was asked: 0, 1 where the file has mistakes, 2 where nothing was done.
pub fn run(options: &Options) -> ExitCode {
    let done = options.place().and_then(|file| match &options.command {
        Command::List(whom) => shown(&file, whom, options.json),
        Command::Add {
            kind,
            value,
            of,
            why,
        } => {
            let value = meant(*kind, value.as_deref(), of.as_deref())?;
            add(&file, *kind, &value, why.as_deref(), options.json)
        }
        Command::Remove { kind, value, of } => {
            let value = meant(*kind, value.as_deref(), of.as_deref())?;
            remove(&file, *kind, &value, options.json)
        }
    });
    done.unwrap_or_else(|cause| failed(&cause))
}

impl Options {
    fn place(&self) -> Result<PathBuf, String> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let Some(config) = self.config.file() else {
            let said = "which file? name it with --file, or with --config the configuration that \
                        names it (`exclusions.file`)";
            return Err(said.to_owned());
        };
        place::read(&config)?.exclusions.ok_or_else(|| {
            format!(
                "{} names no file of exclusions; set `file` in its [exclusions], or name one \
                 with --file",
                config.display()
            )
        })
    }
}

/// The value that an entry has, or that of the file whose content is meant.
fn meant(kind: Kind, value: Option<&str>, of: Option<&Path>) -> Result<String, String> {
    let Some(of) = of else {
        return Ok(value.unwrap_or_default().to_owned());
    };
    if kind != Kind::File {
        return Err(format!(
            "--of is the content of a file, and \"{}\" is not allowed by content; write \"file\"",
            kind.word()
        ));
    }
    hash(of).map_err(|cause| format!("cannot read {}: {cause}", of.display()))
}

fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut part = vec![0; PART_BYTES];
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok(digest_text(&hash.finalize().into()));
        }
        hash.update(part.get(..read).unwrap_or_default());
    }
}

/// A digest as the file of exclusions writes it.
fn digest_text(digest: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in digest {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn told(file: &Path, cause: impl std::fmt::Display) -> String {
    format!("{}: {cause}", file.display())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    read_file(file).map_err(|cause| format!("cannot read {}: {cause}", file.display()))
}

fn add(
    file: &Path,
    kind: Kind,
    value: &str,
    why: Option<&str>,
    json: bool,
) -> Result<ExitCode, String> {
    let before = match read_file(file) {
        Ok(bytes) => Some(bytes),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(format!("cannot read {}: {cause}", file.display())),
    };
    let added = edit::add(before.as_deref().unwrap_or_default(), kind, value, why);
    let (entry, is_new) = match added.map_err(|cause| told(file, cause))? {
        Added::Before(entry) => (entry, false),
        Added::Now(next, entry) => {
            let written = write::replace(file, before.as_deref(), &next);
            written.map_err(|cause| cause.to_string())?;
            (entry, true)
        }
    };
    if json {
        let mut value = as_json(&entry);
        value["file"] = json!(file.display().to_string());
        value["added"] = json!(is_new);
        say_json(&value);
        return Ok(ExitCode::SUCCESS);
    }
    let place = printable(&file.display().to_string());
    let (kind, value) = (entry.kind.word(), printable(&entry.value));
    let line = entry.line;
    say(&match is_new {
        true => format!("{kind} {value} is in {place}, line {line}\n"),
        false => {
            format!("{kind} {value} is in {place} already, line {line}; nothing was changed\n")
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn remove(file: &Path, kind: Kind, value: &str, json: bool) -> Result<ExitCode, String> {
    let before = read(file)?;
    let removed = edit::remove(&before, kind, value);
    let (next, gone) = removed.map_err(|cause| told(file, cause))?;
    let written = write::replace(file, Some(&before), &next);
    written.map_err(|cause| cause.to_string())?;
    let place = file.display().to_string();
    if json {
        let gone: Vec<Value> = gone.iter().map(as_json).collect();
        say_json(&json!({ "file": place, "removed": gone }));
        return Ok(ExitCode::SUCCESS);
    }
    let place = printable(&place);
    for entry in gone {
        let (kind, value, line) = (entry.kind.word(), printable(&entry.value), entry.line);
        say(&format!(
            "{kind} {value} is out of {place}, where it was line {line}\n"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(entry: &Entry) -> Value {
    json!({
        "line": entry.line, "kind": entry.kind.word(), "value": entry.value, "why": entry.why,
    })
}

/// What a running service counted of an entry. It does not count contents one by one.
fn hits(status: &Status, entry: &Entry) -> Option<u64> {
    let same = status
        .exclusions
        .iter()
        .find(|of| of.kind == entry.kind.word() && of.name == entry.value);
    same.map(|of| of.hits)
}

/// A file's entries as JSON, with the hits of a service that answered.
pub fn listing_json(listing: &Listing, status: Option<&Status>) -> Value {
    let entries = listing.entries.iter().map(|entry| {
        let mut value = as_json(entry);
        value["hits"] = json!(status.and_then(|status| hits(status, entry)));
        value
    });
    json!({ "entries": entries.collect::<Vec<_>>(), "problems": listing.problems })
}

fn shown(file: &Path, whom: &Whom, json: bool) -> Result<ExitCode, String> {
    let bytes = read(file)?;
    let name = file.display().to_string();
    let listing = list(&name, &bytes).map_err(|cause| told(file, cause))?;
    let asked = whom.ask();
    let status = asked.as_ref().ok();
    let code = ExitCode::from(u8::from(!listing.problems.is_empty()));
    if json {
        let mut value = listing_json(&listing, status);
        value["file"] = json!(name);
        value["service"] = json!(match &asked {
            Ok(_) => Value::Null,
            Err(cause) => json!(cause.to_string()),
        });
        say_json(&value);
        return Ok(code);
    }
    for entry in &listing.entries {
        let hits = match status.map(|status| hits(status, entry)) {
            Some(Some(hits)) => format!("{hits} opens"),
            Some(None) if entry.kind != Kind::File => "not in force".to_owned(),
            _ => "-".to_owned(),
        };
        let why = entry.why.as_deref().unwrap_or_default();
        say(&format!(
            "{:>5}  {:<9}  {:>12}  {}  {}\n",
            entry.line,
            entry.kind.word(),
            hits,
            printable(&entry.value),
            printable(why)
        ));
    }
    if listing.entries.is_empty() {
        say("nothing is excluded\n");
    }
    for problem in &listing.problems {
        say(&format!("needs attention: {}\n", printable(problem)));
    }
    match &asked {
        Ok(status) if !listing.entries.is_empty() => say(&format!(
            "good to know: {} scans found something that is allowed by content\n",
            status.counts.allowed
        )),
        Err(cause) => say(&format!(
            "good to know: no hits are shown: {}\n",
            printable(&cause.to_string())
        )),
        Ok(_) => {}
    }
    Ok(code)
}
