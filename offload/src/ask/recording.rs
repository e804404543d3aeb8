//! Answers on paper: what a machine said, by question, readable and scrubbed.
//!
//! Messages are kept by the names of the tables, so a recording holds what
//! Terrace reads and nothing else: no addresses, serial numbers or hash keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Answers, No, Question, Said};
use crate::facts::Value;
use crate::wire::{from_json, to_json};

/// The version of the format.
pub const SCHEMA: &str = "terrace-recording/1";

/// What a machine said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// [`SCHEMA`].
    pub schema: String,
    /// For people: what machine this is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// When, RFC 3339.
    #[serde(default)]
    pub taken_at: String,
    /// The interfaces that were asked about; none = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Which probes ran.
    #[serde(default)]
    pub mode: crate::probe::Mode,
    /// What active probes were allowed.
    #[serde(default)]
    pub consent: crate::probe::Consent,
    /// By question.
    pub answers: BTreeMap<String, Entry>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// None.
    No(No),
    /// Netlink messages.
    Messages {
        /// By the names of their table.
        messages: Vec<Json>,
    },
    /// A text.
    Text {
        /// As it was.
        text: String,
    },
    /// A folder.
    Names {
        /// Sorted.
        names: Vec<String>,
    },
    /// Named values.
    Fields {
        /// By name.
        fields: BTreeMap<String, Value>,
    },
}

/// Why a recording can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It can't be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no recording.
    #[error("{path} is no recording of `terrace nic --record`: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{path} has the format {found:?}; this version reads {SCHEMA:?}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
    },
}

impl Recording {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, RecordingError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecordingError::Read {
            path: path.to_owned(),
            source,
        })?;
        let recording: Self =
            serde_json::from_str(&text).map_err(|source| RecordingError::Json {
                path: path.to_owned(),
                source,
            })?;
        if recording.schema != SCHEMA {
            return Err(RecordingError::Schema {
                path: path.to_owned(),
                found: recording.schema,
            });
        }
        Ok(recording)
    }
}

/// Passes questions on and keeps what is said, scrubbed.
pub struct Recorder<M> {
    machine: M,
    /// What was said so far.
    pub recording: Recording,
    switches: Vec<String>,
}

impl<M: Answers> Recorder<M> {
    /// Records a machine.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            recording: Recording {
                schema: SCHEMA.to_owned(),
                ..Recording::default()
            },
            switches: Vec::new(),
        }
    }

    fn entry(&mut self, question: &Question, said: &Said) -> Entry {
        match said {
            Said::Messages(messages) => {
                let form = question.form();
                let messages = messages.iter().filter_map(|m| Some(to_json(form?, m)));
                let mut messages: Vec<Json> = messages.collect();
                for message in &mut messages {
                    self.number_switch(message);
                }
                Entry::Messages { messages }
            }
            Said::Text(text) if question.key() == "text /proc/interrupts" => Entry::Text {
                text: without_counts(text),
            },
            Said::Text(text) => Entry::Text { text: text.clone() },
            Said::Names(names) => Entry::Names {
                names: names.clone(),
            },
            Said::Fields(fields) => Entry::Fields {
                fields: fields.clone(),
            },
        }
    }

    /// A switch's id is made of a MAC address: recordings count switches.
    fn number_switch(&mut self, message: &mut Json) {
        let Some(id) = message.get_mut("phys_switch_id") else {
            return;
        };
        let known = id.as_str().unwrap_or_default().to_owned();
        let at = self.switches.iter().position(|switch| *switch == known);
        let number = at.unwrap_or_else(|| {
            self.switches.push(known);
            self.switches.len() - 1
        });
        *id = format!("{:02x}", number + 1).into();
    }
}

/// The lines of /proc/interrupts without what each CPU counted.
fn without_counts(text: &str) -> String {
    let short = |line: &str| {
        let mut words = line.split_whitespace();
        let number = words.next().filter(|word| word.ends_with(':'))?;
        let rest: Vec<&str> = words
            .skip_while(|word| word.bytes().all(|b| b.is_ascii_digit()))
            .collect();
        Some(format!("{number} {}\n", rest.join(" ")))
    };
    text.lines().filter_map(short).collect()
}

impl<M: Answers> Answers for Recorder<M> {
    fn ask(&mut self, question: &Question) -> Result<Said, No> {
        let answer = self.machine.ask(question);
        let entry = match &answer {
            Ok(said) => self.entry(question, said),
            Err(no) => Entry::No(no.clone()),
        };
        self.recording.answers.insert(question.key(), entry);
        answer
    }
}

/// Answers from a recording.
pub struct Replay(pub Recording);

impl Answers for Replay {
    fn ask(&mut self, question: &Question) -> Result<Said, No> {
        let entry = self.0.answers.get(&question.key());
        match entry.ok_or_else(|| No::word(No::RECORDED))? {
            Entry::No(no) => Err(no.clone()),
            Entry::Text { text } => Ok(Said::Text(text.clone())),
            Entry::Names { names } => Ok(Said::Names(names.clone())),
            Entry::Fields { fields } => Ok(Said::Fields(fields.clone())),
            Entry::Messages { messages } => {
                let form = question.form().ok_or_else(|| No::word(No::RECORDED))?;
                let bytes = messages.iter().map(|message| from_json(form, message));
                let bytes: Result<Vec<_>, _> = bytes.collect();
                bytes.map(Said::Messages).map_err(|why| No {
                    no: "EBADMSG".to_owned(),
                    extack: Some(format!("recording: {}: {why}", question.key())),
                })
            }
        }
    }
}
