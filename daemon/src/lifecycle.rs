//! What is left on the host when the daemon is gone, and how it goes too.

pub mod nic_rules;
pub mod sysctls;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use terrace_offload::flower;

use self::nic_rules::NicRules;

/// Takes every program off every interface of this network namespace, then
/// removes pins, changed sysctls and the control socket: from the hooks to what
/// they use, so that no packet meets half of it. Returns what became of the
/// sysctls.
///
/// # Errors
/// What could not be removed; what comes after it is still there.
pub fn remove(pin_root: &Path, socket: &Path) -> Result<Vec<String>> {
    clear_nics(&NicRules::beside(socket))?;
    terrace_xdp::detach_all(pin_root).context("detach XDP")?;
    terrace_tc::detach_all(pin_root).context("detach tc")?;
    crate::l7::port::remove()?;
    crate::run::shortcut::remove(pin_root)?;
    terrace_sock::links::detach_all(pin_root).context("detach from cgroups")?;
    if pin_root.exists() {
        terrace_abi::pins::remove_all(pin_root).context("remove the pins")?;
    }
    let restored = sysctls::restore(state_folder(socket))?;
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", socket.display()))
        }
        _ => Ok(restored),
    }
}

/// Rules in NICs that a killed daemon has left. Programs there end with it.
fn clear_nics(record: &NicRules) -> Result<()> {
    // Kernels without tc have no rules of it.
    for (ifindex, _) in flower::holders().unwrap_or_default() {
        let cleared = flower::clear(ifindex).map_err(|no| anyhow!(no.evidence()));
        cleared.with_context(|| format!("remove the rules from the NIC of link {ifindex}"))?;
    }
    record.sweep().map_err(|faults| anyhow!(faults.join("; ")))
}

/// Where the daemon keeps the few things that are no pins: next to its socket.
pub fn state_folder(socket: &Path) -> &Path {
    let parent = socket.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
