//! Asking a machine. Everything is about the network namespace of the calling
//! thread.

mod devices;
mod host;
mod settings;
mod stack;
mod survey;
mod switch;
mod traffic;
pub(crate) mod trial;

pub use survey::{Consent, Mode, Options, Survey, SurveyError, replay, survey};

use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use terrace_abi::sys;

use crate::KernelVersion;

/// The running kernel's version.
pub fn kernel() -> io::Result<KernelVersion> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    release.parse().map_err(io::Error::other)
}

/// Whether the kernel has TCX (Linux 6.6 with CONFIG_NET_XGRESS).
pub fn has_tcx() -> bool {
    const LO: u32 = 1;
    sys::tcx_query(LO, sys::TcxPoint::Ingress).is_ok()
}

/// An interface's driver by ethtool; empty when it tells none.
pub fn driver(iface: &str) -> String {
    sys::ethtool_driver(iface).unwrap_or_default()
}

/// Whether large receive offload is on.
pub fn has_lro(iface: &str) -> bool {
    const ETH_FLAG_LRO: u32 = 1 << 15;
    sys::ethtool_flags(iface).is_ok_and(|flags| flags & ETH_FLAG_LRO != 0)
}

/// Name of an XDP program on an interface that is not Terrace's.
pub fn foreign_xdp(ifindex: u32) -> Option<String> {
    let state = sys::xdp_query(ifindex).ok()?;
    let names = state.programs().map(|(id, _)| {
        let info = sys::program_by_id(id).and_then(|program| sys::program_info(program.as_fd()));
        info.map_or_else(|_| "unknown".to_owned(), |info| info.name)
    });
    names
        .into_iter()
        .find(|name| !name.starts_with("terrace_xdp"))
}

#[cfg(test)]
mod tests {
    use terrace_testkit::Netns;

    use super::*;

    #[test]
    fn root_a_veth_tells_its_driver_and_has_no_foreign_program() {
        let ns = Netns::new("probe").unwrap();
        ns.ip(["link add up0 type veth peer name far0"]).unwrap();
        let (driver, lro) = ns.enter(|| (driver("up0"), has_lro("up0"))).unwrap();
        assert_eq!((driver.as_str(), lro), ("veth", false));
        assert_eq!(ns.enter(|| super::driver("none0")).unwrap(), "");
        assert_eq!(ns.enter(|| foreign_xdp(1)).unwrap(), None);
    }

    #[test]
    fn this_kernels_version_is_read() {
        assert!(kernel().unwrap() >= KernelVersion(5, 0));
    }
}
