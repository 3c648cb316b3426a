//! A vendor's own engine in place of YARA-X, and a whole scan service. docs/vendors.md tells more.
//!
//! It knows texts that a file must not hold, one a line in `*.acme` files: `name = text`. A real
//! one calls its vendor's library where this one compares bytes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use siloscan_service::engine::{Digest, EngineError, EngineKind, Finding, Packed, Scanner};

/// 1. How signatures are read. In the service, which is trusted and sees no file.
pub struct Acme;

impl EngineKind for Acme {
    fn pack(&self, folder: Option<&Path>) -> Packed {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        let listed = folder.and_then(|folder| std::fs::read_dir(folder).ok());
        let files = listed.into_iter().flatten().flatten();
        for file in files.filter(|file| file.file_name().to_string_lossy().ends_with(".acme")) {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            for (number, line) in (1..).zip(text.lines()) {
                match line.split_once(" = ") {
                    Some((_, text)) if !text.is_empty() => lines.push(line.to_owned()),
                    _ => problems.push(format!("{}:{number}: no text", file.path().display())),
                }
            }
        }
        lines.sort();
        let bytes = lines.join("\n").into_bytes();
        // 2. The name of the set: other signatures, or another engine, have another one.
        let hash = Sha256::new_with_prefix("acme 1.0\n").chain_update(&bytes);
        Packed {
            digest: Digest(hash.finalize().into()),
            rules: lines.len(),
            computes: true,
            bytes,
            problems,
        }
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        let text = String::from_utf8(packed.to_vec()).map_err(|cause| cause.to_string())?;
        Ok(Box::new(AcmeScanner { text }))
    }
}

/// 3. The engine. In a worker process: it meets hostile bytes, and may crash or hang.
struct AcmeScanner {
    text: String,
}

impl Scanner for AcmeScanner {
    fn scan(&mut self, bytes: &[u8], _: Option<Duration>) -> Result<Finding, EngineError> {
        let mut pairs = self.text.lines().filter_map(|line| line.split_once(" = "));
        let is_in = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        let found = pairs.find(|(_, text)| is_in(text));
        Ok(found.map_or(Finding::Clean, |(name, _)| Finding::Infected {
            rule: name.to_owned(),
            origin: "acme".to_owned(),
        }))
    }
}

/// 4. The program: service, worker and command line are the library's.
pub fn main() -> ExitCode {
    siloscan_service::program::main(Arc::new(Acme))
}
