//! What is wrong with the manifests: all of it at once, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub file: Arc<Path>,
    /// Counts from 1; 0 = the file as a whole.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One mistake. Prints as `file:line: document: path: message`, where the
/// message also says what to do; parts that do not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Error {
    pub file: PathBuf,
    /// Counts from 1; 0 = the file as a whole.
    pub line: u32,
    /// `Service default/web`, or empty.
    pub document: String,
    /// `spec.ports[0].port`, or empty.
    pub path: String,
    pub message: String,
}

impl Error {
    /// A mistake of a whole document.
    pub fn of(origin: &Origin, document: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            file: origin.file.to_path_buf(),
            line: origin.line,
            document: document.to_string(),
            path: String::new(),
            message: message.into(),
        }
    }

    /// A mistake that no manifest is to blame for: the configuration of the host.
    pub fn of_host(path: &str, message: impl Into<String>) -> Self {
        Self {
            file: PathBuf::new(),
            line: 0,
            document: String::new(),
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:{}: ", self.file.display(), self.line)?;
        }
        for part in [&self.document, &self.path] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Every mistake that was found, in the order of files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Errors(pub Vec<Error>);

fn lines(errors: &[Error]) -> String {
    let lines: Vec<String> = errors.iter().map(Error::to_string).collect();
    lines.join("\n")
}

impl Errors {
    /// `Ok` when there is nothing wrong, else the errors sorted and without repeats.
    pub fn into_result(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort();
        self.0.dedup();
        Err(self)
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}
