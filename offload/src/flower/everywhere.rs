//! Terrace's rules on all interfaces of this network namespace: to find what a killed
//! daemon has left.

use std::collections::BTreeSet;

use super::{Kind, Port, Table as _, sync};
use crate::ask::{Ask, No, Socket};
use crate::decode::tc;

/// Interfaces with rules of Terrace's, and how many each has.
///
/// # Errors
/// The kernel does not tell what is there.
pub fn holders() -> Result<Vec<(u32, usize)>, No> {
    let mut socket = Socket::route()?;
    let ask = Ask::qdiscs();
    let qdiscs = socket.dump(ask.command, &ask.body)?;
    let qdiscs = qdiscs.iter().filter_map(|message| tc::qdisc(message));
    let with_filters: BTreeSet<u32> = qdiscs
        .filter(|qdisc| qdisc.is_ingress)
        .map(|qdisc| qdisc.ifindex)
        .collect();
    let mut holders = Vec::new();
    for ifindex in with_filters {
        match (Port { ifindex }).held() {
            Ok(held) if held.is_empty() => {}
            Ok(held) => holders.push((ifindex, held.len())),
            // It has gone since.
            Err(no) if is_gone(&no) => {}
            Err(no) => return Err(no),
        }
    }
    Ok(holders)
}

/// Removes Terrace's rules from an interface; how many there were. One that is gone
/// has none.
///
/// # Errors
/// What the kernel refuses.
pub fn clear(ifindex: u32) -> Result<usize, No> {
    match remove_all(&mut Port { ifindex }) {
        Err(no) if is_gone(&no) => Ok(0),
        done => done,
    }
}

/// Removes Terrace's rules of one kind from an interface.
///
/// # Errors
/// What the kernel refuses.
pub fn clear_kind(ifindex: u32, kind: Kind) -> Result<usize, No> {
    match sync(&mut Port { ifindex }, kind, &[], 0) {
        Ok(outcome) => Ok(outcome.removed),
        Err(no) if is_gone(&no) => Ok(0),
        Err(no) => Err(no),
    }
}

fn remove_all(port: &mut Port) -> Result<usize, No> {
    let held = port.held()?;
    for held in &held {
        port.remove(held.place)?;
    }
    Ok(held.len())
}

/// Whether nobody has a filter on an interface.
///
/// # Errors
/// The kernel does not tell.
pub fn is_bare(ifindex: u32) -> Result<bool, No> {
    let mut socket = Socket::route()?;
    for egress in [false, true] {
        let ask = Ask::filters(ifindex, "", egress);
        let filters = socket.dump(ask.command, &ask.body)?;
        if filters.iter().any(|message| tc::filter(message).is_some()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_gone(no: &No) -> bool {
    no.no == "ENODEV" || no.no == "EINVAL"
}
