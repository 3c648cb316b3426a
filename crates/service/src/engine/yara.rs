//! The YARA-X engine: rules compiled in this process, one native scanner per thread.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use yara_x::{Compiler, Rules, SourceCode};

use crate::rules::load;

use super::{
    BUILTIN_ORIGIN, BUILTIN_RULES, Digest, Engine, EngineError, EngineKind, Finding, Packed,
    RuleSource, Scanner,
};

/// A rule file that does not compile, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRules {
    /// Name of the file below the rules folder.
    pub file: String,
    /// Line of the first error, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub cause: String,
}

impl fmt::Display for BrokenRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.cause)
    }
}

/// The outcome of compiling a set of sources: the good files make an engine, the broken ones are
/// named.
pub struct Compiled {
    /// Built-in rules and the rules of every file without an error.
    pub engine: YaraEngine,
    /// The files that were left out.
    pub broken: Vec<BrokenRules>,
}

/// What to do about rules that ask for a file's name.
const NAMELESS: &str = "a verdict belongs to bytes, which have many names: leave this file out, or \
                        the rules in it that ask for one";

/// One compiled rule set.
pub struct YaraEngine {
    rules: Rules,
    digest: Digest,
}

impl YaraEngine {
    /// Number of rules in the set, the built-in ones included.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.iter().len()
    }
}

/// Compiles the built-in rules and `sources`, which must be sorted by name.
///
/// A file with an error is left out as a whole: rules that lean on a broken global rule of the same
/// file would otherwise match more than their author meant.
#[must_use]
pub fn compile(sources: &[RuleSource]) -> Compiled {
    let mut broken = Vec::new();
    let mut left_out = BTreeSet::new();
    loop {
        let (rules, errors) = compile_once(sources, &left_out);
        if errors.is_empty() {
            let digest = digest_of(sources.iter().filter(|s| !left_out.contains(&s.name)));
            return Compiled {
                engine: YaraEngine { rules, digest },
                broken,
            };
        }
        for error in errors {
            left_out.insert(error.file.clone());
            broken.push(error);
        }
    }
}

/// Compiles all sources but those left out. Each error returned names a file that was not yet left
/// out, so calling this again with that file left out comes to an end.
fn compile_once(sources: &[RuleSource], left_out: &BTreeSet<String>) -> (Rules, Vec<BrokenRules>) {
    let mut compiler = Compiler::new();
    compiler.enable_includes(false);
    compiler.new_namespace(BUILTIN_ORIGIN);
    let builtin = compiler.add_source(SourceCode::from(BUILTIN_RULES).with_origin(BUILTIN_ORIGIN));
    debug_assert!(
        builtin.is_ok(),
        "the built-in rules compile: {:?}",
        builtin.err()
    );
    let mut errors = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !left_out.contains(&source.name))
    {
        if let Err(error) = add_one(&mut compiler, source) {
            errors.push(error);
        }
    }
    (compiler.build(), errors)
}

fn add_one(compiler: &mut Compiler<'_>, source: &RuleSource) -> Result<(), BrokenRules> {
    compiler.new_namespace(&source.name);
    let code = SourceCode::from(source.text.as_slice()).with_origin(source.name.as_str());
    let Err(error) = compiler.add_source(code) else {
        return Ok(());
    };
    let label = error.labels().next();
    let line = label
        .as_ref()
        .map_or(1, |label| line_of(&source.text, label.span().start()));
    let cause = match label
        .as_ref()
        .map(|label| label.text())
        .filter(|text| !text.is_empty())
    {
        _ if asks_for_the_name(error.title()) => format!("{}: {NAMELESS}", error.title()),
        Some(text) => format!("{}: {text}", error.title()),
        None => error.title().to_owned(),
    };
    Err(BrokenRules {
        file: source.name.clone(),
        line,
        cause,
    })
}

/// Whether a rule leans on a variable that other scanners define by a file's name.
fn asks_for_the_name(title: &str) -> bool {
    let variables = ["filename", "filepath", "extension", "filetype", "owner"];
    variables
        .iter()
        .any(|name| title == format!("unknown identifier `{name}`"))
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text
        .iter()
        .take(offset)
        .filter(|&&byte| byte == b'\n')
        .count()
}

/// SHA-256 over the engine's version and every source with its name, each with its length before
/// it.
fn digest_of<'a>(sources: impl Iterator<Item = &'a RuleSource>) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"siloscan rule set 1");
    part(concat!("siloscan-service ", env!("CARGO_PKG_VERSION")).as_bytes());
    part(format!("yara-x {}", yara_x::VERSION).as_bytes());
    part(BUILTIN_RULES.as_bytes());
    for source in sources {
        part(source.name.as_bytes());
        part(&source.text);
    }
    Digest(hash.finalize().into())
}

/// YARA-X with the built-in rules and those of the rules folder.
pub struct Yara;

impl EngineKind for Yara {
    fn pack(&self, folder: Option<&Path>) -> Packed {
        let loaded = load(folder);
        let mut problems = loaded.problems;
        let mut bytes = Vec::new();
        if let Err(cause) = loaded.engine.rules.serialize_into(&mut bytes) {
            problems.push(format!("the compiled rules cannot be packed: {cause}"));
        }
        Packed {
            digest: loaded.engine.digest,
            rules: loaded.engine.rule_count(),
            computes: true,
            bytes,
            problems,
        }
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        let rules = Rules::deserialize(packed)
            .map_err(|cause| format!("the packed rules cannot be used: {cause}"))?;
        // A worker has one rule set for as long as it lives.
        let rules: &'static Rules = Box::leak(Box::new(rules));
        let scanner = None;
        Ok(Box::new(YaraScanner { rules, scanner }))
    }
}

impl Engine for YaraEngine {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn scanner(&self) -> Box<dyn Scanner + '_> {
        Box::new(YaraScanner {
            rules: &self.rules,
            scanner: None,
        })
    }
}

struct YaraScanner<'r> {
    rules: &'r Rules,
    /// Made at the first scan, and again after a scan that panicked.
    scanner: Option<yara_x::Scanner<'r>>,
}

impl Scanner for YaraScanner<'_> {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => yara_x::Scanner::new(self.rules),
        };
        if let Some(limit) = limit {
            // YARA-X counts beats of one second: one more keeps a short limit from ending at once.
            scanner.set_timeout(limit + Duration::from_secs(1));
        }
        // The scanner is dropped, not used again, if this panics.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let finding = scan_once(&mut scanner, bytes);
            (scanner, finding)
        }));
        match outcome {
            Ok((scanner, finding)) => {
                self.scanner = Some(scanner);
                finding
            }
            Err(_) => Err(EngineError::Failed(
                "YARA-X panicked on these bytes".to_owned(),
            )),
        }
    }
}

fn scan_once(scanner: &mut yara_x::Scanner<'_>, bytes: &[u8]) -> Result<Finding, EngineError> {
    match scanner.scan(bytes) {
        Ok(results) => Ok(match results.matching_rules().next() {
            Some(rule) => Finding::Infected {
                rule: rule.identifier().to_owned(),
                origin: rule.namespace().to_owned(),
            },
            None => Finding::Clean,
        }),
        Err(yara_x::ScanError::Timeout) => Err(EngineError::TimedOut),
        Err(other) => Err(EngineError::Failed(other.to_string())),
    }
}
