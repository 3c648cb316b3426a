//! Errors that a person can act on: what went wrong, and what to do next.

use std::fmt;
use std::path::Path;

/// A failure with its cause and, where there is one, the next step.
#[derive(Debug)]
pub struct Trouble {
    cause: String,
    next: Option<String>,
}

/// What every step of the build returns.
pub type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// A failure with its cause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            next: None,
        }
    }

    /// Adds what the reader should do about it.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// A file operation that failed, with the file's name.
    pub fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.cause)?;
        match &self.next {
            Some(step) => write!(out, "\n  next: {step}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Trouble {}
