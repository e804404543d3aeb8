//! `[shortcut]`: payload of connections within the host, from socket to socket.

use std::path::{Path, PathBuf};

use terrace_sock::shortcut::Settings;
use terrace_sock::shortcut::check::ACCEPTABLE;

use super::section::{Section, Value, Wrong};
use super::values::{integer, path, text, word};

/// Which connections may take the shortcut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcut {
    pub mode: ShortcutMode,
    /// Both programs of a connection must be in one of these, or below.
    pub cgroups: Vec<PathBuf>,
    /// Failures of the self-test that are no matter to those programs.
    pub accept: Vec<String>,
    /// Connections at once; those beyond take the stack.
    pub max_pairs: u32,
    /// How it works while it is on.
    pub settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortcutMode {
    /// Where the self-test allows it.
    Auto,
    Off,
    /// A start fails where the self-test refuses it.
    Require,
}

impl ShortcutMode {
    pub fn name(self) -> &'static str {
        let found = MODES.iter().find(|(_, mode)| *mode == self);
        found.map_or("", |(name, _)| name)
    }
}

const MODES: [(&str, ShortcutMode); 3] = [
    ("auto", ShortcutMode::Auto),
    ("off", ShortcutMode::Off),
    ("require", ShortcutMode::Require),
];

impl Default for Shortcut {
    fn default() -> Self {
        Self {
            mode: ShortcutMode::Auto,
            cgroups: Vec::new(),
            accept: Vec::new(),
            max_pairs: 16_384,
            settings: Settings::default(),
        }
    }
}

impl Shortcut {
    pub fn is_wanted(&self) -> bool {
        self.mode != ShortcutMode::Off && !self.cgroups.is_empty()
    }
}

pub(super) fn read(section: Section<'_>, folder: &Path) -> Shortcut {
    let default = Shortcut::default();
    let settings = default.settings;
    let shortcut = Shortcut {
        mode: section.read("mode", default.mode, |v| word(v, &MODES)),
        cgroups: section.list("cgroups", |v| path(v, folder)),
        accept: section.list("accept", acceptable),
        max_pairs: section.read("max_pairs", default.max_pairs, |v| integer(v, 1..=1 << 22)),
        settings: Settings {
            enabled: true,
            ports: section.list("ports", port),
            backlog_bytes: section.read("backlog_bytes", settings.backlog_bytes, |v| {
                integer(v, 4096..=16 << 20)
            }),
            bulk_bytes: section.read("bulk_bytes", settings.bulk_bytes, |v| {
                integer(v, 0..=1 << 30)
            }),
            refresh_secs: section.read("refresh_secs", settings.refresh_secs, |v| {
                integer(v, 0..=86_400)
            }),
        },
    };
    if shortcut.mode == ShortcutMode::Require && shortcut.cgroups.is_empty() {
        let what = "asks for a shortcut between programs that are not named";
        let fix = "name their cgroups: cgroups = [\"/sys/fs/cgroup/system.slice\"]";
        section.fault("mode", Wrong::new(what, fix));
    }
    section.refuse_unknown();
    shortcut
}

fn port(value: &Value<'_>) -> Result<u16, Wrong> {
    integer(value, 1..=65_535).map(|port| port as u16)
}

fn acceptable(value: &Value<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    match ACCEPTABLE.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(Wrong::new(
            format!("{name:?} is no check whose failure can be accepted"),
            format!("write one of {}", ACCEPTABLE.join(", ")),
        )),
    }
}
