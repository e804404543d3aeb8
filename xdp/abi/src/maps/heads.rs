//! Rules on requests that the programs match themselves: `head_rules`.

use std::os::fd::AsFd as _;

use libbpf_rs::{ErrorKind, MapCore as _};

use super::Maps;
use crate::error::io;
use crate::types::head_key;
use crate::{Error, Plain as _, sys};

const TABLE: &str = "head_rules";

impl Maps {
    /// Adds entries. A splice that names their set may come before or after:
    /// what is not found goes to a worker.
    pub fn add_head_rules<'k>(
        &self,
        rules: impl IntoIterator<Item = (&'k head_key, u32)>,
    ) -> Result<(), Error> {
        let map = self.map(TABLE);
        let sizes = (map.key_size(), map.value_size());
        for (key, value) in rules {
            sys::map_update(map.as_fd(), key.as_bytes(), &value.to_ne_bytes(), sizes).map_err(
                |source| Error::Write {
                    table: TABLE,
                    source,
                },
            )?;
        }
        Ok(())
    }

    /// Removes entries; one that is not there is no error.
    pub fn remove_head_rules<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k head_key>,
    ) -> Result<(), Error> {
        let map = self.map(TABLE);
        for key in keys {
            match map.delete(key.as_bytes()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::Write {
                        table: TABLE,
                        source: io(error),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All entries, of whichever daemon.
    pub fn head_rules(&self) -> Vec<head_key> {
        let keys = self.map(TABLE).keys();
        keys.filter_map(|key| head_key::from_bytes(&key)).collect()
    }
}
