//! Exit codes, and failures that say what to do.

use std::fmt;
use std::process::ExitCode;

use crate::api;
use crate::config::Faults;

/// What the exit code of a command means. A code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Ok = 0,
    /// The work failed.
    Failure = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The configuration or a manifest is refused.
    Refused = 3,
    /// No daemon answers on the control socket.
    NoDaemon = 4,
    /// The user may not do that.
    NotPermitted = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    /// What failed and why.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// One line per fault.
    pub details: Vec<String>,
}

impl Failure {
    pub fn new(code: Code, what: impl Into<String>, fix: impl Into<String>) -> Failure {
        Failure {
            code,
            what: what.into(),
            fix: fix.into(),
            details: Vec::new(),
        }
    }

    pub fn usage(what: impl Into<String>, fix: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, what, fix)
    }

    /// In the form of the control socket, for `--json`.
    pub fn to_api(&self) -> api::Error {
        api::Error {
            error: self.what.clone(),
            fix: self.fix.clone(),
            details: self.details.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for detail in &self.details {
            write!(f, "\n  {detail}")?;
        }
        if !self.fix.is_empty() {
            write!(f, "\n  fix: {}", self.fix)?;
        }
        Ok(())
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Failure {
        let count = faults.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        Failure {
            code: Code::Refused,
            what: format!("the configuration is refused: {count} {noun}"),
            fix: String::new(),
            details: faults.0.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// The whole chain in one line.
    fn from(error: anyhow::Error) -> Failure {
        let denied = error
            .chain()
            .filter_map(|e| e.downcast_ref::<std::io::Error>());
        let denied = denied
            .into_iter()
            .any(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
        match denied {
            true => Failure::new(Code::NotPermitted, format!("{error:#}"), "run it as root"),
            false => Failure::new(Code::Failure, format!("{error:#}"), ""),
        }
    }
}
