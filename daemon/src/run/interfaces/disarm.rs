//! Taking programs off: of interfaces that have no rule any more.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::Host;
use crate::run::events::Kind;
use crate::run::{facts, hardware, hooks};

/// Takes programs off interfaces that an earlier daemon has armed and this one
/// has no rule for, and XDP off those that are to have none; the rest is taken
/// over by arming it.
///
/// # Errors
/// The kernel does not tell what is attached.
pub fn disarm_unwanted(host: Host<'_>) -> Result<()> {
    let wanted = facts::wanted(host.config, host.network);
    let tc = terrace_tc::list().context("list tc programs")?;
    let xdp = terrace_xdp::list().context("list XDP programs")?;
    let attached: BTreeSet<(u32, String)> = tc
        .into_iter()
        .map(|a| (a.ifindex, a.iface))
        .chain(xdp.into_iter().map(|a| (a.ifindex, a.iface)))
        .filter(|(ifindex, _)| !wanted.contains_key(ifindex))
        .collect();
    for (ifindex, name) in attached {
        disarm(host, &name, ifindex);
    }
    hardware::sweep(host);
    for (_, entry) in host.maps.ifaces()? {
        if !wanted.contains_key(&entry.ifindex) {
            host.maps.remove_iface(entry.ifindex)?;
        }
    }
    Ok(())
}

/// An interface that is gone has nothing on it; only its pins are left.
pub fn disarm(host: Host<'_>, name: &str, ifindex: u32) {
    let done = hooks::disarm(host.maps, name, ifindex)
        .and_then(|()| Ok(host.maps.remove_iface(ifindex)?));
    if let Err(error) = done {
        let what = format!("{name}: {error:#}");
        host.events.tell(Kind::InterfaceFailed, what);
    }
}
