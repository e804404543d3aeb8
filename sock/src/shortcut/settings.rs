//! What the programs are told, at any time while they run.

use std::io;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::{Plain, types};

use super::Shortcut;
use crate::Error;

/// Words of the table of ports, 64 ports each.
const PORT_WORDS: usize = 1024;

/// How the shortcut works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Off: new data takes the stack, connections go on.
    pub enabled: bool,
    /// Ports of servers whose connections are joined; empty = every port.
    pub ports: Vec<u16>,
    /// Bytes that a reader may have unread before the stack's flow control
    /// takes over.
    pub backlog_bytes: u32,
    /// Bytes in one direction without an answer from which on the stack is
    /// used; 0 = no limit. At first, what was measured slower by socket: none.
    pub bulk_bytes: u32,
    /// Seconds after which one message takes the stack, so that connection
    /// tracking on the way does not forget the connection; 0 = never.
    pub refresh_secs: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            ports: Vec::new(),
            backlog_bytes: 256 << 10,
            bulk_bytes: super::sizes::limit(&super::sizes::MEASURED),
            refresh_secs: 60,
        }
    }
}

impl Shortcut {
    /// Tells the programs; connections that are joined follow at their next
    /// message. Ports count for connections from now on.
    pub fn configure(&self, settings: &Settings) -> Result<(), Error> {
        let mut words = vec![0u64; PORT_WORDS];
        for port in &settings.ports {
            words[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        for (index, word) in (0u32..).zip(&words) {
            put(&self.maps.ports, "shortcut_ports", index, word)?;
        }
        let config = types::shortcut_config {
            enabled: settings.enabled.into(),
            n_ports: settings.ports.len() as u32,
            backlog_bytes: settings.backlog_bytes,
            bulk_bytes: settings.bulk_bytes,
            refresh: settings.refresh_secs.saturating_mul(self.hz),
            ..Default::default()
        };
        put(&self.maps.config, "shortcut_config", 0, &config)
    }

    /// The live switch: off = new data takes the stack. No connection breaks.
    pub fn set_enabled(&self, enabled: bool) -> Result<(), Error> {
        let config = types::shortcut_config {
            enabled: enabled.into(),
            ..self.config()?
        };
        put(&self.maps.config, "shortcut_config", 0, &config)
    }

    /// Whether new data may take the shortcut.
    pub fn is_enabled(&self) -> Result<bool, Error> {
        Ok(self.config()?.enabled != 0)
    }

    fn config(&self) -> Result<types::shortcut_config, Error> {
        let map = "shortcut_config";
        let found = self
            .maps
            .config
            .lookup(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(error("read", map))?;
        let config = found
            .as_deref()
            .and_then(types::shortcut_config::from_bytes);
        Ok(config.expect("an array of one entry, whose size load_with() has checked"))
    }
}

fn put(map: &MapHandle, name: &'static str, index: u32, value: &impl Plain) -> Result<(), Error> {
    map.update(&index.to_ne_bytes(), value.as_bytes(), MapFlags::ANY)
        .map_err(error("write", name))
}

pub(super) fn error(action: &'static str, map: &'static str) -> impl Fn(libbpf_rs::Error) -> Error {
    move |source| Error::Map {
        action,
        map,
        source: io::Error::other(source),
    }
}
