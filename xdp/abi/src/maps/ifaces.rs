//! The interface table: open addressing by ifindex.

use super::Maps;
use crate::consts::{IFACE_PROBES, IFACES_MAX};
use crate::hash::iface_home;
use crate::{Error, types};

const TABLE: &str = "ifaces";

/// Slots where an interface may sit. Slot 0 counts what no interface does.
fn slots_of(ifindex: u32) -> impl Iterator<Item = u32> {
    (0..IFACE_PROBES)
        .map(move |i| (iface_home(ifindex) + i) & (IFACES_MAX - 1))
        .filter(|&s| s != 0)
}

impl Maps {
    /// All configured interfaces with their slots.
    pub fn ifaces(&self) -> Result<Vec<(u32, types::iface)>, Error> {
        let mut found = Vec::new();
        for slot in 1..IFACES_MAX {
            let iface: types::iface = self.get(TABLE, slot)?;
            if iface.ifindex != 0 {
                found.push((slot, iface));
            }
        }
        Ok(found)
    }

    /// The slot and entry of an interface.
    pub fn iface(&self, ifindex: u32) -> Result<Option<(u32, types::iface)>, Error> {
        for slot in slots_of(ifindex) {
            let iface: types::iface = self.get(TABLE, slot)?;
            if iface.ifindex == ifindex {
                return Ok(Some((slot, iface)));
            }
        }
        Ok(None)
    }

    /// Adds or changes an interface; returns its slot. Counters of a slot that
    /// is newly taken start at zero.
    pub fn set_iface(&self, iface: &types::iface) -> Result<u32, Error> {
        if let Some((slot, _)) = self.iface(iface.ifindex)? {
            self.set(TABLE, slot, iface)?;
            return Ok(slot);
        }
        for slot in slots_of(iface.ifindex) {
            if self.get::<types::iface>(TABLE, slot)?.ifindex == 0 {
                self.reset_reasons(slot)?;
                self.set(TABLE, slot, iface)?;
                return Ok(slot);
            }
        }
        Err(Error::InterfacesFull {
            ifindex: iface.ifindex,
            max: IFACES_MAX,
        })
    }

    /// Removes an interface; one that is not there is no error.
    pub fn remove_iface(&self, ifindex: u32) -> Result<(), Error> {
        match self.iface(ifindex)? {
            Some((slot, _)) => self.set(TABLE, slot, &types::iface::default()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_zero_is_never_an_interfaces() {
        let rows = [(5, 5), (1024, 1), (1023, 1023), (2048 + 7, 7)];
        for (ifindex, first) in rows {
            let slots: Vec<u32> = slots_of(ifindex).collect();
            assert_eq!(slots[0], first, "interface {ifindex}");
            assert!(!slots.contains(&0), "interface {ifindex}");
        }
    }
}
