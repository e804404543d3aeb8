//! Questions to a machine, and what it says.
//!
//! Everything that the probes know comes through [`Answers::ask`]: so a
//! [`Recording`] of the answers gives the same facts on any other machine.

mod act;
mod errno;
mod hop;
mod live;
mod question;
mod recording;
mod socket;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Value;

pub use errno::{errno_name, errno_of};
pub use hop::hop;
pub use live::Live;
pub use question::{Ask, Family, Question};
pub use recording::{Recorder, Recording, RecordingError, Replay};
pub use socket::{Socket, Watch};

/// What answers: this machine, or the recording of one.
pub trait Answers {
    /// Asks one question.
    fn ask(&mut self, question: &Question) -> Result<Said, No>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Netlink messages, without their `nlmsghdr`.
    Messages(Vec<Vec<u8>>),
    /// A file's text, a link's target; empty for "done".
    Text(String),
    /// A folder's entries, sorted.
    Names(Vec<String>),
    /// Named values.
    Fields(BTreeMap<String, Value>),
}

impl Said {
    /// The messages; none, if it is something else.
    pub fn messages(&self) -> &[Vec<u8>] {
        match self {
            Self::Messages(messages) => messages,
            _ => &[],
        }
    }

    /// The text, trimmed; empty, if it is something else.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text.trim(),
            _ => "",
        }
    }

    /// The names; none, if it is something else.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Names(names) => names,
            _ => &[],
        }
    }

    /// One of the named values.
    pub fn field(&self, name: &str) -> Value {
        match self {
            Self::Fields(fields) => fields.get(name).cloned().unwrap_or_default(),
            _ => Value::Null,
        }
    }
}

/// No answer, or the answer no.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct No {
    /// `EOPNOTSUPP`; or, where nobody could be asked, one of the words
    /// [`No::FAMILY`] and [`No::RECORDED`].
    pub no: String,
    /// The kernel's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extack: Option<String>,
}

impl No {
    /// The kernel has no such netlink family.
    pub const FAMILY: &'static str = "no-family";
    /// The recording has no such question.
    pub const RECORDED: &'static str = "not-recorded";

    /// An error number.
    pub fn errno(errno: i32) -> Self {
        Self {
            no: errno_name(errno),
            extack: None,
        }
    }

    /// One of the words above.
    pub fn word(word: &str) -> Self {
        Self {
            no: word.to_owned(),
            extack: None,
        }
    }

    /// Not allowed to ask: says nothing of the machine.
    pub fn is_permission(&self) -> bool {
        matches!(self.no.as_str(), "EPERM" | "EACCES")
    }

    /// The driver or the kernel does not have it. Everything else that went
    /// wrong leaves the fact unknown.
    pub fn is_unsupported(&self) -> bool {
        self.no == "EOPNOTSUPP"
    }

    /// As a report shows it: `-EINVAL 'too large'`.
    pub fn evidence(&self) -> String {
        let minus = if self.no.starts_with('E') { "-" } else { "" };
        match &self.extack {
            Some(text) => format!("{minus}{} '{text}'", self.no),
            None => format!("{minus}{}", self.no),
        }
    }
}

impl From<std::io::Error> for No {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::errno(errno),
            None => Self {
                no: "EIO".to_owned(),
                extack: Some(error.to_string()),
            },
        }
    }
}
